package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"batos"
	"batos/internal/guardian"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/internal/proof"
	"batos/object"
	"batos/seedmind"
)

// How many right methods are mutated, and from where. Those of the second set
// have phrases that no rule was made with.
const plantedEach = 400

// askedEvery is the share of right methods for which the model is asked for a
// second opinion: inferences take longer than all the rest.
const askedEvery = 2

// planted measures the gate on wrong methods that are planted in the place of
// right ones, and on the right ones: what the Guardian, the trial and the
// checks on states nearby turn down without any model, and what the second
// opinion adds. BATOS_BENCH_VERBOSE=1 shows what was let in, and what was
// rejected wrongly.
func planted(ctx context.Context, _ string, emit func(Figure)) error {
	corpus, err := seedmind.Load()
	if err != nil {
		return err
	}
	var rights []seedmind.Right
	for _, set := range []seedmind.Set{seedmind.NewNames, seedmind.NewPhrases} {
		rights = append(rights, corpus.Rights(set, plantedEach, 20261128)...)
	}
	second, done := opinions(ctx)
	defer done()
	type tally struct{ planted, caught int }
	by := map[string]*tally{}
	stage := map[string]int{}
	rejected := map[string]int{}
	all := tally{}
	r := rand.New(rand.NewPCG(20261128, 5))
	wrongly, wronglySecond, askedRights := 0, 0, 0
	asked := tally{} // of those that the checks let in
	for i, one := range rights {
		var expected *method.Program
		if asked := i%askedEvery == 0; asked {
			expected = second(one)
		}
		if why := gateOf(ctx, one, one.Source); why != "" {
			wrongly++
			rejected[why]++
			if os.Getenv("BATOS_BENCH_VERBOSE") != "" {
				fmt.Fprintf(os.Stderr, "right, rejected (%s): %s %s\n%s\n", why, one.Task.Selector, slotsText(one.Slots), one.Source)
			}
		} else if i%askedEvery == 0 {
			askedRights++
			if disagrees(ctx, one, one.Source, expected) {
				wronglySecond++
			}
		}
		m, err := newMutant(one.Source, slotNames(one.Slots))
		if err != nil {
			continue
		}
		for _, op := range mutations {
			sources := op.of(m)
			r.Shuffle(len(sources), func(i, k int) { sources[i], sources[k] = sources[k], sources[i] })
			for _, src := range sources {
				if src == one.Source {
					continue
				}
				if wrong, err := one.Differs(src); err != nil || !wrong {
					continue // it does not compile, or it is no mistake
				}
				t := by[op.name]
				if t == nil {
					t = &tally{}
					by[op.name] = t
				}
				t.planted++
				all.planted++
				if why := gateOf(ctx, one, src); why != "" {
					t.caught++
					all.caught++
					stage[why]++
					break
				}
				if i%askedEvery == 0 {
					asked.planted++
					if disagrees(ctx, one, src, expected) {
						asked.caught++
					}
				}
				if os.Getenv("BATOS_BENCH_VERBOSE") != "" {
					fmt.Fprintf(os.Stderr, "wrong (%s), let in: %s %s\n%s\n", op.name, one.Task.Selector, slotsText(one.Slots), src)
				}
				break
			}
		}
	}
	for _, op := range mutations {
		if t := by[op.name]; t != nil {
			emit(Figure{Name: "mutation." + strings.ReplaceAll(op.name, " ", "_"), Value: float64(t.caught) / float64(t.planted), Unit: fmt.Sprintf("share_of_%d", t.planted)})
		}
	}
	for _, table := range []struct {
		name string
		of   map[string]int
		n    int
	}{{"mutation.caught_by.", stage, all.planted}, {"mutation.rejected_by.", rejected, len(rights)}} {
		var names []string
		for n := range table.of {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			emit(Figure{Name: table.name + strings.ReplaceAll(n, " ", "_"), Value: float64(table.of[n]) / float64(table.n), Unit: "share"})
		}
	}
	caught, lost := share(all.caught, all.planted), share(wrongly, len(rights))
	emit(Figure{Name: "mutation.checks.caught", Value: caught, Unit: fmt.Sprintf("share_of_%d", all.planted)})
	emit(Figure{Name: "mutation.checks.rejected_right", Value: lost, Unit: fmt.Sprintf("share_of_%d", len(rights)), Bar: 0.05, AtMost: true})
	// Of what the checks let in, the second opinion was asked for a part.
	more, dearer := share(asked.caught, asked.planted), share(wronglySecond, askedRights)
	emit(Figure{Name: "mutation.second_opinion.caught", Value: more, Unit: fmt.Sprintf("share_of_%d_let_in", asked.planted)})
	emit(Figure{Name: "mutation.second_opinion.rejected_right", Value: dearer, Unit: fmt.Sprintf("share_of_%d", askedRights)})
	emit(Figure{Name: "mutation.gate.caught", Value: caught + (1-caught)*more, Unit: "share", Bar: 0.7})
	emit(Figure{Name: "mutation.gate.rejected_right", Value: lost + (1-lost)*dearer, Unit: "share", Bar: 0.05, AtMost: true})
	return nil
}

func share(part, of int) float64 { return float64(part) / float64(max(1, of)) }

// gateOf names the stage or check that turns a source down, or answers "".
func gateOf(ctx context.Context, one seedmind.Right, source string) string {
	if _, err := guardian.Audit(source, guardian.Options{Selector: one.Task.Selector, Generated: true}); err != nil {
		return "Guardian"
	}
	program, err := method.Compile(string(one.Task.Selector), source)
	if err != nil {
		return "Guardian"
	}
	subject := proof.Subject{Selector: one.Task.Selector, Slots: one.Slots, Args: one.Args}
	seen := observe(ctx, program, subject)
	if seen[0].Err != nil {
		return "trial"
	}
	if f := proof.Judge(subject, seen); f != nil {
		return f.Check
	}
	return ""
}

// observe carries the probes out on an object in memory.
func observe(ctx context.Context, program *method.Program, s proof.Subject) []proof.Seen {
	var out []proof.Seen
	for _, p := range proof.Probes(s) {
		seen := proof.Seen{Args: p.Args, Before: s.With(p)}
		answer, after, err := seedmind.NewWorld().Call(ctx, program, seen.Before, p.Args)
		if err != nil {
			seen.Err = proof.Raised(err)
		} else {
			seen.Answer, seen.After = answer, after
			if len(after) != len(seen.Before) {
				seen.Elsewhere = "a slot that was not there"
				seen.After = after[:len(seen.Before)]
			}
		}
		out = append(out, seen)
		if len(out) == 1 && err != nil || batos.CodeOf(err) == batos.Limit {
			break // the message itself failed, or it would take for ever
		}
	}
	return out
}

func slotNames(slots []object.Slot) []string {
	var out []string
	for _, s := range slots {
		out = append(out, s.Name)
	}
	return out
}

func slotsText(slots []object.Slot) string {
	var parts []string
	for _, s := range slots {
		parts = append(parts, s.Name+"="+object.Text(s.Value, 60))
	}
	return strings.Join(parts, " ")
}

// sureOpinion is the confidence from which a second opinion counts, as the
// state VALIDATING of genesis has it.
const sureOpinion = 0.75

// opinions gives what the shipped model would write for a message, if it can
// be asked and the gate would let it in; else nil for every message.
func opinions(ctx context.Context) (func(seedmind.Right) *method.Program, func()) {
	none := func(seedmind.Right) *method.Program { return nil }
	engine, err := llama.Open(ctx, llama.Config{LibDir: libraryDir, ModelPath: filepath.Join("seedmind", seedmind.ModelFile), Threads: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: no second opinions:", err)
		return none, func() {}
	}
	done := func() { _ = engine.Close() } // it is only read from
	info, err := engine.Info(ctx)
	if err != nil {
		return none, done
	}
	profile, err := mind.Seed{}.WithPhrases(seedmind.Phrases()).Bind(info)
	if err != nil {
		return none, done
	}
	write := seedmind.ByModel(engine, profile)
	return func(one seedmind.Right) *method.Program {
		answer, err := write(ctx, one.Task, nil)
		if err != nil || answer.Doubt != "" || answer.Confidence < sureOpinion || gateOf(ctx, one, answer.Source) != "" {
			return nil
		}
		program, err := method.Compile(string(one.Task.Selector), answer.Source)
		if err != nil {
			return nil
		}
		return program
	}, done
}

// libraryDir is where make engine puts the libraries.
const libraryDir = "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"

// disagrees reports whether a source does something else than what the second
// opinion expects.
func disagrees(ctx context.Context, one seedmind.Right, source string, expected *method.Program) bool {
	if expected == nil {
		return false
	}
	program, err := method.Compile(string(one.Task.Selector), source)
	if err != nil {
		return false
	}
	s := proof.Subject{Selector: one.Task.Selector, Slots: one.Slots, Args: one.Args}
	return proof.Compare(s, observe(ctx, program, s), observe(ctx, expected, s)) != nil
}
