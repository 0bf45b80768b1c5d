package mind

import (
	"context"
	"math"
	"slices"
	"testing"

	"batos"
)

func TestSeedAgain(t *testing.T) {
	p := SeedPrompt{
		Slots: []SeedSlot{{Type: SeedInt}, {Type: SeedStrs}},
		Words: []string{"add", "$1'", "and", "$0"}, Args: []SeedType{SeedStr},
	}
	again := p.again()
	for i, want := range []string{
		"$0:obj$1:int$2:[str]\n_add$2'_and$1(str)\n", "$0:int$1:[str]\n_add$1'_and$0_please(str)\n",
		"$0:int$1:[str]\n_add_now$1'_and$0(str)\n", "$0:int$1:[str]$2:obj\n_add$1'_and$0(str)\n",
	} {
		if got := again[i].prompt.Text(); got != want {
			t.Errorf("prompt %d is %q, want %q", i, got, want)
		}
	}
	if got := p.Text(); got != "$0:int$1:[str]\n_add$1'_and$0(str)\n" {
		t.Errorf("the first prompt became %q", got)
	}
	if got := shiftAliases(`$1 = $10 + len("%2 %~ #0")`, -1); got != `$0 = $9 + len("%1 %~ #0")` {
		t.Errorf("shifted back: %s", got)
	}
}

func TestSeedDoubt(t *testing.T) {
	s := testSeed(t).WithBounds(0.4, 0.8)
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	answer := func(body string, p float64) Result {
		r := Result{Tokens: s.tok.Encode(body), Stop: StopEnd}
		for range r.Tokens {
			r.Logprobs = append(r.Logprobs, float32(math.Log(p)/float64(len(r.Tokens))))
		}
		return r
	}
	const body, shifted, other = "return $0 + a", "return $1 + a", "return $0 - a"
	for name, c := range map[string]struct {
		first      Result
		again      []Result
		confidence float64
		doubt      bool
		code       batos.Code
	}{
		"asked once":           {answer(body, 0.9), nil, 0.9, false, ""},
		"three of a kind":      {answer(body, 0.9), []Result{answer(shifted, 0.9), answer(body, 0.9)}, 0.9, false, ""},
		"surer the other ways": {answer(body, 0.6), []Result{answer(shifted, 0.99), answer(body, 0.99)}, 0.86, false, ""},
		"one differs":          {answer(body, 0.9), []Result{answer(shifted, 0.9), answer(other, 0.9)}, 0.6, true, ""},
		"one refuses":          {answer(body, 0.9), []Result{answer(shifted, 0.9), {Tokens: []int32{SeedRefuse}, Stop: StopEnd}}, 0.6, true, ""},
		"the others agree":     {answer(other, 0.9), []Result{answer(shifted, 0.9), answer(body, 0.9)}, 0.6, true, ""},
		"all differ":           {answer(body, 0.9), []Result{answer("return $1 - a", 0.9), answer("return $0 * a", 0.9)}, 0, false, batos.Refused},
		"only one is good":     {answer("return a", 0.9), []Result{answer(shifted, 0.9), answer("return $0 + a", 0.9)}, 0.6, true, ""},
		"the stranger is used": {answer(body, 0.9), []Result{answer("return $0 + $1 + a", 0.9), answer(body, 0.9)}, 0.9, false, ""},
		"middling sure":        {answer(body, 0.7), nil, 0.7, true, ""},
		"slot left out":        {answer("return a", 0.9), nil, 0, false, batos.Refused},
		"argument left out":    {answer("return $0", 0.9), nil, 0, false, batos.Refused},
	} {
		c.first.Again = c.again
		a, err := s.Read(task, nil, &c.first)
		if batos.CodeOf(err) != c.code || (a.Doubt != "") != c.doubt || err == nil && math.Abs(a.Confidence-c.confidence) > 0.01 {
			t.Errorf("%s: %v, confidence %.2f, doubt %q", name, err, a.Confidence, a.Doubt)
		}
	}
}

// counted answers every request with its own tokens.
type counted struct {
	Engine
	asked    []Request
	stop     Stop
	logprobs []float32
}

func (e *counted) Generate(_ context.Context, r Request) (*Result, error) {
	e.asked = append(e.asked, r)
	return &Result{Tokens: r.Tokens, Stop: e.stop, Logprobs: e.logprobs}, nil
}

func TestAsk(t *testing.T) {
	e := &counted{stop: StopEnd}
	r := Request{Tokens: []int32{1}, Again: [][]int32{{2, 3}, {4}}, Temperature: 0.7}
	got, err := Ask(t.Context(), e, r)
	if err != nil || len(got.Again) != 2 || got.Written() != 4 || !slices.Equal(got.Again[0].Tokens, []int32{2, 3}) {
		t.Errorf("%v: %+v", err, got)
	}
	for i, q := range e.asked {
		if len(q.Again) != 0 || (q.Temperature == 0) != (i > 0) {
			t.Errorf("question %d: %+v", i, q)
		}
	}
	e = &counted{stop: StopLength}
	if got, err := Ask(t.Context(), e, r); err != nil || len(got.Again) != 0 {
		t.Errorf("after an answer that was cut off: %v, %+v", err, got)
	}
}
