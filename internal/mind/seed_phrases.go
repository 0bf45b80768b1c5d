package mind

import "strings"

// What a seed model was taught is at hand when it writes a method: the phrases
// that are nearest to the message, and the code that each asks for. They never
// answer in its place: an idea of the model that the nearest phrase asks for as
// well has more behind it than one which it does not, see seed_weigh.go.

// SeedPhrase is a method that a phrase of a seed model's training asks for, put
// in the aliases of a prompt.
type SeedPhrase struct {
	Body string // the code, as the model would write it
	// Words are those of the phrase, of all that ask for this method, that is
	// nearest to the prompt: words of a prompt, with aliases.
	Words []string
	// Likeness is the share of the words of both that they have in common.
	Likeness float64
}

// SeedPhrases knows the phrases that a seed model was taught. It is safe for
// concurrent use.
type SeedPhrases interface {
	// Corpus is the SHA-256 of the corpus that the phrases are of, hex.
	Corpus() string
	// Near lists the methods that the nearest phrases ask for, the nearest
	// first. An object that does not have what a phrase works on has no such
	// method, nor has a message with other arguments.
	Near(p SeedPrompt) []SeedPhrase
}

// WithPhrases gives the profile for models that were taught these phrases.
// [Seed.Bind] leaves them away for a model of another corpus.
func (s Seed) WithPhrases(p SeedPhrases) Seed {
	s.phrases = p
	return s
}

// near lists what the phrases near to p ask for.
func (s Seed) near(p SeedPrompt) []SeedPhrase {
	if s.phrases == nil {
		return nil
	}
	return s.phrases.Near(p)
}

// said gives the words of a phrase as a person writes them.
func (n *seedNames) said(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		switch k := 0; w[0] {
		case '$':
			if k, _ = number(w[1:]); k < len(n.slots) {
				out[i] = n.slots[k]
			}
		case '#':
			if k, _ = number(w[1:]); k < len(n.fields) {
				out[i] = n.fields[k]
			}
		case '~':
			out[i] = n.receiver
		}
	}
	return strings.Join(out, "_")
}

// nearest reports whether one of the phrases that are nearest asks for the
// method.
func nearest(near []SeedPhrase, body string) bool {
	for _, p := range near {
		if p.Likeness < near[0].Likeness {
			break
		}
		if p.Body == body {
			return true
		}
	}
	return false
}
