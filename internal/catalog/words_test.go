package catalog

import (
	"strings"
	"testing"
	"unicode"

	"github.com/rivo/uniseg"
)

// slowWords is words without its shortcut.
func slowWords(text string) []string {
	var out []string
	state := -1
	for len(text) > 0 {
		var word string
		word, text, state = uniseg.FirstWordInString(text, state)
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			out = append(out, word)
		}
	}
	return out
}

// Names that a dot joins are found by each of their words.
func TestNamesInTheirParts(t *testing.T) {
	for text, want := range map[string]string{
		"strings.Builder": "strings.builder strings builder", "os.ReadFile": "os.readfile os read file", "io.EOF": "io.eof io eof",
		"std::sort": "std sort", "u.s.a": "u.s.a u s a", "3.14": "3.14", "v1.2.3": "v1.2.3", "snake_case.x": "snake_case.x snake case x",
	} {
		got, err := Analyze(Plain, text)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// A question's small words find nothing by themselves, unless it has no others.
func TestTerms(t *testing.T) {
	for text, want := range map[string]string{
		"what happens after a crash": "happen crash happens", "if": "if", "The ReadFile": "readfil read file readfile", "": "",
	} {
		got, err := Terms("", text)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

// Chunks say what the document says, to the letter, and none is too long.
func TestChunksKeepTheText(t *testing.T) {
	text := "// To look at it.\nfunc f() { return utf8.RuneSelf }\n\n" + strings.Repeat("if utf8.RuneSelf < x. Y { go on }\n", 80) + strings.Repeat("endless ", 2000)
	for _, chunker := range []string{Recursive, Semantic} {
		chunks, err := Split(chunker, text, nil)
		if err != nil || len(chunks) < 5 {
			t.Fatalf("%s: %d chunks, %v", chunker, len(chunks), err)
		}
		for _, c := range chunks {
			if !strings.Contains(text, c) {
				t.Errorf("%s: %.60q is not in the text", chunker, c)
			}
			if Tokens(c) > chunkMost {
				t.Errorf("%s: a chunk of %d tokens", chunker, Tokens(c))
			}
		}
	}
}
