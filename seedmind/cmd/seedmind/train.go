package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"batos"
	"batos/internal/forge"
	"batos/internal/ggml"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/seedmind"
)

// train makes the weights by the recipe. A run that was stopped goes on.
func train(ctx context.Context, args []string) error {
	recipe := seedmind.Standard()
	threads := 2
	work, out := ".build/seedmind", "seedmind/"+seedmind.ModelFile
	lib := ""
	if err := flags("train", args, func(f *flag.FlagSet) {
		f.IntVar(&threads, "threads", threads, "cores to use")
		f.IntVar(&recipe.Steps, "steps", recipe.Steps, "steps in all")
		f.StringVar(&work, "work", work, "folder of the checkpoints and the log")
		f.StringVar(&out, "o", out, "file to write")
		f.StringVar(&lib, "lib", lib, "folder of the engine's libraries")
	}); err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	tables := c.Tables()
	profile, err := mind.NewSeed(tables)
	if err != nil {
		return err
	}
	library, err := openLibrary(lib)
	if err != nil {
		return err
	}
	config := forgeConfig(recipe, profile.Tokenizer().Size(), threads, work)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(work, "loss.tsv"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Printf("corpus %s, %d families, vocabulary %d, %.2fM weights, %d steps of %d positions\n",
		c.Hash[:12], len(c.Families), profile.Tokenizer().Size(), float64(config.Arch.Params())/1e6, config.Steps, config.BatchTokens)
	mean, shown := 0.0, time.Time{}
	progress := func(p forge.Progress) {
		if mean == 0 {
			mean = p.Loss
		}
		mean += 0.02 * (p.Loss - mean)
		if p.Step%50 == 0 {
			fmt.Fprintf(log, "%d\t%.4f\t%.5f\n", p.Step, mean, p.LR)
		}
		if time.Since(shown) > 15*time.Second || p.Step == p.Steps {
			shown = time.Now()
			fmt.Printf("step %d of %d, loss %.4f, %.0f tokens/s, %s left\n", p.Step, p.Steps, mean, p.TokensPerSecond, p.Left.Round(time.Second))
		}
	}
	examples := seedmind.NewExamples(c, profile.Tokenizer(), recipe.Seed, config.RowTokens)
	weights, err := forge.Train(ctx, library, config, examples, progress)
	if err != nil {
		return err
	}
	for i, p := range recipe.Polish {
		fmt.Printf("%s: %d steps\n", p.Name, p.Steps)
		config.Start, config.CheckpointDir = weights, filepath.Join(work, p.Name)
		config.Steps, config.RowTokens, config.HeadTokens = p.Steps, p.RowTokens, p.HeadTokens
		config.LR, config.FinalLR, config.Warmup = p.LR, p.FinalLR, p.Warmup
		if err := os.MkdirAll(config.CheckpointDir, 0o755); err != nil {
			return err
		}
		mean = 0
		if weights, err = forge.Train(ctx, library, config, examples.Polished(i+1, p, p.RowTokens), progress); err != nil {
			return err
		}
	}
	return writeModel(out, c, recipe, tables, profile, weights)
}

// snapshot writes the model of the newest checkpoint of a run.
func snapshot(_ context.Context, args []string) error {
	recipe := seedmind.Standard()
	work, out := ".build/seedmind", ".build/seedmind/snapshot.gguf"
	if err := flags("snapshot", args, func(f *flag.FlagSet) {
		f.StringVar(&work, "work", work, "folder of the checkpoints")
		f.StringVar(&out, "o", out, "file to write")
	}); err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	tables := c.Tables()
	profile, err := mind.NewSeed(tables)
	if err != nil {
		return err
	}
	arch := forgeConfig(recipe, profile.Tokenizer().Size(), 1, "").Arch
	part := "part one"
	weights, step, err := forge.Snapshot(work, arch)
	if err != nil {
		return err
	}
	for _, p := range recipe.Polish {
		w, n, err := forge.Snapshot(filepath.Join(work, p.Name), arch)
		if batos.CodeOf(err) == batos.NotFound {
			break
		}
		if err != nil {
			return err
		}
		part, weights, step = p.Name, w, n
	}
	fmt.Printf("%s, step %d\n", part, step)
	return writeModel(out, c, recipe, tables, profile, weights)
}

func openLibrary(dir string) (*ggml.Library, error) {
	dir, err := llama.FindLibrary(dir)
	if err != nil {
		return nil, err
	}
	return ggml.Load(dir)
}

func forgeConfig(r seedmind.Recipe, vocab, threads int, work string) forge.Config {
	return forge.Config{
		Arch:  forge.Arch{Layers: r.Layers, Dim: r.Dim, Heads: r.Heads, FF: r.FF, Ctx: r.Context, Vocab: vocab, Tied: true},
		Steps: r.Steps, BatchTokens: r.BatchTokens, RowTokens: r.RowTokens, HeadTokens: r.HeadTokens,
		LR: r.LR, FinalLR: r.FinalLR, Warmup: r.Warmup, WeightDecay: r.WeightDecay, Seed: r.Seed, BF16: r.BF16, Threads: threads,
		CheckpointDir: work, CheckpointEvery: 200,
	}
}

// writeModel writes the GGUF file, first under another name.
func writeModel(path string, c *seedmind.Corpus, recipe seedmind.Recipe, tables mind.SeedTables, profile *mind.Seed, w *forge.Weights) error {
	text, err := json.Marshal(tables)
	if err != nil {
		return err
	}
	tok := forge.Tokenizer{BOS: mind.SeedEnd, EOS: mind.SeedEnd}
	for i := range profile.Tokenizer().Size() {
		entry, control := profile.Tokenizer().Entry(int32(i))
		kind := forge.NormalToken
		if control {
			kind = forge.ControlToken
		}
		tok.Entries = append(tok.Entries, forge.TokenEntry{Text: entry, Kind: kind})
	}
	meta := forge.Meta{
		Name: seedmind.ID, Profile: mind.SeedName, License: "apache-2.0", Half: true,
		Description: "writes the methods of ordinary objects; trained from scratch by the project's own recipe",
		Extra: []forge.KeyValue{
			{Key: mind.SeedMetaKey, Value: string(text)},
			{Key: "batos.corpus", Value: c.Hash},
			{Key: "batos.recipe", Value: recipe.String()},
		},
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if err := forge.WriteGGUF(f, w, tok, meta); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return batos.Errorf(batos.Invalid, "model file: %w", err)
	}
	fmt.Println("written to", path)
	return nil
}
