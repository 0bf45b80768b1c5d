package seedmind

import (
	"strings"

	"batos"
	"batos/internal/mind"
)

// Line is one line of phrases: at each place one of several choices, and a
// choice is any number of words. "{s}" and the like stand for slots and
// fields, "{~}" for a noun that names neither.
type Line [][][]string

// phrases calls yield with every phrase of the line; the slice is only good
// during the call.
func (l Line) phrases(yield func([]string)) {
	var walk func(i int, words []string)
	walk = func(i int, words []string) {
		if i == len(l) {
			if len(words) > 0 {
				yield(words)
			}
			return
		}
		for _, choice := range l[i] {
			walk(i+1, append(words, choice...))
		}
	}
	walk(0, make([]string, 0, 16))
}

// size is the number of phrases.
func (l Line) size() int {
	n := 1
	for _, choices := range l {
		n *= len(choices)
	}
	return n
}

// classes are the word classes by name.
type classes map[string][][]string

// parseClasses reads classes.txt.
func parseClasses(text string) (classes, error) {
	c := classes{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if f[0] != strings.ToUpper(f[0]) || len(f) < 2 || c[f[0]] != nil {
			return nil, batos.Errorf(batos.Invalid, "classes.txt: %q is not a new class with words", f[0])
		}
		seen := map[string]bool{}
		for _, w := range f[1:] {
			if seen[w] {
				return nil, batos.Errorf(batos.Invalid, "classes.txt: %s has %s twice", f[0], w)
			}
			seen[w] = true
			c[f[0]] = append(c[f[0]], strings.Split(w, "_"))
		}
	}
	return c, nil
}

// line reads one line of phrases.
func (c classes) line(text string) (Line, error) {
	var out Line
	for _, place := range strings.Fields(text) {
		var choices [][]string
		seen := map[string]bool{}
		add := func(words []string) {
			key := strings.Join(words, "_")
			if !seen[key] {
				seen[key] = true
				choices = append(choices, words)
			}
		}
		for alt := range strings.SplitSeq(place, "|") {
			switch {
			case alt == "-":
				add(nil)
			case c[alt] != nil:
				for _, words := range c[alt] {
					add(words)
				}
			default:
				words := strings.Split(alt, "_")
				for _, w := range words {
					if !isWord(w) && !isPlaceholder(w) {
						return nil, batos.Errorf(batos.Invalid, "%q is neither a word, a class, nor a placeholder", w)
					}
				}
				for i, w := range words {
					if plainThings[w] {
						words[i] = "{~}"
					}
				}
				add(words)
			}
		}
		out = append(out, choices)
	}
	return out, nil
}

// plainThings are nouns that mean nothing of their own in a phrase: any other
// noun would do.
var plainThings = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields("candidate candidates character child contact contacts customer employee game guest kid person people player players prize product products project quest recipe role song songs student students user users job todo team seat parcel subject company widget employee runner") {
		m[w] = true
	}
	return m
}()

func isWord(w string) bool {
	for i := 0; i < len(w); i++ {
		if (w[i] < 'a' || w[i] > 'z') && (w[i] < '0' || w[i] > '9') {
			return false
		}
	}
	return w != ""
}

func isPlaceholder(w string) bool {
	if len(w) < 3 || w[0] != '{' || w[len(w)-1] != '}' {
		return false
	}
	if len(w) == 4 {
		return strings.IndexByte(slotLetters, w[1]) >= 0 && (w[2] == inSingular || w[2] == inPlural)
	}
	return len(w) == 3 && strings.IndexByte(slotLetters+fieldLetters+"~", w[1]) >= 0
}

// {s1} is the slot's name in the singular, {sn} as it is; for slots that hold
// one value both are {s}.
const (
	inSingular = '1'
	inPlural   = 'n'
)

// numbersOf gives the ways in which a placeholder of a slot may be written
// after its alias: "" and mind.SeedOne.
func numbersOf(w string, t mind.SeedType) []string {
	switch {
	case !isContainer(t):
		return []string{""}
	case w[2] == inSingular:
		return []string{mind.SeedOne}
	case w[2] == inPlural:
		return []string{""}
	}
	return []string{"", mind.SeedOne}
}
