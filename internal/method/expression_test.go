package method

import (
	"strings"
	"testing"
)

// What a person types becomes a method, and every position in it leads back.
func TestSnippet(t *testing.T) {
	for _, c := range []struct{ text, source, mark string }{
		{"1 + 1", "def m(self):\n    return (\n1 + 1\n)\n", "1"},
		{"  self.a # why", "def m(self):\n    return (\n  self.a # why\n)\n", "a"},
		{"f\"{self.a}\"", "def m(self):\n    return (\nf\"{self.a}\"\n)\n", "a"},
		{"[1,\n2]", "def m(self):\n    return (\n[1,\n2]\n)\n", "2"},
		{"x = 1", "def m(self):\n    x = 1\n", "x"},
		{"x = 1\nreturn x\n\n", "def m(self):\n    x = 1\n    return x\n", "return"},
		{"x = \"\"\"one\ntwo\"\"\"\nreturn x", "def m(self):\n    x = \"\"\"one\ntwo\"\"\"\n    return x\n", "two"},
		{"x = f\"\"\"one\n{self.b} two\"\"\"\nreturn x", "def m(self):\n    x = f\"\"\"one\n{self.b} two\"\"\"\n    return x\n", "b"},
		{"for i in range(3):\n  len([i])", "def m(self):\n    for i in range(3):\n      len([i])\n", "len"},
		{"  x = 1\n  return x", "def m(self):\n  x = 1\n  return x\n", "return"},
		{"\n x = 1", "def m(self):\n\n x = 1\n", "x"},
		{"(1)\r\n+ 2", "def m(self):\n    (1)\n    + 2\n", "2"},
	} {
		source, shift, err := Snippet("text", "m", c.text)
		if err != nil || source != c.source {
			t.Errorf("%q: %v\n%q\nwant\n%q", c.text, err, source, c.source)
			continue
		}
		text := unixLines(c.text)
		body := strings.Index(source, "\n") + 1
		line, col := at(source, body+strings.Index(source[body:], c.mark))
		if strings.Contains(source, "return (\n") {
			body += strings.Index(source[body:], "\n") + 1
			line, col = at(source, body+strings.Index(source[body:], c.mark))
		}
		gotLine, gotCol := shift(line, col)
		if wantLine, wantCol := at(text, strings.Index(text, c.mark)); gotLine != wantLine || gotCol != wantCol {
			t.Errorf("%q: %d:%d leads to %d:%d, want %d:%d", c.text, line, col, gotLine, gotCol, wantLine, wantCol)
		}
		if _, err := Compile("m", source); err != nil {
			t.Errorf("%q does not compile: %v", source, err)
		}
	}
	for text, want := range map[string]string{
		"":               "nothing to evaluate",
		" \n\t":          "nothing to evaluate",
		"1 +":            "text:1:4: got end of file, want primary expression",
		"1) + (2":        "text:1:2: unexpected ')'",
		"x = 1\ny = = 2": "text:2:5: got '=', want primary expression",
		"if x:":          "text:1:1: got if, want primary expression",
		"(1\n+ 2":        "text:3:1: got end of file, want ')'",
		"f\"{1 +}\"":     "text:1:",
	} {
		if source, _, err := Snippet("text", "m", text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %q; want %s", text, err, source, want)
		}
	}
}

// at is a position as parsers count it.
func at(s string, off int) (line, col int) {
	before := s[:off]
	return 1 + strings.Count(before, "\n"), off - strings.LastIndex(before, "\n")
}
