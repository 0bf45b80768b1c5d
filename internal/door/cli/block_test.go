package cli

import (
	"io"
	"strings"
	"testing"
)

// What is typed is taken when it is whole, and not before.
func TestBlock(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string // after each line: what is taken, or "…"
	}{
		{"an expression", []string{"1 + 1"}, []string{"1 + 1"}},
		{"a bracket", []string{"[1,", "", "2]"}, []string{"…", "…", "[1,\n\n2]"}},
		{"brackets in a text", []string{`"(["`}, []string{`"(["`}},
		{"a bracket in a remark", []string{"1 # (", "2"}, []string{"1 # (", "2"}},
		{"an apostrophe", []string{".say it's"}, []string{".say it's"}},
		{"an escape", []string{`"a\"("`}, []string{`"a\"("`}},
		{"a long text", []string{`x = """a`, "it's (", `b"""`}, []string{"…", "…", "x = \"\"\"a\nit's (\nb\"\"\""}},
		{"a function", []string{"def f():", "  return 1", "return f()", "", "2"}, []string{"…", "…", "…", "def f():\n  return 1\nreturn f()\n", "2"}},
		{"a loop", []string{"for i in range(3):", "  f(i)", ""}, []string{"…", "…", "for i in range(3):\n  f(i)\n"}},
		{"a word that begins like one", []string{"format: x"}, []string{"format: x"}},
		{"a comprehension", []string{"[i for i in x]"}, []string{"[i for i in x]"}},
		{"a command", []string{":look ("}, []string{":look ("}},
		{"a message", []string{"box.add [1,", "2]"}, []string{"…", "box.add [1,\n2]"}},
		{"too many closed", []string{"1)"}, []string{"1)"}},
		{"a backslash", []string{"1 + \\", "2"}, []string{"…", "1 + \\\n2"}},
	} {
		var b block
		for i, line := range c.lines {
			text, whole := b.add(line)
			if !whole {
				text = "…"
			}
			if text != c.want[i] {
				t.Errorf("%s, after %q: %q, want %q", c.name, line, text, c.want[i])
			}
		}
		if b.begun() {
			t.Errorf("%s: something is left", c.name)
		}
	}
}

// Ctrl-C empties the line whatever stands there.
func TestKeyboard(t *testing.T) {
	k := &keyboard{in: strings.NewReader("abc\x03def")}
	got, err := io.ReadAll(k)
	if err != nil || string(got) != "abc\x05\x15\r" || !k.interrupted {
		t.Errorf("%q, %v, %v", got, k.interrupted, err)
	}
}

func TestHistory(t *testing.T) {
	h := &history{}
	for _, l := range []string{"a", " ", "b", "b", "a"} {
		h.Add(l)
	}
	if h.Len() != 3 || h.At(0) != "a" || h.At(1) != "b" || h.At(2) != "a" {
		t.Errorf("%q", h.lines)
	}
	for range keptLines {
		h.Add("c")
		h.Add("d")
	}
	if h.Len() != keptLines {
		t.Errorf("%d lines", h.Len())
	}
}
