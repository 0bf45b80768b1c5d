package forge

import (
	"bytes"
	"io"

	"batos"
	"batos/internal/gguf"
)

// TokenKind says what a vocabulary entry is.
type TokenKind int32

// The kinds, as GGUF numbers them.
const (
	NormalToken  TokenKind = 1 // text, found by the tokenizer's merges
	ControlToken TokenKind = 3 // begins or ends something, renders as nothing
	UserToken    TokenKind = 4 // text that is always one token
	UnusedToken  TokenKind = 5
)

// TokenEntry is one entry of a vocabulary. Text is the bytes the token stands
// for (its name, for a control or unused token); a normal token may be any
// bytes, valid UTF-8 or not.
type TokenEntry struct {
	Text string
	Kind TokenKind
}

// Tokenizer is a byte-level vocabulary. To make every text representable it
// has a normal token for each of the 256 single bytes.
type Tokenizer struct {
	Entries []TokenEntry // by token number; texts differ
	Merges  [][2]string  // bytes of left and right part, strongest first; may be empty
	BOS     int32        // begins a text; EOS if the vocabulary has none of its own
	EOS     int32        // ends a generation
	AddBOS  bool         // every text gets BOS
}

// Meta is what a file says about itself besides shape and vocabulary.
type Meta struct {
	Name         string
	Profile      string // the prompt codec the model was trained with: key batos.profile
	License      string
	Description  string
	ChatTemplate string
	Half         bool       // store matrices as F16 instead of F32
	Extra        []KeyValue // further metadata
}

// KeyValue is one line of metadata.
type KeyValue struct{ Key, Value string }

// WriteGGUF writes a model file that the engine loads.
func WriteGGUF(w io.Writer, weights *Weights, tok Tokenizer, meta Meta) error {
	a := weights.Arch.withDefaults()
	if err := a.check(); err != nil {
		return err
	}
	if len(tok.Entries) != a.Vocab {
		return batos.Errorf(batos.Invalid, "model file: the tokenizer has %d entries, the model %d", len(tok.Entries), a.Vocab)
	}
	vocabulary, err := tok.entries()
	if err != nil {
		return err
	}
	typ, fileType := gguf.F32, uint32(0)
	if meta.Half {
		typ, fileType = gguf.F16, 1
	}
	keys := []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "general.type", Value: gguf.OfText("model")},
		{Key: "general.file_type", Value: gguf.OfUint32(fileType)},
	}
	keys = append(keys, meta.entries()...)
	keys = append(keys, a.entries()...)
	keys = append(keys, vocabulary...)
	if meta.ChatTemplate != "" {
		keys = append(keys, gguf.Entry{Key: "tokenizer.chat_template", Value: gguf.OfText(meta.ChatTemplate)})
	}
	return writeTensors("model file", w, keys, a.layout(), weights.tensors, typ)
}

func (a Arch) entries() []gguf.Entry {
	out := []gguf.Entry{
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: gguf.OfFloat(a.Eps)},
		{Key: "llama.rope.freq_base", Value: gguf.OfFloat(a.RopeBase)},
	}
	for _, n := range []struct {
		key   string
		value int
	}{
		{"context_length", a.Ctx}, {"embedding_length", a.Dim}, {"block_count", a.Layers},
		{"feed_forward_length", a.FF}, {"attention.head_count", a.Heads}, {"attention.head_count_kv", a.KVHeads},
		{"rope.dimension_count", a.head()}, {"vocab_size", a.Vocab},
	} {
		out = append(out, gguf.Entry{Key: "llama." + n.key, Value: gguf.OfUint32(uint32(n.value))})
	}
	return out
}

func (m Meta) entries() []gguf.Entry {
	var out []gguf.Entry
	for _, kv := range append([]KeyValue{
		{"general.name", m.Name},
		{"general.license", m.License},
		{"general.description", m.Description},
		{"batos.profile", m.Profile},
	}, m.Extra...) {
		if kv.Value != "" {
			out = append(out, gguf.Entry{Key: kv.Key, Value: gguf.OfText(kv.Value)})
		}
	}
	return out
}

// writeTensors writes tensors, matrices as typ and vectors as F32.
func writeTensors(what string, w io.Writer, keys []gguf.Entry, slots []slot, values map[string][]float32, typ gguf.TensorType) error {
	seen := make(map[string]bool)
	for _, k := range keys {
		if seen[k.Key] {
			return batos.Errorf(batos.Invalid, "%s: the key %s appears twice", what, k.Key)
		}
		seen[k.Key] = true
	}
	parts := make([]gguf.Part, len(slots))
	for i, s := range slots {
		v := values[s.name]
		if len(v) != s.elements() {
			return batos.Errorf(batos.Invalid, "%s: tensor %s has %d values, not %d", what, s.name, len(v), s.elements())
		}
		parts[i].Tensor = gguf.Tensor{Name: s.name, Type: gguf.F32, Dims: s.dims()}
		parts[i].Data = bytes.NewReader(floatBytes(v))
		if len(s.shape) > 1 && typ == gguf.F16 {
			parts[i].Type, parts[i].Data = gguf.F16, bytes.NewReader(halfBytes(v))
		}
	}
	if err := gguf.Write(w, keys, parts); err != nil {
		return batos.Errorf(batos.Invalid, "%s: %w", what, err)
	}
	return nil
}

// byteRune is the printable character that a GPT-2 vocabulary writes for each
// byte.
var byteRune = func() (table [256]rune) {
	next := rune(256)
	for b := range table {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			table[b] = rune(b)
		} else {
			table[b] = next
			next++
		}
	}
	return table
}()

// spell writes bytes in a GPT-2 vocabulary's characters.
func spell(s string) string {
	out := make([]rune, len(s))
	for i := range len(s) {
		out[i] = byteRune[s[i]]
	}
	return string(out)
}

func (tok Tokenizer) entries() ([]gguf.Entry, error) {
	texts := make([]string, len(tok.Entries))
	kinds := make([]int32, len(tok.Entries))
	seen := make(map[string]int, len(texts))
	for i, e := range tok.Entries {
		switch e.Kind {
		case NormalToken:
			texts[i] = spell(e.Text)
		case ControlToken, UserToken, UnusedToken:
			texts[i] = e.Text
		default:
			return nil, batos.Errorf(batos.Invalid, "tokenizer: entry %d is of kind %d, which is unknown", i, e.Kind)
		}
		if e.Text == "" {
			return nil, batos.Errorf(batos.Invalid, "tokenizer: entry %d is empty", i)
		}
		if j, twice := seen[texts[i]]; twice {
			return nil, batos.Errorf(batos.Invalid, "tokenizer: entries %d and %d are both %q", j, i, texts[i])
		}
		seen[texts[i]], kinds[i] = i, int32(e.Kind)
	}
	n := int32(len(texts))
	if tok.BOS < 0 || tok.BOS >= n || tok.EOS < 0 || tok.EOS >= n {
		return nil, batos.Errorf(batos.Invalid, "tokenizer: BOS %d and EOS %d are not among %d entries", tok.BOS, tok.EOS, n)
	}
	merges := make([]string, len(tok.Merges))
	for i, m := range tok.Merges {
		left, right := spell(m[0]), spell(m[1])
		for _, part := range []string{left, right, left + right} {
			if _, ok := seen[part]; !ok {
				return nil, batos.Errorf(batos.Invalid, "tokenizer: merge %d needs the entry %q, which is missing", i, part)
			}
		}
		merges[i] = left + " " + right
	}
	return []gguf.Entry{
		{Key: "tokenizer.ggml.model", Value: gguf.OfText("gpt2")},
		{Key: "tokenizer.ggml.pre", Value: gguf.OfText("gpt-2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.OfTexts(texts)},
		{Key: "tokenizer.ggml.token_type", Value: gguf.OfInts(kinds)},
		{Key: "tokenizer.ggml.merges", Value: gguf.OfTexts(merges)},
		{Key: "tokenizer.ggml.bos_token_id", Value: gguf.OfUint32(uint32(tok.BOS))},
		{Key: "tokenizer.ggml.eos_token_id", Value: gguf.OfUint32(uint32(tok.EOS))},
		{Key: "tokenizer.ggml.add_bos_token", Value: gguf.OfBool(tok.AddBOS)},
	}, nil
}
