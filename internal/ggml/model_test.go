package ggml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
)

func TestModelDescribesItself(t *testing.T) {
	s := tiny
	s.Template = "{% for m in messages %}<|im_start|>{{m.role}}{{m.content}}<|im_end|>{% endfor %}"
	s.Meta = []gguf.Entry{text("batos.profile", "seed"), text("general.name", strings.Repeat("long ", 100))}
	m, err := library(t).LoadModel(gguftest.Model(t, s), ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if v, ok := m.Meta("batos.profile"); v != "seed" || !ok {
		t.Errorf("profile %q, %v", v, ok)
	}
	if v, ok := m.Meta("general.name"); v != strings.Repeat("long ", 100) || !ok {
		t.Errorf("name %q, %v", v, ok)
	}
	if v, ok := m.Meta("no.such.key"); v != "" || ok {
		t.Errorf("a key that is not there: %q, %v", v, ok)
	}
	if md := m.Metadata(); md["general.architecture"] != "llama" {
		t.Errorf("metadata %q", md)
	}
	if m.VocabSize() != gguftest.Vocab || m.EOS() != gguftest.End || m.EOT() != gguftest.End || !m.IsEOG(gguftest.End) || m.IsEOG(65) || m.IsEOG(-1) || m.IsEOG(1e6) {
		t.Errorf("vocabulary: %d entries, EOS %d, EOT %d", m.VocabSize(), m.EOS(), m.EOT())
	}
	if m.Layers() != 2 || m.EmbeddingSize() != 64 || m.ContextTrain() != 128 || m.Params() == 0 || m.Size() != 4*m.Params() || !m.Generates() {
		t.Errorf("shape: %d layers, %d, %d, %d, %d", m.Layers(), m.EmbeddingSize(), m.ContextTrain(), m.Params(), m.Size())
	}
	got, err := m.ApplyTemplate([]Turn{{"system", "Be brief."}, {"user", "Hi"}})
	if want := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"; got != want || err != nil {
		t.Errorf("template gave %q, %v", got, err)
	}
	if _, err := tinyModel(t).ApplyTemplate([]Turn{{"user", "Hi"}}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a model without a template: %v", err)
	}
}

func TestTokens(t *testing.T) {
	m := tinyModel(t)
	for _, text := range []string{"", "a", "x = 1\n\treturn x", "héllo — 日本", "\x00\x7f"} {
		toks, err := m.Tokenize(text, false, false)
		if err != nil {
			t.Fatal(err)
		}
		var pieces []byte
		for _, tok := range toks {
			pieces = append(pieces, m.Piece(tok, false)...)
		}
		if string(pieces) != text {
			t.Errorf("%q: pieces %q", text, pieces)
		}
		if got := m.Detokenize(toks, false); got != text {
			t.Errorf("%q: back as %q", text, got)
		}
	}
	if _, err := m.Tokenize("\xff", false, false); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("text that is not UTF-8: %v", err)
	}
	if toks, _ := m.Tokenize("<|im_end|>", false, false); len(toks) != 10 {
		t.Errorf("a control token's spelling, not to be parsed: %v", toks)
	}
	if toks, _ := m.Tokenize("<|im_end|>", false, true); len(toks) != 1 || toks[0] != gguftest.TurnEnd {
		t.Errorf("a control token's spelling, to be parsed: %v", toks)
	}
	if p := m.Piece(gguftest.End, false); len(p) != 0 {
		t.Errorf("a control token renders as %q", p)
	}
	if p := m.Piece(-5, true); p != nil || m.Piece(gguftest.Vocab, true) != nil || m.TokenText(gguftest.Vocab) != "" {
		t.Errorf("tokens that are not there render as %q", p)
	}
}

func TestLoadModelRefuses(t *testing.T) {
	lib := library(t)
	sound := gguftest.ModelBytes(t, tiny)
	adapter, _ := gguftest.Adapter(t, tiny, 1)
	foreign := tiny
	foreign.Meta = []gguf.Entry{text("general.architecture", "nonesuch")}
	for _, key := range []string{"block_count", "embedding_length", "context_length"} {
		foreign.Meta = append(foreign.Meta, gguf.Entry{Key: "nonesuch." + key, Value: gguf.OfUint32(2)})
	}
	for _, c := range []struct {
		name string
		path string
		code batos.Code
		want string
	}{
		{"missing", filepath.Join(t.TempDir(), "none.gguf"), batos.NotFound, "does not exist"},
		{"a folder", t.TempDir(), batos.Invalid, "not a regular file"},
		{"text", save(t, []byte("hello world, this is no model")), batos.Invalid, ""},
		{"cut in the header", save(t, sound[:200]), batos.Invalid, ""},
		{"cut in the weights", save(t, sound[:len(sound)-64]), batos.Invalid, ""},
		{"an adapter", save(t, adapter), batos.Invalid, "general.type"},
		{"by the library", gguftest.Model(t, foreign), batos.Invalid, "unknown model architecture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := lib.LoadModel(c.path, ModelOptions{})
			if err == nil {
				t.Fatal(m.Close())
			}
			if batos.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s: %v", batos.CodeOf(err), err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
		})
	}
}

func TestQuantize(t *testing.T) {
	lib := library(t)
	in := gguftest.Model(t, tiny)
	out := filepath.Join(t.TempDir(), "q8.gguf")
	if err := lib.Quantize(in, out, QuantQ8_0, 1); err != nil {
		t.Fatal(err)
	}
	whole, err := lib.LoadModel(in, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	small, err := lib.LoadModel(out, ModelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if small.Size() >= whole.Size()/2 {
		t.Errorf("%d bytes became %d", whole.Size(), small.Size())
	}
	a, b := newContext(t, whole, ContextOptions{}), newContext(t, small, ContextOptions{})
	x, y := logits(t, a, items(0, 0, tokens("hello")...)), logits(t, b, items(0, 0, tokens("hello")...))
	if d := distance(x, y); d == 0 || d > 1 {
		t.Errorf("logits differ by %g", d)
	}
	a.Close()
	b.Close()
	if err := errors.Join(whole.Close(), small.Close()); err != nil {
		t.Error(err)
	}
	bad := save(t, []byte("GGUF"))
	if err := lib.Quantize(bad, out+"2", QuantQ8_0, 1); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("quantizing garbage: %v", err)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) != 1 {
		t.Errorf("files left: %q", left)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
}

// Too little memory is no fault of the file.
func TestWhatCannotBeLoaded(t *testing.T) {
	for words, want := range map[string]batos.Code{
		"llama_model_load: error loading model vocabulary: std::bad_alloc": batos.Limit,
		"alloc_tensor_range: failed to allocate CPU buffer of size 4096":   batos.Limit,
		"unknown model architecture: 'x'":                                  batos.Invalid,
	} {
		if got := unloaded(words); got != want {
			t.Errorf("%s: %s, want %s", words, got, want)
		}
	}
}
