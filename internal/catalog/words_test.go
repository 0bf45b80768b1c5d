package catalog

import (
	"strings"
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
