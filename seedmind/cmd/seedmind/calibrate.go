package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"batos/internal/mind"
	"batos/seedmind"
)

// calibrateSeed draws other held-out problems than the evaluation's.
const calibrateSeed = 987654

// weightsFile is where the profile has its weights from.
const weightsFile = "internal/mind/seed_weights.txt"

// calibrate finds how the model's ideas are weighed: weights and bounds from one
// half of the development messages and of generated ones, and what they give on
// the other half.
func calibrate(ctx context.Context, args []string) error {
	var m modelFlags
	n, wrong, least := 300, 0.05, 0.33
	files := "dev,dev2,dev3,dev5-lists,dev5-stats,dev5-text"
	write := false
	if err := flags("calibrate", args, func(f *flag.FlagSet) {
		m.define(f)
		f.IntVar(&n, "n", n, "generated problems of each set")
		f.StringVar(&files, "files", files, "files of development cases in seedmind/testdata, separated by commas")
		f.Float64Var(&wrong, "wrong", wrong, "share of what is installed without a person that may be wrong, in the half that weights are chosen by")
		f.Float64Var(&least, "least", least, "confidence below which an idea is refused")
		f.BoolVar(&write, "write", write, "write "+weightsFile)
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
	var all []seedmind.Weighing
	weigh := func(name string, problems []seedmind.Problem) error {
		ws, err := seedmind.Weigh(ctx, engine, profile, name, problems)
		all = append(all, ws...)
		fmt.Fprintf(os.Stderr, "%s: %d messages\n", name, len(ws))
		return err
	}
	for _, name := range strings.Split(files, ",") {
		problems, err := readCases(filepath.Join("seedmind", "testdata", name+".jsonl"))
		if err != nil {
			return err
		}
		if err := weigh(name, problems); err != nil {
			return err
		}
	}
	for _, set := range []seedmind.Set{seedmind.NewNames, seedmind.NewPhrases, seedmind.Nonsense} {
		if n > 0 {
			if err := weigh(string(set), c.Problems(set, n, calibrateSeed)); err != nil {
				return err
			}
		}
	}
	crossed := seedmind.CrossFitted(all)
	w := mind.SeedWeights{Of: seedmind.FitWeights(all), Least: least, Sure: seedmind.SureFrom(crossed, wrong)}
	fmt.Print(w.Text())
	seedmind.WeighedTable(os.Stdout, crossed, w.Least, w.Sure)
	if !write {
		return nil
	}
	head := "# How the ideas of the seed model are weighed; written by: seedmind calibrate -write\n"
	return os.WriteFile(weightsFile, []byte(head+w.Text()), 0o644)
}
