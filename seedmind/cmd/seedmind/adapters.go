package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"batos"
	"batos/internal/forge"
	"batos/internal/gguf"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/seedmind"
)

// roleFlags are what both commands about adapters take.
type roleFlags struct {
	model, lib, dir, only string
	threads               int
}

func (r *roleFlags) define(f *flag.FlagSet) {
	f.StringVar(&r.model, "model", "seedmind/"+seedmind.ModelFile, "the model they are for")
	f.StringVar(&r.lib, "lib", "", "folder of the engine's libraries")
	f.StringVar(&r.dir, "dir", "seedmind/weights", "folder of the adapters")
	f.StringVar(&r.only, "persona", "", "only these, separated by commas")
	f.IntVar(&r.threads, "threads", 1, "cores to use")
}

func (r *roleFlags) personas() ([]seedmind.Role, error) {
	if r.only == "" {
		return seedmind.Roles(), nil
	}
	var out []seedmind.Role
	for _, p := range strings.Split(r.only, ",") {
		role, err := seedmind.RoleOf(strings.ToUpper(p))
		if err != nil {
			return nil, err
		}
		out = append(out, role)
	}
	return out, nil
}

func (r *roleFlags) file(persona string) string {
	return filepath.Join(r.dir, filepath.Base(seedmind.AdapterFile(persona)))
}

// tables reads the model's own tokenizer, and its hash.
func (r *roleFlags) tables() (*mind.Seed, string, error) {
	b, err := os.ReadFile(r.model)
	if err != nil {
		return nil, "", batos.Errorf(batos.NotFound, "the model: %w", err)
	}
	f, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, "", err
	}
	name := strings.TrimPrefix(mind.SeedMetaKey, "batos.")
	p, err := mind.Seed{}.Bind(mind.Info{ModelID: r.model, Meta: map[string]string{name: f.Text(mind.SeedMetaKey)}})
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(b)
	return p.(*mind.Seed), hex.EncodeToString(sum[:]), nil
}

func forgeAdapter(r seedmind.AdapterRecipe, model, work string, threads int) forge.AdapterConfig {
	return forge.AdapterConfig{
		Base: model, Rank: r.Rank, Alpha: r.Alpha, Targets: r.Targets,
		Train: forge.Config{
			Steps: r.Steps, BatchTokens: r.BatchTokens, RowTokens: r.RowTokens, HeadTokens: r.HeadTokens,
			LR: r.LR, FinalLR: r.FinalLR, Warmup: r.Warmup, Seed: r.Seed, BF16: r.BF16, Threads: threads,
			CheckpointDir: work, CheckpointEvery: 50,
		},
	}
}

// adapters trains the personas' adapters. A run that was stopped goes on.
func adapters(ctx context.Context, args []string) error {
	var r roleFlags
	work, targets := ".build/seedmind/adapters", ""
	steps, rank, lr := 0, 0, 0.0
	if err := flags("adapters", args, func(f *flag.FlagSet) {
		r.define(f)
		f.StringVar(&work, "work", work, "folder of the checkpoints")
		f.IntVar(&steps, "steps", 0, "steps in all, instead of the recipe's")
		f.IntVar(&rank, "rank", 0, "inner length of the adapters' matrices, instead of the recipe's")
		f.Float64Var(&lr, "lr", 0, "peak learning rate, instead of the recipe's")
		f.StringVar(&targets, "targets", "", "matrices to change, separated by commas, instead of the recipe's")
	}); err != nil {
		return err
	}
	recipeOf := func(persona string) seedmind.AdapterRecipe {
		r := seedmind.StandardAdapter(persona)
		if steps > 0 {
			r.Steps = steps
		}
		if rank > 0 {
			r.Rank, r.Alpha = rank, 2*float32(rank)
		}
		if lr > 0 {
			r.LR = float32(lr)
		}
		if targets != "" {
			r.Targets = strings.Split(targets, ",")
		}
		return r
	}
	roles, err := r.personas()
	if err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	profile, base, err := r.tables()
	if err != nil {
		return err
	}
	library, err := openLibrary(r.lib)
	if err != nil {
		return err
	}
	for _, role := range roles {
		recipe := recipeOf(role.Persona)
		dir := filepath.Join(work, strings.ToLower(role.Persona))
		examples := seedmind.NewRoleExamples(c, profile.Tokenizer(), role, recipe.Seed, recipe.RowTokens)
		mean, shown := 0.0, time.Time{}
		a, err := forge.TrainAdapter(ctx, library, forgeAdapter(recipe, r.model, dir, r.threads), examples, func(p forge.Progress) {
			if mean == 0 {
				mean = p.Loss
			}
			mean += 0.05 * (p.Loss - mean)
			if time.Since(shown) > 10*time.Second || p.Step == p.Steps {
				shown = time.Now()
				fmt.Printf("%s: step %d of %d, loss %.4f, %.0f tokens/s, %s left\n", role.Persona, p.Step, p.Steps, mean, p.TokensPerSecond, p.Left.Round(time.Second))
			}
		})
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := forge.WriteAdapter(&b, a, adapterMeta(role, base, recipe)); err != nil {
			return err
		}
		if err := writeFile(r.file(role.Persona), b.Bytes()); err != nil {
			return err
		}
		fmt.Printf("%s: %d bytes written to %s\n", role.Persona, b.Len(), r.file(role.Persona))
	}
	return nil
}

func adapterMeta(role seedmind.Role, base string, r seedmind.AdapterRecipe) forge.Meta {
	m := forge.Meta{
		Name: seedmind.AdapterName(role.Persona), License: "apache-2.0", Half: true,
		Description: "adapter of " + role.Persona + " for the model " + seedmind.ID,
	}
	for _, kv := range seedmind.AdapterKeys(role, base, r) {
		m.Extra = append(m.Extra, forge.KeyValue{Key: kv[0], Value: kv[1]})
	}
	return m
}

// writeFile writes a file, first under another name.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return batos.Errorf(batos.Invalid, "%w", err)
	}
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return batos.Errorf(batos.Invalid, "%w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return batos.Errorf(batos.Invalid, "%w", err)
	}
	return nil
}

// roleSeed is the seed of the held-out sets.
const roleSeed = 515151

// adaptersEval prints how good the bare model and each adapter are at each
// persona's work.
func adaptersEval(ctx context.Context, args []string) error {
	var r roleFlags
	n, show := 200, ""
	if err := flags("adapters-eval", args, func(f *flag.FlagSet) {
		r.define(f)
		f.IntVar(&n, "n", n, "held-out problems of each role")
		f.StringVar(&show, "show", show, "print the wrong answers of this persona's adapter, or of base, to its own work")
	}); err != nil {
		return err
	}
	roles, err := r.personas()
	if err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	profile, base, err := r.tables()
	if err != nil {
		return err
	}
	library, err := openLibrary(r.lib)
	if err != nil {
		return err
	}
	engine, err := llama.Open(ctx, llama.Config{LibDir: r.lib, ModelPath: r.model, Threads: r.threads})
	if err != nil {
		return err
	}
	defer engine.Close()
	minds := []contestant{{name: "base"}}
	for _, role := range roles {
		m, err := load(ctx, engine, r.file(role.Persona), base)
		if err != nil {
			return err
		}
		minds = append(minds, m)
	}
	recipe := seedmind.StandardAdapter("")
	recipe.RowTokens, recipe.HeadTokens = 256, recipe.BatchTokens // the longest answers are judged too
	fmt.Printf("%-8s", "")
	for _, role := range roles {
		fmt.Printf("  %-22s", role.Persona+"'s work")
	}
	fmt.Println()
	best := true
	scores := map[string]map[string]score{}
	for _, m := range minds {
		scores[m.name] = map[string]score{}
		fmt.Printf("%-8s", m.name)
		for _, role := range roles {
			set := seedmind.NewRoleSet(c, profile.Tokenizer(), role, n, roleSeed)
			right, wrong, err := m.answer(ctx, engine, set)
			if err != nil {
				return err
			}
			loss, err := forge.Loss(ctx, library, forgeAdapter(recipe, r.model, "", r.threads), m.adapter, set, n)
			if err != nil {
				return err
			}
			scores[m.name][role.Persona] = right
			fmt.Printf("  %5.1f %% loss %-8.4f", right.percent(), loss)
			if show == m.name && (show == role.Persona || show == "base") {
				defer fmt.Print(wrong)
			}
		}
		fmt.Println()
	}
	for _, role := range roles {
		own := scores[role.Persona][role.Persona]
		for _, kind := range slices.Compact(slices.Clone(role.Kinds)) {
			bare := scores["base"][role.Persona]
			fmt.Printf("%s, %s: %.1f %% bare, %.1f %% with the adapter\n", role.Persona, kind, bare.of(kind), own.of(kind))
		}
		for _, m := range minds {
			if m.name != role.Persona && scores[m.name][role.Persona].percent() >= own.percent() {
				fmt.Printf("%s's adapter does not beat %s at its own work\n", role.Persona, m.name)
				best = false
			}
		}
	}
	if best {
		fmt.Println("every adapter beats the bare model and every other adapter at its own work")
	}
	return nil
}

// contestant is the bare model, or the model under an adapter.
type contestant struct {
	name, hash string
	adapter    *forge.Adapter
}

// adapted is an engine with an adapter in force for every request.
type adapted struct {
	mind.Engine
	hash string
}

func (a adapted) Generate(ctx context.Context, r mind.Request) (*mind.Result, error) {
	r.Adapter = a.hash
	return a.Engine.Generate(ctx, r)
}

// under puts the adapter of a file in force.
func under(ctx context.Context, engine mind.Engine, path string) (mind.Engine, error) {
	info, err := engine.Info(ctx)
	if err != nil {
		return nil, err
	}
	host, ok := engine.(mind.AdapterHost)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "this engine takes no adapters")
	}
	c, err := load(ctx, host, path, info.Hash)
	return adapted{engine, c.hash}, err
}

// load brings an adapter's file into the engine.
func load(ctx context.Context, engine mind.AdapterHost, path, base string) (contestant, error) {
	f, err := os.Open(path)
	if err != nil {
		return contestant{}, batos.Errorf(batos.NotFound, "no adapter; run make seedmind-adapters: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return contestant{}, err
	}
	info, err := seedmind.ReadAdapter(b)
	if err != nil {
		return contestant{}, err
	}
	if info.Base != base {
		return contestant{}, batos.Errorf(batos.Invalid, "the adapter of %s is of the model %.12s, not of %.12s", info.Persona, info.Base, base)
	}
	sum := sha256.Sum256(b)
	m := contestant{name: info.Persona, hash: hex.EncodeToString(sum[:])}
	if m.adapter, err = forge.ReadAdapter(b); err != nil {
		return contestant{}, err
	}
	_, err = engine.LoadAdapter(ctx, m.hash, f)
	return m, err
}

// answer gives the share of right answers in percent, and the wrong ones.
func (m contestant) answer(ctx context.Context, engine mind.Engine, set *seedmind.RoleSet) (score, string, error) {
	got := score{right: map[mind.Kind]int{}, all: map[mind.Kind]int{}}
	var wrong strings.Builder
	for i, s := range set.Samples {
		request, err := set.Ask(i, m.hash)
		if err != nil {
			return got, "", err
		}
		r, err := engine.Generate(ctx, request)
		if err != nil {
			return got, "", err
		}
		got.all[s.Kind]++
		if set.Right(ctx, i, r) {
			got.right[s.Kind]++
			continue
		}
		fmt.Fprintf(&wrong, "--- %s, %s\n%s%s\nshould be like\n%s\n", m.name, s.Kind, s.Prompt.Text(), set.Text(r), s.Answer)
	}
	return got, wrong.String(), nil
}

// score counts answers by kind.
type score struct{ right, all map[mind.Kind]int }

func (s score) of(kind mind.Kind) float64 {
	return 100 * float64(s.right[kind]) / float64(max(1, s.all[kind]))
}

// percent is the share of right answers.
func (s score) percent() float64 {
	right, all := 0, 0
	for kind, n := range s.all {
		right, all = right+s.right[kind], all+n
	}
	return 100 * float64(right) / float64(max(1, all))
}
