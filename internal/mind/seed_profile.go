package mind

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"batos"
)

// SeedName is the name of the profile of the shipped seed model.
const SeedName = "seed"

// SeedVersion counts the changes of the prompt's form. A model says with
// which it was trained; another one is refused.
const SeedVersion = 1

// SeedMetaKey is the metadata key under which a seed model carries its
// [SeedTables], as JSON.
const SeedMetaKey = "batos.seed"

// SeedTables is what a seed model's profile must know of its training.
type SeedTables struct {
	Version int      `json:"version"`
	Pieces  []string `json:"pieces"` // of the tokenizer
	Parts   []string `json:"parts"`  // of the tokenizer: pieces of words
	Words   []string `json:"words"`  // that the phrases of the corpus are made of
	Things  []string `json:"things"` // nouns that a phrase may drop
	// MinConfidence is the probability of a whole answer below which it is
	// refused, SureConfidence that from which on it needs no person to look at
	// it (0: the same), both as calibrated on held-out examples.
	Methods        string  `json:"methods,omitempty"` // what it was taught, see [PackSeedMethods]
	MinConfidence  float64 `json:"min_confidence"`
	SureConfidence float64 `json:"sure_confidence,omitempty"`
}

// Seed is the profile of the shipped seed model: it takes the names out of a
// task, so that a tiny model need not spell them, and puts them back into the
// answer. Its zero value knows its name only; [Seed.Bind] makes one that
// works with a given model.
type Seed struct {
	tok                           *SeedTokenizer
	lex                           lexicon
	methods                       seedMethods
	minConfidence, sureConfidence float64
	phrases                       SeedPhrases // nil: what the model was taught is not at hand
	weights                       SeedWeights // of ideas, where there are phrases
}

// Binder is a profile that needs tables which its model carries.
type Binder interface {
	// Bind gives the profile for the model that info describes.
	Bind(info Info) (Profile, error)
}

var (
	_ Profile = Seed{}
	_ Binder  = Seed{}
)

// Bind reads the tables of a seed model. Missing, damaged or newer ones are an
// error of code invalid.
func (s Seed) Bind(info Info) (Profile, error) {
	text := info.Meta[strings.TrimPrefix(SeedMetaKey, "batos.")]
	var t SeedTables
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return nil, batos.Errorf(batos.Invalid, "the model %s has no tables for the profile %q: %w", info.ModelID, SeedName, err)
	}
	bound, err := NewSeed(t)
	if err != nil {
		return nil, err
	}
	if info.VocabSize != 0 && info.VocabSize != bound.tok.Size() {
		return nil, batos.Errorf(batos.Invalid, "the model %s has %d tokens, its tables %d", info.ModelID, info.VocabSize, bound.tok.Size())
	}
	if s.phrases != nil && s.phrases.Corpus() == info.Meta["corpus"] {
		bound.phrases = s.phrases
		bound = bound.WithWeights(shippedWeights())
	}
	return bound, nil
}

// NewSeed makes the profile of a model with these tables.
func NewSeed(t SeedTables) (*Seed, error) {
	if t.Version != SeedVersion {
		return nil, batos.Errorf(batos.Invalid, "the seed model was trained with prompts of version %d, this release writes version %d", t.Version, SeedVersion)
	}
	tok, err := NewSeedTokenizer(t.Pieces, t.Parts)
	if err != nil {
		return nil, err
	}
	lex := lexicon{words: map[string]bool{}, things: map[string]bool{}}
	for _, w := range t.Words {
		lex.words[w] = true
	}
	for _, w := range t.Things {
		lex.things[w] = true
	}
	methods, err := unpackSeedMethods(t.Methods, t.Words)
	if err != nil {
		return nil, err
	}
	return Seed{tok: tok, lex: lex, methods: methods}.WithBounds(t.MinConfidence, t.SureConfidence), nil
}

// Name is "seed".
func (Seed) Name() string { return SeedName }

// Tokenizer gives the model's tokenizer.
func (s *Seed) Tokenizer() *SeedTokenizer { return s.tok }

// Serves reports whether the model writes this kind of answer by itself: only
// methods. The other kinds want an adapter, see [Seed.NeedsAdapter].
func (Seed) Serves(kind Kind) bool { return kind == Method }

// Bounds of an answer, in tokens, and of the temperature of a further attempt.
const (
	seedAnswer      = 160
	seedTemperature = 0.7
	seedDraws       = 8 // answers drawn from the model beside those of the askings
)

// Prompt gives the task as the model reads it. The error is refused, and names
// the words, if the selector has words that the model never saw.
func (s Seed) Prompt(t Task) (SeedPrompt, error) {
	n, err := s.names(t)
	if err != nil {
		return SeedPrompt{}, err
	}
	return n.prompt, nil
}

var errUnbound = batos.Errorf(batos.Invalid, "the profile %q is not bound to a model", SeedName)

func (s Seed) names(t Task) (*seedNames, error) {
	if s.tok == nil {
		return nil, errUnbound
	}
	n, err := s.lex.alias(t)
	if err != nil {
		return nil, err
	}
	if len(n.unknown) > 0 {
		noun := "word"
		if len(n.unknown) > 1 {
			noun = "words"
		}
		return nil, batos.Errorf(batos.Refused, "I don't know how to %s: I never learned the %s %s, and no slot is called so", t.Selector, noun, quoteAll(n.unknown))
	}
	return n, nil
}

func quoteAll(ws []string) string {
	q := make([]string, len(ws))
	for i, w := range ws {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}

// Compose writes the prompt in tokens. A further attempt draws from the model
// instead of taking its first choice again; if the model had no usable answer,
// or never saw a word of the message, it puts the message in other words.
func (s Seed) Compose(t Task, earlier []Attempt) (Request, error) {
	if s.tok == nil {
		return Request{}, errUnbound
	}
	mark, err := s.tok.TaskMark(t.Kind)
	if err != nil {
		return Request{}, err
	}
	n, err := s.names(t)
	if t.Kind == Method && (batos.CodeOf(err) == batos.Refused || err == nil && inOtherWords(earlier)) {
		if readings := s.readings(t); len(readings) > 0 {
			return s.composeOther(mark, readings), nil
		}
	}
	if err != nil {
		return Request{}, err
	}
	r := s.composeOwn(mark, n)
	if k := len(earlier); k > 0 {
		r.Temperature, r.Seed = seedTemperature, uint64(k)
	}
	if t.Kind == Method {
		for _, a := range n.prompt.again() {
			r.Again = append(r.Again, append([]int32{mark}, s.tok.Encode(a.prompt.Text())...))
		}
		if s.phrases != nil {
			r.Draws = seedDraws
		}
	}
	return r, nil
}

func (s Seed) composeOwn(mark int32, n *seedNames) Request {
	return Request{
		Tokens:     append([]int32{mark}, s.tok.Encode(n.prompt.Text())...),
		Gloss:      n.prompt.Text(),
		StopTokens: []int32{SeedEnd},
		MaxTokens:  seedAnswer,
	}
}

// ComposeOwn is the request of a model that is asked once, in the words of the
// message, for evaluation.
func (s Seed) ComposeOwn(t Task) (Request, error) {
	n, err := s.names(t)
	if err != nil {
		return Request{}, err
	}
	mark, err := s.tok.TaskMark(t.Kind)
	return s.composeOwn(mark, n), err
}

// FirstSource is the method of the model's answer to [Seed.ComposeOwn], with no
// bound of confidence, for evaluation.
func (s Seed) FirstSource(t Task, r *Result) (string, error) {
	n, err := s.names(t)
	if err != nil {
		return "", err
	}
	body, err := s.answer(n, t.Selector, r)
	if err != nil {
		return "", err
	}
	return n.source(t.Selector, body)
}

// Read puts the names back. Of the answers that the model gave, asked in
// several ways, it takes the one with the most probability behind it. It
// refuses when none is a method that the model was taught and that uses all
// that the message names, and when the mean probability is below the bound that
// the model carries. A method between that bound and the one from which on the
// model is sure comes with a doubt, and so does one that the model was taught
// by other words than those of the message.
// The other kinds of work have no such bounds.
func (s Seed) Read(t Task, earlier []Attempt, r *Result) (Answer, error) {
	n, err := s.names(t)
	if t.Kind == Method && (batos.CodeOf(err) == batos.Refused || err == nil && inOtherWords(earlier)) {
		if readings := s.readings(t); len(readings) > 0 {
			if err != nil {
				return s.readOther(t, readings, r, true, err)
			}
			return s.readOther(t, readings, r, false, batos.Errorf(batos.Refused, "%s", earlier[len(earlier)-1].Error))
		}
	}
	if err != nil {
		return Answer{}, err
	}
	a, err := s.readOwn(t, n, r, earlier)
	if batos.CodeOf(err) == batos.Refused && t.Kind == Method && len(earlier) == 0 && len(s.readings(t)) > 0 {
		return Answer{}, batos.Errorf(batos.Invalid, "%s", err.Error()) // another attempt reads it in other words
	}
	return a, err
}

// readOwn reads the answer to a task in its own words.
func (s Seed) readOwn(t Task, n *seedNames, r *Result, earlier []Attempt) (Answer, error) {
	a := Answer{Notes: "read as " + strings.ReplaceAll(strings.TrimSpace(n.prompt.Text()), "\n", " ")}
	if t.Kind != Method {
		if r.Stop != StopEnd {
			return Answer{}, batos.Errorf(batos.Refused, "the work of the kind %q had no end", t.Kind)
		}
		body, err := s.tok.Decode(r.Tokens)
		if err != nil {
			return Answer{}, err
		}
		a.Confidence = sureness(r.Logprobs)
		a.Source, err = n.work(t.Kind, body)
		return a, err
	}
	e, err := s.elect(n, t.Selector, r, earlier)
	if err != nil {
		return Answer{}, err
	}
	a.Confidence = e.confidence
	if a.Source, err = n.source(t.Selector, e.body); err != nil {
		return a, err
	}
	why := s.why(n, &e)
	switch {
	case a.Confidence < s.minConfidence:
		return Answer{}, batos.Errorf(batos.Refused, "I don't know how to %s with %s: I am only %.0f %% sure of my best idea%s", t.Selector, n.shape(), 100*a.Confidence, why)
	case s.phrases == nil && len(e.strange) > 0 && a.Confidence < strangeConfidence:
		return Answer{}, batos.Errorf(batos.Refused, "I don't know how to %s with %s: I know no such method that people call %s", t.Selector, n.shape(), quoteAll(e.strange))
	case a.Confidence < s.sureConfidence || s.phrases == nil && len(e.strange) > 0:
		a.Doubt = fmt.Sprintf("the model is only %.0f %% sure%s", 100*a.Confidence, why)
	}
	return a, nil
}

// why tells a person what speaks against an idea.
func (s Seed) why(n *seedNames, e *election) string {
	var out string
	if e.ways < e.asked {
		out += fmt.Sprintf("; asked in %d ways, it answered the same in %d", e.asked, e.ways)
	}
	if e.left != "" {
		out += fmt.Sprintf("; it makes no use of %s, which the message names", e.left)
	}
	if e.novel {
		out += "; it is no method that it learned"
	}
	if len(e.strange) > 0 {
		out += fmt.Sprintf("; it knows no such method that people call %s", quoteAll(e.strange))
	}
	if s.phrases == nil {
		return out
	}
	if len(e.near) == 0 {
		return out + "; it was taught nothing that is called like this"
	}
	if !nearest(e.near, e.body) {
		out += fmt.Sprintf("; %s, which is nearest of what it was taught (%.0f %% of the words), asks for another method", n.said(e.near[0].Words), 100*e.near[0].Likeness)
	}
	return out
}

// strangeConfidence is the bound below which a method by a strange word is not
// worth a person's time: of those above it about half are right.
const strangeConfidence = 0.5

// usualAnswer is the length of an ordinary method's body, in tokens.
const usualAnswer = 24

// sureness is the probability of the whole answer; of one longer than usual (a
// layout has a line for each slot) that of as much of it as is usual, since
// the bound is calibrated on ordinary methods.
func sureness(logprobs []float32) float64 {
	sum := 0.0
	for _, l := range logprobs {
		sum += float64(l)
	}
	if n := len(logprobs); n > usualAnswer {
		sum *= usualAnswer / float64(n)
	}
	return math.Exp(sum)
}

// shape tells a person what the model had to work with.
func (n *seedNames) shape() string {
	if len(n.slots) == 0 {
		return "no slots"
	}
	parts := make([]string, len(n.slots))
	for i, s := range n.slots {
		parts[i] = s + " (" + string(n.prompt.Slots[i].Type) + ")"
	}
	return strings.Join(parts, ", ")
}

// Source makes a method of an answer in the model's form, for evaluation.
func (s Seed) Source(t Task, body string) (string, error) {
	n, err := s.names(t)
	if err != nil {
		return "", err
	}
	return n.source(t.Selector, body)
}

// WithBounds gives the profile with other bounds of confidence, for
// calibration; see [SeedTables].
func (s Seed) WithBounds(least, sure float64) *Seed {
	s.minConfidence, s.sureConfidence = least, max(least, sure)
	return &s
}

// WithWeights gives the profile with other weights and bounds, for calibration.
func (s Seed) WithWeights(w SeedWeights) *Seed {
	s.weights = w
	return s.WithBounds(w.Least, w.Sure)
}
