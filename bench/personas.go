package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"batos"
	"batos/internal/guardian"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/internal/proof"
	"batos/seedmind"
)

// A way is how a mind's answer becomes an installed method: which stages of
// the gate look at it, and who is asked besides the author.
type way struct {
	name    string
	once    bool // the model's first answer to one prompt, no bound of confidence, no second attempt
	checks  bool
	without string // one check that is left out
	second  bool
}

var ways = []way{
	{name: "base", once: true}, // the base model: what it says is installed if the Guardian and the message itself have nothing against it
	{name: "author"},           // BRICK's askings, doubts and readings in other words
	{name: "checks", checks: true},
	{name: "checks_and_second_opinion", checks: true, second: true},
	{name: "second_opinion", second: true},
}

// freshMessages is how many generated messages join the hand-written ones.
const freshMessages = 200

// personas measures what each step of a mission adds, with the shipped model,
// on messages that it was not trained on: all that differs between two ways is
// one step. BRICK's plan, BABS's requirements and ROBIN's sentence are not
// among the ways, since the seed profile's prompt has no place for them: they
// cannot change its answer.
func personas(ctx context.Context, _ string, emit func(Figure)) error {
	exams, err := examsOf()
	if err != nil {
		return err
	}
	engine, err := llama.Open(ctx, llama.Config{LibDir: libraryDir, ModelPath: filepath.Join("seedmind", seedmind.ModelFile), Threads: 1})
	if err != nil {
		return err
	}
	defer func() { _ = engine.Close() }() // it is only read from
	info, err := engine.Info(ctx)
	if err != nil {
		return err
	}
	profile, err := mind.Seed{}.WithPhrases(seedmind.Phrases()).Bind(info)
	if err != nil {
		return err
	}
	base, ok := profile.(*mind.Seed)
	if !ok {
		return fmt.Errorf("%s is not a seed model", seedmind.ModelFile)
	}
	m := &asking{ctx: ctx, write: seedmind.ByModel(engine, profile), first: seedmind.ByFirstAnswer(engine, base), known: map[string]answer{}}
	var bare []verdict
	for _, w := range ways {
		began, asked := time.Now(), m.asked
		var got []verdict
		for i, e := range exams {
			got = append(got, m.sit(w, i, e))
		}
		right, wrong, refused := tally(got)
		n := float64(len(got))
		name := "personas." + w.name + "."
		emit(Figure{Name: name + "right", Value: right / n, Unit: fmt.Sprintf("share_of_%d", len(got))})
		emit(Figure{Name: name + "refused", Value: refused / n, Unit: "share"})
		bar := 0.0
		if w.name == "checks_and_second_opinion" {
			bar = 0.03
		}
		emit(Figure{Name: name + "wrong_of_installs", Value: wrong / math.Max(1, wrong+right), Unit: "share", Bar: bar, AtMost: true})
		emit(Figure{Name: name + "inferences", Value: float64(m.wanted-m.wantedBefore) / n, Unit: "for_each"})
		m.wantedBefore = m.wanted
		emit(Figure{Name: name + "time", Value: 1000 * time.Since(began).Seconds() / math.Max(1, float64(m.asked-asked)), Unit: "ms_for_each_new_inference"})
		emit(Figure{Name: name + "asked", Value: float64(m.doubts) / n, Unit: "share"})
		emit(Figure{Name: name + "asked_right", Value: float64(m.doubtsRight) / n, Unit: "share"})
		m.doubts, m.doubtsRight = 0, 0
		if bare == nil {
			bare = got
			continue
		}
		for _, c := range []struct {
			name  string
			score func(verdict) int
		}{{"right", rightness}, {"worth", score}} {
			better, worse := 0, 0
			for i := range got {
				switch {
				case c.score(got[i]) > c.score(bare[i]):
					better++
				case c.score(got[i]) < c.score(bare[i]):
					worse++
				}
			}
			emit(Figure{Name: name + c.name + ".better", Value: float64(better), Unit: "messages"})
			emit(Figure{Name: name + c.name + ".worse", Value: float64(worse), Unit: "messages"})
			emit(Figure{Name: name + c.name + ".p", Value: signTest(better, worse), Unit: "two_sided"})
		}
	}
	return nil
}

func examsOf() ([]seedmind.Exam, error) {
	var out []seedmind.Exam
	f, err := os.Open(filepath.Join("seedmind", "testdata", "handwritten.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cases, err := seedmind.ReadCases(f)
	if err != nil {
		return nil, err
	}
	for _, c := range cases {
		out = append(out, c.Exam())
	}
	corpus, err := seedmind.Load()
	if err != nil {
		return nil, err
	}
	for _, set := range []seedmind.Set{seedmind.NewNames, seedmind.NewPhrases} {
		for _, r := range corpus.Rights(set, freshMessages/2, 20261129) {
			out = append(out, r.Exam())
		}
	}
	return out, nil
}

// verdict is what came of one exam.
type verdict int

const (
	isWrong verdict = iota
	isRefused
	isRight
)

// score orders verdicts: a wrong method is worse than none.
func score(v verdict) int { return int(v) }

// rightness counts what is right, and nothing else.
func rightness(v verdict) int {
	if v == isRight {
		return 1
	}
	return 0
}

func tally(vs []verdict) (right, wrong, refused float64) {
	for _, v := range vs {
		switch v {
		case isRight:
			right++
		case isWrong:
			wrong++
		default:
			refused++
		}
	}
	return right, wrong, refused
}

type answer struct {
	mind.Answer
	err error
}

// asking remembers what the model said: the same request has the same answer.
type asking struct {
	ctx                  context.Context
	write, first         seedmind.Writer
	doubts, doubtsRight  int // methods that wait for a person
	known                map[string]answer
	asked                int // requests that went to the model
	wanted, wantedBefore int // requests that a mission would have made
}

func (m *asking) ask(w way, exam int, t mind.Task, earlier []mind.Attempt) (mind.Answer, error) {
	m.wanted++
	write := m.write
	if w.once {
		write = m.first
	}
	key := fmt.Sprintf("%v %d %d %v", w.once, exam, len(earlier), earlier)
	a, ok := m.known[key]
	if !ok {
		m.asked++
		a.Answer, a.err = write(m.ctx, t, earlier)
		m.known[key] = a
	}
	return a.Answer, a.err
}

// missionAttempts is what genesis allows.
const missionAttempts = 3

// sit lets the mind take an exam in one way.
func (m *asking) sit(w way, number int, e seedmind.Exam) verdict {
	refused := isRefused
	if e.Refuse {
		refused = isRight
	}
	subject := proof.Subject{Selector: e.Task.Selector, Slots: e.Slots, Args: e.Args}
	var expected []proof.Seen
	opinion := false
	var earlier []mind.Attempt
	allowed := missionAttempts
	if w.once {
		allowed = 1
	}
	for len(earlier) < allowed {
		a, err := m.ask(w, number, e.Task, earlier)
		if batos.CodeOf(err) == batos.Invalid {
			earlier = append(earlier, mind.Attempt{Number: len(earlier) + 1, Source: a.Source, Error: err.Error()})
			continue
		}
		if err != nil {
			return refused
		}
		seen, failure := m.pass(w, subject, a.Source)
		if failure == nil && w.second {
			if !opinion {
				opinion = true
				expected = m.opinion(w, number, e, subject)
			}
			if expected != nil {
				if f := proof.Compare(subject, seen, expected); f != nil {
					failure = f.Err()
				}
			}
		}
		if failure != nil {
			earlier = append(earlier, mind.Attempt{Number: len(earlier) + 1, Source: a.Source, Error: failure.Error()})
			continue
		}
		right := !e.Refuse && e.Wrong(a.Source) == ""
		switch {
		case a.Doubt != "": // a person decides
			m.doubts++
			if right {
				m.doubtsRight++
			}
			return isRefused
		case right:
			return isRight
		}
		return isWrong
	}
	return refused
}

// pass is the gate without the second opinion.
func (m *asking) pass(w way, subject proof.Subject, source string) ([]proof.Seen, error) {
	if _, err := guardian.Audit(source, guardian.Options{Selector: subject.Selector, Generated: true}); err != nil {
		return nil, err
	}
	program, err := method.Compile(string(subject.Selector), source)
	if err != nil {
		return nil, err
	}
	if !w.checks && !w.second {
		_, _, err := seedmind.NewWorld().Call(m.ctx, program, subject.Slots, subject.Args)
		return nil, err
	}
	seen := observe(m.ctx, program, subject)
	if seen[0].Err != nil {
		return nil, seen[0].Err
	}
	if w.checks {
		if f := proof.Judge(subject, seen, w.without); f != nil {
			return nil, f.Err()
		}
	}
	return seen, nil
}

// opinion is what the method that another would write does; nil if it does not
// hold itself.
func (m *asking) opinion(w way, number int, e seedmind.Exam, subject proof.Subject) []proof.Seen {
	t := e.Task
	t.Slots = mind.Regrouped(t.Slots)
	a, err := m.ask(w, number+1_000_000, t, nil)
	if err != nil || a.Doubt != "" || a.Confidence < sureOpinion {
		return nil
	}
	seen, err := m.pass(way{checks: true, second: true}, subject, a.Source)
	if err != nil {
		return nil
	}
	return seen
}

// signTest is the probability of a difference like this or larger if neither
// way were better.
func signTest(better, worse int) float64 {
	n, k := better+worse, min(better, worse)
	p := 0.0
	for i := 0; i <= k; i++ {
		lg := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
		p += math.Exp(lg(n) - lg(i) - lg(n-i) - float64(n)*math.Ln2)
	}
	return math.Min(1, 2*p)
}
