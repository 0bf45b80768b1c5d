package catalog

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kljensen/snowball"
	"github.com/kljensen/snowball/english"
	"github.com/kljensen/snowball/french"
	"github.com/kljensen/snowball/hungarian"
	"github.com/kljensen/snowball/norwegian"
	"github.com/kljensen/snowball/russian"
	"github.com/kljensen/snowball/spanish"
	"github.com/kljensen/snowball/swedish"
	"github.com/rivo/uniseg"

	"batos"
)

// stopWords says for each language which words say nothing.
var stopWords = map[string]func(string) bool{
	"english": english.IsStopWord, "french": french.IsStopWord, "spanish": spanish.IsStopWord, "russian": russian.IsStopWord,
	"swedish": swedish.IsStopWord, "norwegian": norwegian.IsStopWord, "hungarian": hungarian.IsStopWord,
}

// Plain is the language of what is no language, such as tables. Words are taken
// as they are. Source code is better in the language of its comments.
const Plain = "plain"

// DefaultLanguage is that of documents that don't say.
const DefaultLanguage = "english"

// Languages lists the languages that are analysed, by name.
func Languages() []string {
	out := []string{Plain}
	for l := range stopWords {
		out = append(out, l)
	}
	slices.Sort(out)
	return out
}

// Analyze makes terms of text: words by Unicode's rules (UAX 29), in lower
// case, without stop words, stemmed by Snowball's rules. Names of programs
// count as a whole and in their parts: HTTPServer is also http and server.
func Analyze(language, text string) ([]string, error) {
	a, err := analyzer(language)
	if err != nil {
		return nil, err
	}
	return a(text), nil
}

// analyzer gives what makes terms of the texts of one document, one by one.
func analyzer(language string) (func(string) []string, error) {
	stop, ok := stopWords[language]
	if !ok && language != Plain {
		return nil, batos.Errorf(batos.Invalid, "there are no rules for the language %.40q; there are %s", language, strings.Join(Languages(), ", "))
	}
	term := func(word string) string {
		if stop != nil {
			if stop(word) {
				return ""
			}
			if stem, err := snowball.Stem(word, language, false); err == nil && stem != "" {
				word = stem
			}
		}
		if len(word) > maxTerm {
			word = strings.ToValidUTF8(word[:maxTerm], "")
		}
		return word
	}
	known := map[string]string{} // the words of one document come again and again
	return func(text string) []string {
		var out []string
		add := func(word string) {
			word = strings.ToLower(word)
			t, ok := known[word]
			if !ok {
				t = term(word)
				known[word] = t
			}
			if t != "" {
				out = append(out, t)
			}
		}
		words(text, func(word string) {
			add(word)
			if ps := parts(word); len(ps) > 1 {
				for _, p := range ps {
					add(p)
				}
			}
		})
		return out
	}, nil
}

// words calls fn for each word of text that has a letter or a digit.
func words(text string, fn func(string)) {
	for len(text) > 0 {
		if n := asciiWord(text); n > 0 {
			fn(text[:n])
			text = text[n:]
			continue
		}
		var word string
		word, text, _ = uniseg.FirstWordInString(text, -1)
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			fn(word)
		}
	}
}

// asciiWord is the length of a word of ASCII letters and digits that ends where
// any rules end it: before a blank or a mark that joins nothing. 0 leaves it to
// the full rules.
func asciiWord(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
			continue
		case c == ' ', c == '\n', c == '\t', c == '(', c == ')', c == '[', c == ']', c == '/', c == '"', c == '{', c == '}', c == '=', c == '+', c == '-', c == '*', c == '<', c == '>':
			if i > 0 && strings.Trim(s[:i], "_") != "" {
				return i
			}
			return 0
		case c == '.', c == ',', c == ';', c == ':', c == '!', c == '?': // these join only what follows at once
			if i > 0 && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\n') && strings.Trim(s[:i], "_") != "" {
				return i
			}
			return 0
		default:
			return 0
		}
	}
	return 0
}

// parts splits a name at underscores, dots and colons, and where capitals begin
// a word. Dots within numbers and apostrophes split nothing.
func parts(word string) []string {
	var out []string
	begin := 0
	runes := []rune(word)
	cut := func(end int) {
		if end > begin {
			out = append(out, string(runes[begin:end]))
		}
		begin = end
	}
	for i, r := range runes {
		switch {
		case r == '_' || r == '.' || r == ':':
			if r != '_' && i > 0 && i+1 < len(runes) && unicode.IsDigit(runes[i-1]) && unicode.IsDigit(runes[i+1]) {
				continue
			}
			cut(i)
			begin = i + 1
		case i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]) && unicode.IsUpper(runes[i-1])):
			cut(i)
		}
	}
	cut(len(runes))
	return out
}

// Terms are what a query looks for, each once: its words as a document of that
// language has them and as a plain one has them. Words that say nothing in the
// language count only if there are no others; "" is [DefaultLanguage].
func Terms(language, text string) ([]string, error) {
	if language == "" {
		language = DefaultLanguage
	}
	a, err := analyzer(language)
	if err != nil {
		return nil, err
	}
	out := a(text)
	if plain, err := Analyze(Plain, text); err != nil {
		return nil, err
	} else if stop := stopWords[language]; stop == nil || len(out) == 0 {
		out = append(out, plain...)
	} else {
		out = append(out, slices.DeleteFunc(plain, stop)...)
	}
	seen := map[string]bool{}
	out = slices.DeleteFunc(out, func(term string) bool {
		again := seen[term]
		seen[term] = true
		return again
	})
	const most = 64
	return out[:min(most, len(out))], nil
}

// Tokens estimates how many tokens a model makes of text: a word, and each
// mark, counts one, long words more.
func Tokens(text string) int {
	n := 0
	for _, f := range strings.Fields(text) {
		n += 1 + utf8.RuneCountInString(f)/6
	}
	return n
}
