package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"batos"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/seedmind"
)

// modelFlags are those of every command that asks a model.
type modelFlags struct{ model, lib string }

func (m *modelFlags) define(f *flag.FlagSet) {
	f.StringVar(&m.model, "model", "", "GGUF file; the shipped model if not given")
	f.StringVar(&m.lib, "lib", "", "folder of the engine's libraries")
}

// open brings up the engine and the profile of the model.
func (m *modelFlags) open(ctx context.Context) (mind.Engine, *mind.Seed, error) {
	path := m.model
	if path == "" {
		path = filepath.Join("seedmind", seedmind.ModelFile)
	}
	engine, err := llama.Open(ctx, llama.Config{LibDir: m.lib, ModelPath: path, Threads: 1})
	if err != nil {
		return nil, nil, err
	}
	info, err := engine.Info(ctx)
	if err != nil {
		return nil, nil, err
	}
	profile, err := mind.Seed{}.WithPhrases(seedmind.Phrases()).Bind(info)
	if err != nil {
		return nil, nil, err
	}
	seed, ok := profile.(*mind.Seed)
	if !ok {
		return nil, nil, batos.Errorf(batos.Invalid, "%s is not a seed model", path)
	}
	return engine, seed, nil
}

const evalSeed = 424242

// eval prints how good the model is.
func eval(ctx context.Context, args []string) error {
	var m modelFlags
	n, show, least, sure := 400, "", -1.0, -1.0
	adapter := ""
	files := "seedmind/testdata/handwritten.jsonl,seedmind/testdata/fresh.jsonl"
	baseline, calibrate := true, false
	if err := flags("eval", args, func(f *flag.FlagSet) {
		m.define(f)
		f.IntVar(&n, "n", n, "held-out problems of each set")
		f.StringVar(&files, "handwritten", files, "files of cases, separated by commas")
		f.StringVar(&show, "show", show, "print these outcomes: wrong, refused, asked, bad (all but right) or all")
		f.BoolVar(&baseline, "baseline", baseline, "measure the nearest phrase too")
		f.BoolVar(&calibrate, "calibrate", calibrate, "print what other bounds of confidence would give")
		f.StringVar(&adapter, "adapter", adapter, "file of an adapter to put in force")
		f.Float64Var(&least, "least", least, "confidence below which an answer is refused, instead of the model's own bound")
		f.Float64Var(&sure, "sure", sure, "confidence from which on nobody is asked, instead of the model's own bound")
	}); err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	engine, profile, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	if adapter != "" {
		if engine, err = under(ctx, engine, adapter); err != nil {
			return err
		}
	}
	if least >= 0 || sure >= 0 {
		profile = profile.WithBounds(max(least, 0), max(sure, 0))
	}
	sets := map[string][]seedmind.Problem{}
	var order []string
	for _, set := range seedmind.Sets {
		if n == 0 {
			break
		}
		order = append(order, string(set))
		sets[string(set)] = c.Problems(set, n, evalSeed)
	}
	for _, file := range strings.Split(files, ",") {
		problems, err := readCases(file)
		if os.IsNotExist(err) {
			fmt.Println("no file", file)
			continue
		}
		if err != nil {
			return err
		}
		order = append(order, file)
		sets[file] = problems
	}
	for _, name := range order {
		began := time.Now()
		outcomes, err := seedmind.Evaluate(ctx, seedmind.ByModel(engine, profile), sets[name])
		if err != nil {
			return err
		}
		spent := time.Since(began) / time.Duration(max(1, len(outcomes)))
		seedmind.Table(os.Stdout, fmt.Sprintf("%s (model, %s each)", name, spent.Round(100*time.Microsecond)), outcomes)
		for _, o := range outcomes {
			if show == "all" || show == "wrong" && o.Score.Wrong > 0 || show == "refused" && o.Score.Refused > 0 || show == "asked" && o.Score.Asked > 0 || show == "bad" && o.Score.Right == 0 {
				o.Describe(os.Stdout)
			}
		}
		if calibrate {
			printCalibration(outcomes)
		}
		if baseline && name != string(seedmind.Nonsense) {
			if outcomes, err = seedmind.Evaluate(ctx, seedmind.Nearest(c, profile), sets[name]); err != nil {
				return err
			}
			seedmind.Table(os.Stdout, name+" (nearest phrase)", outcomes)
		}
	}
	return nil
}

func readCases(file string) ([]seedmind.Problem, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cases, err := seedmind.ReadCases(f)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "%s: %w", file, err)
	}
	var out []seedmind.Problem
	for _, c := range cases {
		out = append(out, c.Problem())
	}
	return out, nil
}

// printCalibration says what share of the installed would be wrong, and of
// all be refused, if only answers of some confidence were installed.
func printCalibration(outcomes []seedmind.Outcome) {
	var installed []seedmind.Outcome
	for _, o := range outcomes {
		if o.Source != "" && o.Score.Refused == 0 && o.Score.Asked == 0 {
			installed = append(installed, o)
		}
	}
	sort.Slice(installed, func(i, j int) bool { return installed[i].Confidence < installed[j].Confidence })
	for _, bound := range []float64{0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9} {
		right, wrong := 0, 0
		for _, o := range installed {
			if o.Confidence >= bound {
				right += o.Score.Right
				wrong += o.Score.Wrong
			}
		}
		fmt.Printf("  from %.2f: %4d right, %4d wrong of %d\n", bound, right, wrong, len(outcomes))
	}
}
