package forge

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"batos"
	"batos/internal/ggml"
)

func TestModelFile(t *testing.T) {
	library(t)
	a := small
	a.Tied = true
	w := spread(t, a)
	meta := Meta{
		Name: "seedling", Profile: "seed", License: "Apache-2.0", Description: "for a test",
		Half: true, Extra: []KeyValue{{"batos.recipe", "1"}},
	}
	m := loadModel(t, saveModel(t, w, meta))
	for key, want := range map[string]string{
		"general.name": "seedling", "batos.profile": "seed", "general.license": "Apache-2.0",
		"general.description": "for a test", "batos.recipe": "1", "llama.context_length": "64",
	} {
		if got, _ := m.Meta(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if m.Params() != uint64(a.Params()) || m.VocabSize() != a.Vocab || m.BOS() != 258 || m.EOS() != 259 || m.AddsBOS() {
		t.Errorf("%d weights, %d tokens, BOS %d, EOS %d", m.Params(), m.VocabSize(), m.BOS(), m.EOS())
	}
	tok := smallTokenizer()
	for i, e := range tok.Entries {
		want := e.Text
		if e.Kind == ControlToken {
			want = ""
		}
		if got := string(m.Piece(ggml.Token(i), false)); got != want {
			t.Errorf("token %d renders as %q, want %q", i, got, want)
		}
	}
	data := counting{3, a.Vocab}
	whole := loadModel(t, saveModel(t, w, Meta{}))
	if x, y := engineLoss(t, m, data, 8), engineLoss(t, whole, data, 8); math.Abs(x-y) > 1e-2*y {
		t.Errorf("stored as halves the loss is %.4f, whole %.4f", x, y)
	}
}

func TestModelFileRefuses(t *testing.T) {
	a := small
	w := spread(t, a)
	for _, c := range []struct {
		name  string
		spoil func(tok *Tokenizer, m *Meta)
		want  string
	}{
		{"sound", func(*Tokenizer, *Meta) {}, ""},
		{"an entry short", func(tok *Tokenizer, _ *Meta) { tok.Entries = tok.Entries[1:] }, "259 entries, the model 260"},
		{"twice", func(tok *Tokenizer, _ *Meta) { tok.Entries[5] = tok.Entries[6] }, "entries 5 and 6"},
		{"empty", func(tok *Tokenizer, _ *Meta) { tok.Entries[5].Text = "" }, "entry 5 is empty"},
		{"kind", func(tok *Tokenizer, _ *Meta) { tok.Entries[5].Kind = 9 }, "kind 9"},
		{"end", func(tok *Tokenizer, _ *Meta) { tok.EOS = 260 }, "EOS 260"},
		{"merge", func(tok *Tokenizer, _ *Meta) { tok.Merges = [][2]string{{"a", "b"}} }, "merge 0"},
		{"metadata twice", func(_ *Tokenizer, m *Meta) { m.Extra = []KeyValue{{"general.name", "x"}, {"general.name", "y"}} }, "appears twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, meta := smallTokenizer(), Meta{}
			c.spoil(&tok, &meta)
			err := WriteGGUF(new(bytes.Buffer), w, tok, meta)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want invalid: …%s…", err, c.want)
			}
		})
	}
}

func TestMergesTokenize(t *testing.T) {
	tok := smallTokenizer()
	tok.Entries[256] = TokenEntry{" x", NormalToken}
	tok.Merges = [][2]string{{" ", "x"}}
	var b bytes.Buffer
	if err := WriteGGUF(&b, spread(t, small), tok, Meta{}); err != nil {
		t.Fatal(err)
	}
	m := loadModel(t, save(t, b.Bytes()))
	got, err := m.Tokenize("a x", false, false)
	if err != nil || len(got) != 2 || got[1] != 256 {
		t.Errorf("tokens %d, %v", got, err)
	}
}
