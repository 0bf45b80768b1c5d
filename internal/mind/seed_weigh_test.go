package mind

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"batos"
)

// taught is what a test's model was taught.
type taught struct {
	corpus string
	near   []SeedPhrase
}

func (t taught) Corpus() string               { return t.corpus }
func (t taught) Near(SeedPrompt) []SeedPhrase { return t.near }

// weighing is a profile that holds ideas against phrases.
func weighing(t *testing.T, near ...SeedPhrase) *Seed {
	t.Helper()
	s := testSeed(t).WithPhrases(taught{"c", near})
	return s.WithWeights(SeedWeights{Of: SeedFeatures{byOwn: 0.5, byDrawn: 2, byNearest: 1.5, byRefused: -1, byStrange: -1.5, byNovel: -2, byLeft: -2}, Least: 0.3, Sure: 0.9})
}

func (s *Seed) wrote(body string, p float64) Result {
	r := Result{Tokens: s.tok.Encode(body), Stop: StopEnd}
	for range r.Tokens {
		r.Logprobs = append(r.Logprobs, float32(math.Log(p)/float64(len(r.Tokens))))
	}
	return r
}

// Of two ideas the one counts that the nearest phrase asks for as well, and a
// refusal or a doubt says what speaks against the best.
func TestIdeasAreWeighed(t *testing.T) {
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	const plus, times = "return $0 + a", "return $0 * a"
	asks := func(body string, likeness float64) SeedPhrase {
		return SeedPhrase{Body: body, Words: []string{"increase", "$0", "by"}, Likeness: likeness}
	}
	for name, c := range map[string]struct {
		near  []SeedPhrase
		drawn []string
		want  string // in the source, "" if it is refused
		says  string // in the doubt or the refusal, "" for neither
	}{
		"the nearest phrase agrees":      {[]SeedPhrase{asks(plus, 1)}, []string{plus, plus}, "count + amount", ""},
		"it asks for the other":          {[]SeedPhrase{asks(times, 1), asks(plus, 0.5)}, []string{plus, times}, "count * amount", ""},
		"it asks for something else":     {[]SeedPhrase{asks("return $0", 0.75)}, []string{plus, times, plus}, "count + amount", "increase_count_by, which is nearest of what it was taught (75 % of the words), asks for another method"},
		"one of the nearest agrees":      {[]SeedPhrase{asks("return $0", 1), asks(plus, 1)}, []string{plus, plus}, "count + amount", ""},
		"nothing was taught, and argued": {nil, []string{times, plus, "return $0 - a"}, "count + amount", "it was taught nothing that is called like this"},
	} {
		s := weighing(t, c.near...)
		first := s.wrote(plus, 0.6)
		for range 4 {
			first.Again = append(first.Again, s.wrote("return $0 + a", 0.9))
		}
		// The first and the last of the askings have a slot more, in front and behind.
		first.Again[0] = s.wrote("return $1 + a", 0.9)
		for _, body := range c.drawn {
			first.Again = append(first.Again, s.wrote(body, 0.6))
		}
		a, err := s.Read(task, nil, &first)
		if err != nil || !strings.Contains(a.Source, c.want) || (a.Doubt == "") != (c.says == "") || !strings.Contains(a.Doubt, c.says) {
			t.Errorf("%s: %v, %q, doubt %q, %.2f", name, err, a.Source, a.Doubt, a.Confidence)
		}
	}
	s := weighing(t, asks("return $0", 1))
	first := s.wrote("return $0", 0.1)
	_, err := s.Read(task, []Attempt{{Source: "x", Error: "the gate"}}, &first)
	if batos.CodeOf(err) != batos.Refused || !strings.Contains(err.Error(), "makes no use of amount") {
		t.Errorf("an idea without the argument: %v", err)
	}
}

// What the gate turned down is not tried again: the next idea is.
func TestNextIdea(t *testing.T) {
	s := weighing(t, SeedPhrase{Body: "return $0 + a", Words: []string{"increase", "$0", "by"}, Likeness: 1}, SeedPhrase{Body: "return $0 * a", Words: []string{"increase", "$0", "by"}, Likeness: 1})
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	first := s.wrote("return $0 + a", 0.9)
	for range 4 {
		first.Again = append(first.Again, Result{Tokens: s.tok.Encode("return $1 + a"), Stop: StopLength})
	}
	first.Again = append(first.Again, s.wrote("return $0 * a", 0.8), s.wrote("return $0 + a", 0.9))
	a, err := s.Read(task, nil, &first)
	if err != nil || !strings.Contains(a.Source, "+ amount") {
		t.Fatalf("%v: %s", err, a.Source)
	}
	woven := strings.Replace(a.Source, "    return", "    \"\"\"Counts.\"\"\"\n    return", 1)
	b, err := s.Read(task, []Attempt{{Number: 1, Source: woven, Error: "above is above: no"}}, &first)
	if err != nil || !strings.Contains(b.Source, "* amount") {
		t.Fatalf("after the first was turned down: %v: %s", err, b.Source)
	}
	_, err = s.Read(task, []Attempt{{Number: 1, Source: woven, Error: "no"}, {Number: 2, Source: b.Source, Error: "no"}}, &first)
	if batos.CodeOf(err) != batos.Refused || !strings.Contains(err.Error(), "turned down 2 ideas") {
		t.Errorf("after both were: %v", err)
	}
}

// Only a model of the same corpus is held against its phrases.
func TestPhrasesOfAnotherCorpus(t *testing.T) {
	text, err := json.Marshal(testTables())
	if err != nil {
		t.Fatal(err)
	}
	tables := string(text)
	for corpus, known := range map[string]bool{"c": true, "d": false} {
		p, err := Seed{}.WithPhrases(taught{corpus: "c"}).Bind(Info{ModelID: "m", Meta: map[string]string{"seed": tables, "corpus": corpus}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.Compose(Task{Kind: Method, Selector: "increase_count", Slots: slots("count", of(IntShape))}, nil)
		if err != nil || (r.Draws > 0) != known {
			t.Errorf("corpus %s: %d draws, %v", corpus, r.Draws, err)
		}
	}
}

func TestSeedWeights(t *testing.T) {
	w := shippedWeights()
	again, err := ReadSeedWeights("# a remark\n\n" + w.Text())
	if err != nil || again.Least != w.Least || again.Of != w.Of {
		t.Errorf("%v: %+v, want %+v", err, again, w)
	}
	if !(0 < w.Least && w.Least <= w.Sure && w.Sure < 1 && w.Of[byNearest] > 0 && w.Of[byStrange] < 0) {
		t.Errorf("the shipped weights are %+v", w)
	}
	for _, bad := range []string{"", w.Text() + "other 1\n", "bias\n", strings.Replace(w.Text(), "bias ", "bias x", 1)} {
		if _, err := ReadSeedWeights(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestAskDraws(t *testing.T) {
	e := &counted{stop: StopEnd, logprobs: []float32{-1}}
	got, err := Ask(context.Background(), e, Request{Tokens: []int32{1}, Again: [][]int32{{2}}, Draws: 2, Temperature: 0.7, Seed: 9})
	if err != nil || len(got.Again) != 3 || len(e.asked) != 4 {
		t.Fatalf("%v: %+v", err, got)
	}
	certain := &counted{stop: StopEnd, logprobs: []float32{-0.01}}
	if got, err := Ask(context.Background(), certain, Request{Tokens: []int32{1}, Again: [][]int32{{2}}, Draws: 2}); err != nil || len(got.Again) != 1 {
		t.Errorf("an answer that is as good as certain: %v, %+v", err, got)
	}
	for i, q := range e.asked[2:] {
		if q.Temperature != 1 || q.Seed != uint64(i+1) || q.Tokens[0] != 1 || q.Draws != 0 {
			t.Errorf("draw %d: %+v", i, q)
		}
	}
}
