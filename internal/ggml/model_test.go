package ggml

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
)

func TestModelDescribesItself(t *testing.T) {
	path := save(t, tinyGGUF(t, tiny, func(g *GGUFWriter) {
		g.String("batos.profile", "seed")
		g.String("general.name", strings.Repeat("long ", 100))
		g.String("tokenizer.chat_template", "{% for m in messages %}<|im_start|>{{m.role}}{{m.content}}<|im_end|>{% endfor %}")
	}))
	m, err := library(t).LoadModel(path, ModelOptions{})
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
	if m.VocabSize() != tinyVocab || m.EOS() != tinyEnd || m.EOT() != NoToken || !m.IsEOG(tinyEnd) || m.IsEOG(65) || m.IsEOG(-1) || m.IsEOG(1e6) {
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
	if toks, _ := m.Tokenize("self.x", false, false); len(toks) != 2 || toks[0] != 256 {
		t.Errorf("a user-defined token: %v", toks)
	}
	if toks, _ := m.Tokenize("<end>", false, false); len(toks) != 5 {
		t.Errorf("a control token's spelling, not to be parsed: %v", toks)
	}
	if toks, _ := m.Tokenize("<end>", false, true); len(toks) != 1 || toks[0] != tinyEnd {
		t.Errorf("a control token's spelling, to be parsed: %v", toks)
	}
	if p := m.Piece(tinyEnd, false); len(p) != 0 {
		t.Errorf("a control token renders as %q", p)
	}
	if p := m.Piece(-5, true); p != nil || m.Piece(tinyVocab, true) != nil || m.TokenText(tinyVocab) != "" {
		t.Errorf("tokens that are not there render as %q", p)
	}
}

func TestLoadModelRefuses(t *testing.T) {
	lib := library(t)
	sound := tinyGGUF(t, tiny, nil)
	for _, c := range []struct {
		name string
		path string
		code batos.Code
		want string
	}{
		{"missing", filepath.Join(t.TempDir(), "none.gguf"), batos.NotFound, "no such file"},
		{"a folder", t.TempDir(), batos.Invalid, "not a regular file"},
		{"empty", save(t, nil), batos.Invalid, "not a usable GGUF file"},
		{"text", save(t, []byte("hello world, this is no model")), batos.Invalid, "does not begin with GGUF"},
		{"cut in the header", save(t, sound[:200]), batos.Invalid, "not a usable GGUF file"},
		{"cut in the weights", save(t, sound[:len(sound)-64]), batos.Invalid, "token"},
		{"older version", save(t, append([]byte("GGUF\x02\x00\x00\x00"), sound[8:]...)), batos.Invalid, "version 2"},
		{"an adapter", save(t, tinyAdapter(t, tiny, 2, 1)), batos.Invalid, "cannot be loaded: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := lib.LoadModel(c.path, ModelOptions{})
			if err == nil {
				t.Fatal(m.Close())
			}
			if batos.CodeOf(err) != c.code || c.name != "cut in the weights" && !strings.Contains(err.Error(), c.want) {
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
	in := save(t, tinyGGUF(t, tiny, nil))
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
	if d := distance(x, y); d == 0 || d > 0.2 {
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
