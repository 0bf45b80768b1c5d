package forge

import (
	"encoding/binary"
	"io"
	"math"

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
	var g ggufWriter
	g.text("general.architecture", "llama")
	g.text("general.type", "model")
	fileType := uint32(0)
	if meta.Half {
		fileType = 1
	}
	g.number("general.file_type", fileType)
	g.meta(meta)
	g.number("llama.context_length", uint32(a.Ctx))
	g.number("llama.embedding_length", uint32(a.Dim))
	g.number("llama.block_count", uint32(a.Layers))
	g.number("llama.feed_forward_length", uint32(a.FF))
	g.number("llama.attention.head_count", uint32(a.Heads))
	g.number("llama.attention.head_count_kv", uint32(a.KVHeads))
	g.number("llama.rope.dimension_count", uint32(a.head()))
	g.number("llama.vocab_size", uint32(a.Vocab))
	g.float("llama.attention.layer_norm_rms_epsilon", a.Eps)
	g.float("llama.rope.freq_base", a.RopeBase)
	if err := g.tokenizer(tok); err != nil {
		return err
	}
	if meta.ChatTemplate != "" {
		g.text("tokenizer.chat_template", meta.ChatTemplate)
	}
	for _, s := range a.layout() {
		v := weights.tensors[s.name]
		if len(v) != s.elements() {
			return batos.Errorf(batos.Invalid, "model file: tensor %s has %d values, not %d", s.name, len(v), s.elements())
		}
		g.tensor(s, v, meta.Half && len(s.shape) > 1)
	}
	return g.writeTo(w)
}

// ggufAlign is the alignment of tensors in the file, bytes.
const ggufAlign = 32

// ggufWriter collects a GGUF file: its metadata and tensors, in order.
type ggufWriter struct {
	keys    int
	header  []byte
	tensors []ggufTensor
}

type ggufTensor struct {
	slot
	values []float32
	half   bool
}

func (t ggufTensor) size() int {
	if t.half {
		return 2 * len(t.values)
	}
	return 4 * len(t.values)
}

// Value types of GGUF metadata.
const (
	ggufUint32  = 4
	ggufInt32   = 5
	ggufFloat32 = 6
	ggufBool    = 7
	ggufString  = 8
	ggufArray   = 9
)

var le = binary.LittleEndian

func appendText(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

func (g *ggufWriter) key(key string, typ uint32) {
	g.keys++
	g.header = le.AppendUint32(appendText(g.header, key), typ)
}

func (g *ggufWriter) text(key, v string) {
	g.key(key, ggufString)
	g.header = appendText(g.header, v)
}

func (g *ggufWriter) number(key string, v uint32) {
	g.key(key, ggufUint32)
	g.header = le.AppendUint32(g.header, v)
}

func (g *ggufWriter) float(key string, v float32) {
	g.key(key, ggufFloat32)
	g.header = le.AppendUint32(g.header, math.Float32bits(v))
}

func (g *ggufWriter) bool(key string, v bool) {
	g.key(key, ggufBool)
	b := byte(0)
	if v {
		b = 1
	}
	g.header = append(g.header, b)
}

func (g *ggufWriter) texts(key string, v []string) {
	g.key(key, ggufArray)
	g.header = le.AppendUint64(le.AppendUint32(g.header, ggufString), uint64(len(v)))
	for _, s := range v {
		g.header = appendText(g.header, s)
	}
}

func (g *ggufWriter) kinds(key string, v []TokenEntry) {
	g.key(key, ggufArray)
	g.header = le.AppendUint64(le.AppendUint32(g.header, ggufInt32), uint64(len(v)))
	for _, e := range v {
		g.header = le.AppendUint32(g.header, uint32(e.Kind))
	}
}

func (g *ggufWriter) meta(m Meta) {
	for _, kv := range append([]KeyValue{
		{"general.name", m.Name},
		{"general.license", m.License},
		{"general.description", m.Description},
		{"batos.profile", m.Profile},
	}, m.Extra...) {
		if kv.Value != "" {
			g.text(kv.Key, kv.Value)
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

func (g *ggufWriter) tokenizer(tok Tokenizer) error {
	texts := make([]string, len(tok.Entries))
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
		seen[texts[i]] = i
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
	g.text("tokenizer.ggml.model", "gpt2")
	g.text("tokenizer.ggml.pre", "gpt-2")
	g.texts("tokenizer.ggml.tokens", texts)
	g.kinds("tokenizer.ggml.token_type", tok.Entries)
	g.texts("tokenizer.ggml.merges", merges)
	g.number("tokenizer.ggml.bos_token_id", uint32(tok.BOS))
	g.number("tokenizer.ggml.eos_token_id", uint32(tok.EOS))
	g.bool("tokenizer.ggml.add_bos_token", tok.AddBOS)
	return nil
}

func (g *ggufWriter) tensor(s slot, values []float32, half bool) {
	g.tensors = append(g.tensors, ggufTensor{s, values, half})
}

func (g *ggufWriter) writeTo(w io.Writer) error {
	b := le.AppendUint32([]byte("GGUF"), 3)
	b = le.AppendUint64(b, uint64(len(g.tensors)))
	b = le.AppendUint64(b, uint64(g.keys))
	b = append(b, g.header...)
	offset := 0
	for _, t := range g.tensors {
		b = le.AppendUint32(appendText(b, t.name), uint32(len(t.shape)))
		for _, d := range t.shape {
			b = le.AppendUint64(b, uint64(d))
		}
		typ := ggml.F32
		if t.half {
			typ = ggml.F16
		}
		b = le.AppendUint64(le.AppendUint32(b, uint32(typ)), uint64(offset))
		offset += (t.size() + ggufAlign - 1) / ggufAlign * ggufAlign
	}
	if _, err := w.Write(pad(b)); err != nil {
		return batos.Errorf(batos.Invalid, "model file: %w", err)
	}
	for _, t := range g.tensors {
		v := floatBytes(t.values)
		if t.half {
			v = v[:0]
			for _, f := range t.values {
				v = le.AppendUint16(v, halfBits(f))
			}
		}
		if _, err := w.Write(pad(v)); err != nil {
			return batos.Errorf(batos.Invalid, "model file: %w", err)
		}
	}
	return nil
}

func pad(b []byte) []byte {
	for len(b)%ggufAlign != 0 {
		b = append(b, 0)
	}
	return b
}
