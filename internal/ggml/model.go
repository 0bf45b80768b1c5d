package ggml

import (
	"math"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"batos"
	"batos/internal/gguf"
)

// Token is the number of a vocabulary entry.
type Token int32

// NoToken stands for a special token that a vocabulary does not have.
const NoToken Token = -1

// Model is a GGUF file in memory. Its methods may be called from any
// goroutine.
type Model struct {
	lib     *Library
	p       uintptr
	vocab   uintptr
	users   atomic.Int32 // open contexts, samplers and adapters
	nVocab  int
	special struct{ bos, eos, eot Token }
}

// ModelOptions says how to load a model. The zero value maps the file and
// computes on the CPU.
type ModelOptions struct {
	GPULayers int // layers to put on a GPU; negative: all
}

// LoadModel reads the GGUF file at path. The header is checked here, in Go,
// before the library sees the file.
func (l *Library) LoadModel(path string, o ModelOptions) (*Model, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	p := wantModelParams
	p.nGPULayers = int32(o.GPULayers)
	var ptr uintptr
	words := l.quietly(func() { ptr = l.c.modelLoad(path, p) })
	if ptr == 0 {
		return nil, batos.Errorf(unloaded(words), "model file %s cannot be loaded%s", path, said(words))
	}
	m := &Model{lib: l, p: ptr, vocab: l.c.modelVocab(ptr)}
	m.nVocab = int(l.c.vocabTokens(m.vocab))
	m.special.bos = Token(l.c.vocabBOS(m.vocab))
	m.special.eos = Token(l.c.vocabEOS(m.vocab))
	m.special.eot = Token(l.c.vocabEOT(m.vocab))
	return m, nil
}

// unloaded is the code of an error that the library gave these words for: the
// file was checked before, so it may be memory that there is too little of.
func unloaded(words string) batos.Code {
	for _, w := range []string{"bad_alloc", "unable to allocate", "failed to allocate", "out of memory"} {
		if strings.Contains(words, w) {
			return batos.Limit
		}
	}
	return batos.Invalid
}

func checkFile(path string) error {
	f, err := gguf.Open(path)
	if err != nil {
		return err
	}
	if err := gguf.CheckModel(f); err != nil {
		return batos.Errorf(batos.Invalid, "model file %s: %w", path, err)
	}
	return nil
}

// Close frees the model. It refuses while contexts, samplers or adapters of
// it are open.
func (m *Model) Close() error {
	if n := m.users.Load(); n != 0 {
		return batos.Errorf(batos.Invalid, "model is in use by %d contexts, samplers or adapters", n)
	}
	if m.p != 0 {
		m.lib.c.modelFree(m.p)
		m.p = 0
	}
	return nil
}

// Description is the library's own line: architecture, size, quantisation.
func (m *Model) Description() string {
	return m.text(func(buf *byte, n uint64) int32 { return m.lib.c.modelDesc(m.p, buf, n) })
}

// ContextTrain is the context length, in tokens, the model was trained with.
func (m *Model) ContextTrain() int { return int(m.lib.c.modelCtxTrain(m.p)) }

// EmbeddingSize is the length of a hidden vector.
func (m *Model) EmbeddingSize() int { return int(m.lib.c.modelEmbd(m.p)) }

// Layers is the number of transformer blocks.
func (m *Model) Layers() int { return int(m.lib.c.modelLayers(m.p)) }

// Size is the bytes of all weights.
func (m *Model) Size() uint64 { return m.lib.c.modelSize(m.p) }

// Params is the number of weights.
func (m *Model) Params() uint64 { return m.lib.c.modelParams(m.p) }

// Architecture is general.architecture: "llama", "bert", …
func (m *Model) Architecture() string {
	arch, _ := m.Meta("general.architecture")
	return arch
}

// Generates reports whether the model can produce text at all.
func (m *Model) Generates() bool { return m.lib.c.modelHasDecoder(m.p) }

// Meta gives the GGUF metadata value of key as text.
func (m *Model) Meta(key string) (string, bool) {
	if m.lib.c.modelMeta(m.p, key, nil, 0) < 0 {
		return "", false
	}
	return m.text(func(buf *byte, n uint64) int32 { return m.lib.c.modelMeta(m.p, key, buf, n) }), true
}

// Metadata gives all GGUF metadata as text; arrays are left out.
func (m *Model) Metadata() map[string]string {
	out := make(map[string]string)
	for i := range m.lib.c.modelMetaCount(m.p) {
		k := m.text(func(buf *byte, n uint64) int32 { return m.lib.c.modelMetaKey(m.p, i, buf, n) })
		out[k] = m.text(func(buf *byte, n uint64) int32 { return m.lib.c.modelMetaValue(m.p, i, buf, n) })
	}
	return out
}

// text calls an snprintf-like C function, which answers the length it needs.
func (m *Model) text(fn func(buf *byte, n uint64) int32) string {
	buf := make([]byte, 256)
	n := int(fn(&buf[0], uint64(len(buf))))
	if n >= len(buf) {
		buf = make([]byte, n+1)
		n = int(fn(&buf[0], uint64(len(buf))))
	}
	return string(buf[:max(0, min(n, len(buf)-1))])
}

// VocabSize is the number of tokens.
func (m *Model) VocabSize() int { return m.nVocab }

// BOS is the token that begins a text, EOS ends it, EOT ends a turn of a chat;
// [NoToken] where the vocabulary has none.
func (m *Model) BOS() Token { return m.special.bos }

// EOS is the token that ends a text.
func (m *Model) EOS() Token { return m.special.eos }

// EOT is the token that ends a turn of a chat.
func (m *Model) EOT() Token { return m.special.eot }

// AddsBOS reports whether the model expects BOS before every text.
func (m *Model) AddsBOS() bool { return m.lib.c.vocabAddBOS(m.vocab) }

// IsEOG reports whether t ends a generation: EOS, EOT and their like.
func (m *Model) IsEOG(t Token) bool { return m.known(t) && m.lib.c.vocabIsEOG(m.vocab, int32(t)) }

// IsControl reports whether t is a control token, which renders as nothing.
func (m *Model) IsControl(t Token) bool {
	return m.known(t) && m.lib.c.vocabIsControl(m.vocab, int32(t))
}

// TokenText is the vocabulary entry of t as the file spells it; "" if there is
// no such token.
func (m *Model) TokenText(t Token) string {
	if !m.known(t) {
		return ""
	}
	return goString(m.lib.c.vocabText(m.vocab, int32(t)))
}

func (m *Model) known(t Token) bool { return t >= 0 && int(t) < m.nVocab }

// Tokenize splits text. With addSpecial the model's BOS and EOS are added if
// it wants them; with parseSpecial the spelling of a control token in text
// becomes that token, so never set it for text a stranger wrote. Text that is
// not UTF-8 is refused, because the library would change it.
func (m *Model) Tokenize(text string, addSpecial, parseSpecial bool) ([]Token, error) {
	if !utf8.ValidString(text) {
		return nil, batos.Errorf(batos.Invalid, "text to tokenize is not UTF-8")
	}
	if len(text) > math.MaxInt32-16 {
		return nil, batos.Errorf(batos.Limit, "text of %d bytes is too long to tokenize", len(text))
	}
	b := []byte(text)
	b = append(b, 0)
	out := make([]int32, len(text)+8)
	n := m.lib.c.tokenize(m.vocab, &b[0], int32(len(text)), &out[0], int32(len(out)), addSpecial, parseSpecial)
	if n < 0 && n != math.MinInt32 {
		out = make([]int32, -n)
		n = m.lib.c.tokenize(m.vocab, &b[0], int32(len(text)), &out[0], int32(len(out)), addSpecial, parseSpecial)
	}
	if n < 0 {
		return nil, batos.Errorf(batos.Limit, "text of %d bytes is too long to tokenize", len(text))
	}
	toks := make([]Token, n)
	for i := range toks {
		toks[i] = Token(out[i])
	}
	return toks, nil
}

// Piece is the bytes that t adds to a text; they may be part of a character.
// Control tokens are rendered only if special is set.
func (m *Model) Piece(t Token, special bool) []byte {
	if !m.known(t) {
		return nil
	}
	buf := make([]byte, 64)
	n := m.lib.c.tokenToPiece(m.vocab, int32(t), &buf[0], int32(len(buf)), 0, special)
	if n < 0 {
		buf = make([]byte, -n)
		n = m.lib.c.tokenToPiece(m.vocab, int32(t), &buf[0], int32(len(buf)), 0, special)
	}
	return buf[:max(n, 0)]
}

// Detokenize gives the text of toks, with control tokens only if special is
// set.
func (m *Model) Detokenize(toks []Token, special bool) string {
	if len(toks) == 0 {
		return ""
	}
	raw := make([]int32, len(toks))
	for i, t := range toks {
		if !m.known(t) {
			return ""
		}
		raw[i] = int32(t)
	}
	buf := make([]byte, 16*len(toks)+16)
	n := m.lib.c.detokenize(m.vocab, &raw[0], int32(len(raw)), &buf[0], int32(len(buf)), false, special)
	if n < 0 {
		buf = make([]byte, -n)
		n = m.lib.c.detokenize(m.vocab, &raw[0], int32(len(raw)), &buf[0], int32(len(buf)), false, special)
	}
	return string(buf[:max(n, 0)])
}

// ChatTemplate is the model's own chat template, "" if it has none.
func (m *Model) ChatTemplate() string { return goString(m.lib.c.modelTemplate(m.p, nil)) }

// Turn is one message of a chat.
type Turn struct {
	Role    string // "system", "user", "assistant"
	Content string
}

// ApplyTemplate renders a chat by the model's template, ready for the
// assistant to speak. The library knows the common templates by their shape
// and does not run Jinja: a template it does not know is an invalid error, as
// is a model without one.
func (m *Model) ApplyTemplate(chat []Turn) (string, error) {
	tmpl := m.lib.c.modelTemplate(m.p, nil)
	if tmpl == nil {
		return "", batos.Errorf(batos.Invalid, "model has no chat template")
	}
	if len(chat) == 0 {
		return "", batos.Errorf(batos.Invalid, "a chat needs at least one turn")
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	cstr := func(s string) *byte {
		b := append([]byte(s), 0)
		pin.Pin(&b[0])
		return &b[0]
	}
	msgs := make([]cChatMessage, len(chat))
	size := 256
	for i, t := range chat {
		msgs[i] = cChatMessage{cstr(t.Role), cstr(t.Content)}
		size += len(t.Role) + len(t.Content) + 64
	}
	pin.Pin(&msgs[0])
	buf := make([]byte, size)
	n := m.lib.c.chatApply(tmpl, &msgs[0], uint64(len(msgs)), true, &buf[0], int32(len(buf)))
	if int(n) > len(buf) {
		buf = make([]byte, n)
		n = m.lib.c.chatApply(tmpl, &msgs[0], uint64(len(msgs)), true, &buf[0], int32(len(buf)))
	}
	if n < 0 {
		return "", batos.Errorf(batos.Invalid, "model's chat template is of a kind the engine does not know")
	}
	return string(buf[:n]), nil
}

// Quant is a way to store weights.
type Quant int32

// The quantisations that the project uses.
const (
	QuantF32    Quant = 0
	QuantF16    Quant = 1
	QuantQ4_0   Quant = 2
	QuantQ8_0   Quant = 7
	QuantQ4_K_M Quant = 15
	QuantQ6_K   Quant = 18
)

// Quantize rewrites the GGUF file in as out with weights stored as q. out
// appears under its name only when it is complete.
func (l *Library) Quantize(in, out string, q Quant, threads int) error {
	if err := checkFile(in); err != nil {
		return err
	}
	p := wantQuantizeParams
	p.ftype, p.nThread = int32(q), int32(max(1, threads))
	part := out + ".part"
	var rc uint32
	words := l.quietly(func() { rc = l.c.quantize(in, part, &p) })
	if rc != 0 {
		_ = os.Remove(part) // the error that matters is the library's
		return batos.Errorf(batos.Invalid, "model file %s cannot be quantized%s", in, said(words))
	}
	if err := os.Rename(part, out); err != nil {
		return batos.Errorf(batos.Invalid, "quantize: %w", err)
	}
	return nil
}
