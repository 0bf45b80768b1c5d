package seedmind

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"batos"
	"batos/internal/mind"
)

// attempts is how often a mind may try, as a mission lets it.
const attempts = 3

// Score counts outcomes. Right: the method does what it should. Refused: none
// was installed, because the mind said that it does not know or because what
// it wrote did not pass the gate. Asked: it waits for a person's approval,
// because the mind was in doubt; AskedRight of them do what they should.
// Wrong: installed, and it does something else.
type Score struct{ Right, Refused, Asked, AskedRight, Wrong int }

func (s Score) total() int { return s.Right + s.Refused + s.Asked + s.Wrong }

func (s *Score) add(o Score) {
	s.Right, s.Refused, s.Wrong = s.Right+o.Right, s.Refused+o.Refused, s.Wrong+o.Wrong
	s.Asked, s.AskedRight = s.Asked+o.Asked, s.AskedRight+o.AskedRight
}

// Outcome is what came of one problem.
type Outcome struct {
	Problem    Problem
	Source     string // what was installed, or the last that was tried
	Confidence float64
	Why        string // why it was refused, or what is wrong with it
	Score      Score  // one of the four is 1
}

// Writer writes a method for a task; earlier are the attempts that the gate
// turned down. An error means that it does not know how.
type Writer func(ctx context.Context, t mind.Task, earlier []mind.Attempt) (mind.Answer, error)

// ByModel writes methods with a model.
func ByModel(engine mind.Engine, profile mind.Profile) Writer {
	return func(ctx context.Context, t mind.Task, earlier []mind.Attempt) (mind.Answer, error) {
		request, err := profile.Compose(t, earlier)
		if err != nil {
			return mind.Answer{}, err
		}
		result, err := mind.Ask(ctx, engine, request)
		if err != nil {
			return mind.Answer{}, err
		}
		return profile.Read(t, earlier, result)
	}
}

// ByFirstAnswer writes methods with a seed model as it is: it is asked once, and
// what it answers is the method, whatever its confidence.
func ByFirstAnswer(engine mind.Engine, profile *mind.Seed) Writer {
	return func(ctx context.Context, t mind.Task, _ []mind.Attempt) (mind.Answer, error) {
		request, err := profile.ComposeOwn(t)
		if err != nil {
			return mind.Answer{}, err
		}
		result, err := engine.Generate(ctx, request)
		if err != nil {
			return mind.Answer{}, err
		}
		source, err := profile.FirstSource(t, result)
		return mind.Answer{Source: source}, err
	}
}

// Evaluate lets a writer solve problems. An error is one that has nothing to
// do with the problem: the engine is gone.
func Evaluate(ctx context.Context, write Writer, problems []Problem) ([]Outcome, error) {
	var out []Outcome
	for _, p := range problems {
		o, err := solve(ctx, write, p)
		if err != nil {
			return out, err
		}
		out = append(out, o)
	}
	return out, nil
}

func solve(ctx context.Context, write Writer, p Problem) (Outcome, error) {
	o := Outcome{Problem: p}
	refused := func(why string) (Outcome, error) {
		o.Why = why
		if p.Refuse {
			o.Score.Right = 1
		} else {
			o.Score.Refused = 1
		}
		return o, nil
	}
	var earlier []mind.Attempt
	for len(earlier) < attempts {
		answer, err := write(ctx, p.Task, earlier)
		switch code := batos.CodeOf(err); {
		case code == batos.Refused:
			return refused(err.Error())
		case code == batos.Invalid:
			earlier = append(earlier, mind.Attempt{Number: len(earlier) + 1, Source: answer.Source, Error: err.Error()})
			continue
		case err != nil:
			return o, err
		}
		o.Source, o.Confidence = answer.Source, answer.Confidence
		program, err := p.gate(answer.Source)
		if err != nil {
			earlier = append(earlier, mind.Attempt{Number: len(earlier) + 1, Source: answer.Source, Error: err.Error()})
			continue
		}
		o.Why = p.check(program)
		switch {
		case answer.Doubt != "":
			o.Score.Asked = 1
			if o.Why == "" {
				o.Score.AskedRight = 1
			}
		case o.Why != "":
			o.Score.Wrong = 1
		default:
			o.Score.Right = 1
		}
		return o, nil
	}
	return refused("the gate turned down " + earlier[len(earlier)-1].Error)
}

// Table prints scores area by area.
func Table(w io.Writer, title string, outcomes []Outcome) Score {
	areas := map[string]*Score{}
	var names []string
	total := Score{}
	for _, o := range outcomes {
		if areas[o.Problem.Area] == nil {
			areas[o.Problem.Area] = &Score{}
			names = append(names, o.Problem.Area)
		}
		areas[o.Problem.Area].add(o.Score)
		total.add(o.Score)
	}
	slices.Sort(names)
	fmt.Fprintf(w, "%s\n", title)
	line := func(name string, s Score) {
		share := func(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }
		n := s.total()
		fmt.Fprintf(w, "  %-14s %5d   right %5.1f %%   refused %5.1f %%   asked %5.1f %% (%.1f right)   wrong %5.1f %%, of the installed %.1f %%\n", name, n,
			share(s.Right, n), share(s.Refused, n), share(s.Asked, n), share(s.AskedRight, n), share(s.Wrong, n), share(s.Wrong, s.Right+s.Wrong))
	}
	if len(names) > 1 {
		for _, name := range names {
			line(name, *areas[name])
		}
	}
	line("all", total)
	return total
}

// Describe prints what went wrong with one problem.
func (o Outcome) Describe(w io.Writer) {
	kind := "wrong"
	if o.Score.Refused > 0 {
		kind = "refused"
	} else if o.Score.Asked > 0 {
		kind = "asked"
	} else if o.Score.Right > 0 {
		kind = "right"
	}
	var slots []string
	for _, s := range o.Problem.Task.Slots {
		slots = append(slots, s.Name)
	}
	fmt.Fprintf(w, "%s: {%s} %s/%d: %s\n", kind, strings.Join(slots, ", "), o.Problem.Task.Selector, len(o.Problem.Task.Args), o.Why)
	if o.Source != "" {
		fmt.Fprintf(w, "    (%.2f)\n%s", o.Confidence, indent(o.Source))
	}
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
