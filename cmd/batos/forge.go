package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/door/cli"
	"batos/internal/forge"
	"batos/internal/kernel"
	"batos/internal/mind/llama"
)

func forgeCommands(app *cli.App) *cobra.Command {
	c := &cobra.Command{Use: "forge", Short: "Train adapters from collected examples", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return batos.Errorf(batos.Invalid, "say what: start, list, collect or train")
	}}
	c.AddCommand(app.Collect(), app.Train(), app.Jobs(), forgeTrain(app))
	return c
}

// adapterNames are those that may become a file's name.
var adapterNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func forgeTrain(app *cli.App) *cobra.Command {
	var o forge.Order
	var memory, lib string
	var alpha, lr float64
	c := &cobra.Command{
		Use: "train --model FILE.gguf --data FILE.jsonl", Short: "Train an adapter in a process of its own, and judge it against the old one", Args: cobra.NoArgs,
		Long: `Train a LoRA adapter over a model of the llama family, in a process of its own, on examples:
one JSON object on each line with "prompt" (or "instruction") and "response". One example in
five is kept back; the new adapter is better if its loss on these is less than that of --old,
or of the bare model. It is written to DIR/NAME.gguf, and batos adapter import takes it into
an image. A training that was interrupted goes on from its last checkpoint when it is begun
again. Exit 3: the new adapter is not better.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			exe, err := os.Executable()
			if err != nil {
				return batos.Errorf(batos.Offline, "the running program cannot be found: %w", err)
			}
			if o.Model == "" || o.Data == "" {
				return batos.Errorf(batos.Invalid, "forge train needs --model FILE.gguf and --data FILE.jsonl")
			}
			if !adapterNames.MatchString(o.Name) {
				return batos.Errorf(batos.Invalid, "%q cannot be an adapter's name: letters, digits, dots, dashes and underscores", o.Name)
			}
			if o.Library, err = llama.FindLibrary(lib); err != nil {
				return err
			}
			if o.Memory, err = parseSize(memory); err != nil {
				return err
			}
			o.Alpha, o.LR = float32(alpha), float32(lr)
			for _, p := range []*string{&o.Model, &o.Data, &o.Dir, &o.Old} {
				if *p == "" {
					continue
				}
				if *p, err = filepath.Abs(*p); err != nil {
					return batos.Errorf(batos.Invalid, "%w", err)
				}
			}
			out, err := forge.Run(cmd.Context(), exe, o, func(p forge.Progress) {
				if !app.JSON() {
					fmt.Fprintf(app.Err, "step %d of %d, loss %.4f, %.0f tokens/s, %s left\n", p.Step, p.Steps, p.Loss, p.TokensPerSecond, p.Left.Round(time.Second))
				}
			})
			if err != nil {
				return err
			}
			if app.JSON() {
				if err := app.Print(out); err != nil {
					return err
				}
			} else {
				app.Line("%s\nsha256 %s\ntrained on %d examples in %d steps; %d were too long", out.File, out.Hash, out.Examples, out.Steps, out.TooLong)
				app.Line("loss on the %d kept back: %.4f before, %.4f now", out.HeldOut, out.Before, out.After)
			}
			if !out.Better {
				return batos.Errorf(batos.Refused, "the new adapter is not better; keep the old one, collect more examples or train longer")
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "GGUF file of the model")
	f.StringVar(&o.Data, "data", "", "JSON lines with the examples")
	f.StringVar(&o.Dir, "dir", "forge", "folder of the checkpoints and of the result")
	f.StringVar(&o.Old, "old", "", "GGUF file of the adapter in use, which the new one begins from and is to beat")
	f.StringVar(&o.Name, "name", "adapter", "name of the adapter")
	f.IntVar(&o.Rank, "rank", 16, "inner length of the adapter's matrices")
	f.Float64Var(&alpha, "alpha", 0, "strength; twice the rank if 0")
	f.StringSliceVar(&o.Targets, "targets", nil, "matrices to change: "+strings.Join(forge.Targets(), ", ")+"; all if none is named")
	f.IntVar(&o.Epochs, "epochs", 3, "how often each example is seen")
	f.IntVar(&o.Steps, "steps", 0, "steps, instead of --epochs")
	f.Float64Var(&lr, "lr", 0, "learning rate; 0.0002 if 0. Models of a few million weights want 0.004")
	f.Uint64Var(&o.Seed, "seed", 1, "of the start and of the order of the examples")
	f.IntVar(&o.Threads, "threads", 1, "cores to use")
	f.StringVar(&memory, "memory", "4GiB", "most memory it may take; 0 is no bound")
	f.StringVar(&lib, "lib", "", "folder of the engine's libraries")
	return c
}

// trainer carries the orders of an image's jobs out, in processes of this
// program. It takes at most most of the memory that is free.
func trainer(lib string) kernel.Trainer {
	return func(ctx context.Context, o kernel.TrainOrder, progress func(step, steps int, loss float64)) (kernel.TrainOutcome, error) {
		exe, err := os.Executable()
		if err != nil {
			return kernel.TrainOutcome{}, batos.Errorf(batos.Offline, "the running program cannot be found: %w", err)
		}
		dir, err := llama.FindLibrary(lib)
		if err != nil {
			return kernel.TrainOutcome{}, err
		}
		order := forge.Order{
			Model: o.Model, Library: dir, Data: o.Data, Dir: o.Dir, Old: o.Old, Name: o.Name, Seed: 1, Threads: 1,
			Memory: freeMemory() / 10 * 8, Meta: forge.Meta{Description: "adapter of " + o.Persona + ", trained on what an image collected"},
		}
		if o.Small {
			order.Rank, order.LR = 8, 1e-3
			if o.Old != "" {
				order.LR /= 3 // it is to learn something more, not something else
			}
		}
		out, err := forge.Run(ctx, exe, order, func(p forge.Progress) { progress(p.Step, p.Steps, p.Loss) })
		return kernel.TrainOutcome{File: out.File, Before: out.Before, After: out.After, Better: out.Better}, err
	}
}

// freeMemory is what the system could give now, 0 if it does not say.
func freeMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(b), "MemAvailable:")
	if !ok {
		return 0
	}
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib << 10
}

// parseSize reads a number of bytes: 512MiB, 4GiB, 1000.
func parseSize(s string) (int64, error) {
	for unit, n := range map[string]float64{"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10} {
		if head, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseFloat(head, 64)
			if err != nil || !(v >= 0) || v*n > math.MaxInt64/2 {
				return 0, batos.Errorf(batos.Invalid, "%q is no size; write 512MiB or 4GiB", s)
			}
			return int64(v * n), nil
		}
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return 0, batos.Errorf(batos.Invalid, "%q is no size; write 512MiB or 4GiB", s)
	}
	return v, nil
}
