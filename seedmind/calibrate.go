package seedmind

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"batos"
	"batos/internal/mind"
)

// Weighing is what a model made of one message, for calibration.
type Weighing struct {
	Set    string
	Refuse bool  // not to know is right
	First  Score // what comes of the model's first answer alone: one of Right, Refused and Wrong is 1
	Ideas  []WeighedIdea
	Chosen bool // it belongs to the half that weights are chosen by, not to the half that proves them
}

// WeighedIdea is an idea that the gate lets in, and whether it is right.
type WeighedIdea struct {
	Features mind.SeedFeatures
	Right    bool
}

// Weigh asks a seed model for its ideas on problems. Every second problem, by a
// hash of its selector, is for choosing weights.
func Weigh(ctx context.Context, engine mind.Engine, profile *mind.Seed, set string, problems []Problem) ([]Weighing, error) {
	var out []Weighing
	for i, p := range problems {
		w := Weighing{Set: set, Refuse: p.Refuse, Chosen: fnv(fmt.Sprintf("%s %s %d", set, p.Task.Selector, i))%2 == 0}
		request, err := profile.Compose(p.Task, nil)
		if err == nil {
			var result *mind.Result
			if result, err = mind.Ask(ctx, engine, request); err != nil {
				return out, err
			}
			w.First = p.first(profile, result)
			var ideas []mind.SeedIdea
			ideas, err = profile.Ideas(p.Task, result)
			for _, idea := range ideas {
				program, err := p.gate(idea.Source)
				if err == nil {
					w.Ideas = append(w.Ideas, WeighedIdea{idea.Features, !p.Refuse && p.check(program) == ""})
				}
			}
		}
		if err != nil && batos.CodeOf(err) != batos.Refused {
			return out, err
		}
		if w.First == (Score{}) {
			w.First.Refused = 1
		}
		out = append(out, w)
	}
	return out, nil
}

// first says what would come of the first answer, if it were the method.
func (p Problem) first(profile *mind.Seed, r *mind.Result) Score {
	source, err := profile.FirstSource(p.Task, r)
	if err != nil {
		return Score{Refused: 1}
	}
	program, err := p.gate(source)
	switch {
	case err != nil:
		return Score{Refused: 1}
	case !p.Refuse && p.check(program) == "":
		return Score{Right: 1}
	}
	return Score{Wrong: 1}
}

// ridge keeps weights small where the messages say little about them.
const ridge = 1.0

// FitWeights finds the weights under which what became of the ideas is most
// probable, by Newton's method on the logistic likelihood.
func FitWeights(of []Weighing) mind.SeedFeatures {
	var w mind.SeedFeatures
	n := len(w)
	for range 30 {
		gradient := make([]float64, n)
		curve := make([][]float64, n)
		for i := range curve {
			curve[i] = make([]float64, n)
			if i > 0 {
				gradient[i] = -ridge * w[i]
			}
			curve[i][i] = ridge
		}
		now := mind.SeedWeights{Of: w}
		for _, one := range of {
			for k := range one.Ideas {
				idea := &one.Ideas[k]
				p := now.Confidence(&idea.Features)
				miss := -p
				if idea.Right {
					miss = 1 - p
				}
				for i, x := range idea.Features {
					gradient[i] += miss * x
					for j, y := range idea.Features {
						curve[i][j] += p * (1 - p) * x * y
					}
				}
			}
		}
		step := linear(curve, gradient)
		far := 0.0
		for i := range step {
			w[i] += step[i]
			far = max(far, math.Abs(step[i]))
		}
		if far < 1e-6 {
			break
		}
	}
	return w
}

// linear gives x with a·x = b, for a positive definite a; it uses both up.
func linear(a [][]float64, b []float64) []float64 {
	for i := range b {
		for k := i + 1; k < len(b); k++ {
			f := a[k][i] / a[i][i]
			for j := i; j < len(b); j++ {
				a[k][j] -= f * a[i][j]
			}
			b[k] -= f * b[i]
		}
	}
	for i := len(b) - 1; i >= 0; i-- {
		for j := i + 1; j < len(b); j++ {
			b[i] -= a[i][j] * b[j]
		}
		b[i] /= a[i][i]
	}
	return b
}

// best is the idea with the most confidence; ok is false if there is none.
func (one *Weighing) best(w *mind.SeedWeights) (right bool, confidence float64, ok bool) {
	for k := range one.Ideas {
		if c := w.Confidence(&one.Ideas[k].Features); !ok || c > confidence {
			right, confidence, ok = one.Ideas[k].Right, c, true
		}
	}
	return right, confidence, ok
}

// CrossFitted gives every message the confidence that weights give it which were
// found without it: those of the other half.
func CrossFitted(all []Weighing) []Weighed {
	var out []Weighed
	for _, chosen := range []bool{true, false} {
		var by []Weighing
		for _, one := range all {
			if one.Chosen == chosen {
				by = append(by, one)
			}
		}
		w := mind.SeedWeights{Of: FitWeights(by)}
		for _, one := range all {
			if one.Chosen != chosen {
				right, confidence, ok := one.best(&w)
				if !ok {
					confidence = -1
				}
				out = append(out, Weighed{one.Set, one.Refuse, one.First, right, confidence})
			}
		}
	}
	return out
}

// Weighed is what is thought of the best idea for a message, and what is true.
type Weighed struct {
	Set        string
	Refuse     bool
	First      Score
	Right      bool
	Confidence float64 // -1: there is no idea
}

// Decide counts what comes of messages with these bounds.
func Decide(of []Weighed, least, sure float64) Score {
	var s Score
	for _, one := range of {
		switch {
		case one.Confidence < least || one.Confidence < 0:
			if one.Refuse {
				s.Right++
			} else {
				s.Refused++
			}
		case one.Confidence < sure:
			s.Asked++
			if one.Right {
				s.AskedRight++
			}
		case one.Right:
			s.Right++
		default:
			s.Wrong++
		}
	}
	return s
}

// SureFrom is the lowest bound, in steps of a hundredth, from which on at most
// a share of what is installed is wrong, of messages that mean something.
func SureFrom(all []Weighed, wrong float64) float64 {
	for sure := 99; sure > 0; sure-- {
		s := Score{}
		for _, one := range all {
			if !one.Refuse && 100*one.Confidence >= float64(sure) {
				if one.Right {
					s.Right++
				} else {
					s.Wrong++
				}
			}
		}
		if s.Right+s.Wrong > len(all)/5 && float64(s.Wrong) > wrong*float64(s.Wrong+s.Right) {
			return float64(sure+1) / 100
		}
	}
	return 0.01
}

// WeighedTable prints what comes of messages with these bounds, set by set, and
// with others.
func WeighedTable(out io.Writer, all []Weighed, least, sure float64) {
	sets := map[string][]Weighed{}
	var names []string
	const meaning = "all that mean something"
	for _, one := range all {
		if sets[one.Set] == nil {
			names = append(names, one.Set)
		}
		sets[one.Set] = append(sets[one.Set], one)
		if !one.Refuse {
			sets[meaning] = append(sets[meaning], one)
		}
	}
	slices.Sort(names)
	share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
	for _, name := range append(names, meaning) {
		n, s, first := len(sets[name]), Decide(sets[name], least, sure), Score{}
		for _, one := range sets[name] {
			first.add(one.First)
		}
		fmt.Fprintf(out, "%-24s %4d   right %5.1f %%   refused %5.1f %%   asked %5.1f %% (%.1f right)   wrong %5.1f %%, of the installed %.1f %%   first answer: right %.1f %%, wrong of the installed %.1f %%\n", name, n,
			share(s.Right, n), share(s.Refused, n), share(s.Asked, n), share(s.AskedRight, n), share(s.Wrong, n), share(s.Wrong, s.Right+s.Wrong), share(first.Right, n), share(first.Wrong, first.Right+first.Wrong))
	}
	fmt.Fprintf(out, "right / wrong of the installed, sure from\n%-24s", "")
	bounds := []float64{0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9}
	for _, b := range bounds {
		fmt.Fprintf(out, "  %9.2f", b)
	}
	fmt.Fprintln(out)
	for _, name := range append(names, meaning) {
		fmt.Fprintf(out, "%-24s", name)
		for _, b := range bounds {
			s := Decide(sets[name], min(b, least), b)
			fmt.Fprintf(out, "  %4.1f/%4.1f", share(s.Right, len(sets[name])), share(s.Wrong, s.Right+s.Wrong))
		}
		fmt.Fprintln(out)
	}
}
