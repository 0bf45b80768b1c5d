package forge

import (
	"io"

	"batos"
	"batos/internal/ggml"
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
	var g ggml.GGUFWriter
	g.String("general.architecture", "llama")
	g.String("general.type", "model")
	fileType := uint32(0)
	if meta.Half {
		fileType = 1
	}
	g.Uint32("general.file_type", fileType)
	writeMeta(&g, meta)
	g.Uint32("llama.context_length", uint32(a.Ctx))
	g.Uint32("llama.embedding_length", uint32(a.Dim))
	g.Uint32("llama.block_count", uint32(a.Layers))
	g.Uint32("llama.feed_forward_length", uint32(a.FF))
	g.Uint32("llama.attention.head_count", uint32(a.Heads))
	g.Uint32("llama.attention.head_count_kv", uint32(a.KVHeads))
	g.Uint32("llama.rope.dimension_count", uint32(a.head()))
	g.Uint32("llama.vocab_size", uint32(a.Vocab))
	g.Float32("llama.attention.layer_norm_rms_epsilon", a.Eps)
	g.Float32("llama.rope.freq_base", a.RopeBase)
	if err := writeTokenizer(&g, tok); err != nil {
		return err
	}
	if meta.ChatTemplate != "" {
		g.String("tokenizer.chat_template", meta.ChatTemplate)
	}
	for _, s := range a.layout() {
		typ := ggml.F32
		if meta.Half && len(s.shape) > 1 {
			typ = ggml.F16
		}
		if err := g.Tensor(s.name, typ, s.shape, weights.tensors[s.name]); err != nil {
			return batos.Errorf(batos.Invalid, "model file: %w", err)
		}
	}
	if err := g.Write(w); err != nil {
		return batos.Errorf(batos.Invalid, "model file: %w", err)
	}
	return nil
}

func writeMeta(g *ggml.GGUFWriter, m Meta) {
	for _, kv := range append([]KeyValue{
		{"general.name", m.Name},
		{"general.license", m.License},
		{"general.description", m.Description},
		{"batos.profile", m.Profile},
	}, m.Extra...) {
		if kv.Value != "" {
			g.String(kv.Key, kv.Value)
		}
	}
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

func writeTokenizer(g *ggml.GGUFWriter, tok Tokenizer) error {
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
			return batos.Errorf(batos.Invalid, "tokenizer: entry %d is of kind %d, which is unknown", i, e.Kind)
		}
		if e.Text == "" {
			return batos.Errorf(batos.Invalid, "tokenizer: entry %d is empty", i)
		}
		if j, twice := seen[texts[i]]; twice {
			return batos.Errorf(batos.Invalid, "tokenizer: entries %d and %d are both %q", j, i, texts[i])
		}
		seen[texts[i]], kinds[i] = i, int32(e.Kind)
	}
	n := int32(len(texts))
	if tok.BOS < 0 || tok.BOS >= n || tok.EOS < 0 || tok.EOS >= n {
		return batos.Errorf(batos.Invalid, "tokenizer: BOS %d and EOS %d are not among %d entries", tok.BOS, tok.EOS, n)
	}
	merges := make([]string, len(tok.Merges))
	for i, m := range tok.Merges {
		left, right := spell(m[0]), spell(m[1])
		for _, part := range []string{left, right, left + right} {
			if _, ok := seen[part]; !ok {
				return batos.Errorf(batos.Invalid, "tokenizer: merge %d needs the entry %q, which is missing", i, part)
			}
		}
		merges[i] = left + " " + right
	}
	g.String("tokenizer.ggml.model", "gpt2")
	g.String("tokenizer.ggml.pre", "gpt-2")
	g.Strings("tokenizer.ggml.tokens", texts)
	g.Int32s("tokenizer.ggml.token_type", kinds)
	g.Strings("tokenizer.ggml.merges", merges)
	g.Uint32("tokenizer.ggml.bos_token_id", uint32(tok.BOS))
	g.Uint32("tokenizer.ggml.eos_token_id", uint32(tok.EOS))
	g.Bool("tokenizer.ggml.add_bos_token", tok.AddBOS)
	return nil
}
