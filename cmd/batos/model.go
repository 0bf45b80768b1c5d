package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/adapter"
	"batos/internal/door/cli"
	"batos/internal/ggml"
	"batos/internal/kernel"
	"batos/internal/mind/llama"
	"batos/seedmind"
)

// quants are the ways that weights can be stored in fewer bytes.
var quants = map[string]ggml.Quant{"F16": ggml.QuantF16, "Q8_0": ggml.QuantQ8_0, "Q6_K": ggml.QuantQ6_K, "Q4_K_M": ggml.QuantQ4_K_M, "Q4_0": ggml.QuantQ4_0}

func quantNames() string {
	var all []string
	for n := range quants {
		all = append(all, n)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// modelCommands are those of package cli and the import, which may have to
// quantize first.
func modelCommands(app *cli.App) *cobra.Command {
	c := app.Model()
	var name, quant string
	add := &cobra.Command{
		Use: "import FILE.gguf", Short: "Take a model into the image", Args: cobra.ExactArgs(1),
		Long: "Take a GGUF model into the image, checked, as a blob; batos model use makes it the one in use.\n" +
			"With --quantize it is first rewritten with fewer bits, in a process of its own.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return batos.Errorf(batos.Invalid, "%w", err)
			}
			if name == "" {
				name = strings.TrimSuffix(filepath.Base(path), ".gguf")
				if quant != "" {
					name += "-" + quant
				}
			}
			if quant != "" {
				smaller, remove, err := quantized(cmd.Context(), app, path, quant)
				if err != nil {
					return err
				}
				defer remove()
				path = smaller
			}
			return app.ImportModel(cmd.Context(), path, name)
		},
	}
	add.Flags().StringVar(&name, "name", "", "what the image calls it (default: the file's name)")
	add.Flags().StringVar(&quant, "quantize", "", "rewrite it first as "+quantNames())
	c.AddCommand(add)
	return c
}

// quantized rewrites a model beside the image, where there is room for it
// anyway, and gives the new file and a way to remove it.
func quantized(ctx context.Context, app *cli.App, path, quant string) (string, func(), error) {
	if _, ok := quants[quant]; !ok {
		return "", nil, batos.Errorf(batos.Invalid, "--quantize %.40q: there are %s", quant, quantNames())
	}
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	folder, err := filepath.Abs(app.Image())
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(folder), "quantize-")
	if err != nil {
		return "", nil, batos.Errorf(batos.Denied, "a smaller file cannot be written beside the image: %w", err)
	}
	remove := func() { _ = os.RemoveAll(dir) } // left over, it is only in the way
	out := filepath.Join(dir, "model.gguf")
	run := exec.CommandContext(ctx, exe, "engine", "quantize", path, out, quant)
	run.Stdout, run.Stderr = app.Err, app.Err
	if err := run.Run(); err != nil {
		remove()
		return "", nil, batos.Errorf(batos.Invalid, "%s could not be quantized: %w", path, err)
	}
	return out, remove, nil
}

// quantize is the child of quantized: a file of other people's ends this
// process, not the caller's.
func quantize(in, out, quant string) error {
	dir, err := llama.FindLibrary("")
	if err != nil {
		return err
	}
	lib, err := ggml.Load(dir)
	if err != nil {
		return err
	}
	return lib.Quantize(in, out, quants[quant], 2)
}

// stagingFolder is where adapters are looked for at a start if --adapters does
// not name a folder.
const stagingFolder = "lora_adapters"

// stageAdapters imports the adapters that ship with the seed model, if that is
// the model in use, and those in the staging folder. Known ones are passed
// over; one that cannot be used is told and does not stop the start.
func stageAdapters(ctx context.Context, k *kernel.Kernel, folder string, say func(string, ...any)) error {
	m, err := k.Model(ctx)
	if err != nil || m == nil {
		return err
	}
	p := kernel.Person{Name: "batos up"}
	shipped, err := seedmind.Adapters()
	if err != nil {
		return err
	}
	for _, a := range shipped {
		if a.Base != fmt.Sprintf("%x", m.Blob.Hash) {
			continue
		}
		src := kernel.AdapterSource{Name: a.Name, Origin: "shipped with batos " + release, Weights: strings.NewReader(string(a.GGUF)), Size: int64(len(a.GGUF)), Persona: a.Persona}
		got, added, err := k.ImportAdapter(ctx, p, src)
		if err != nil {
			say("  adapter %s: %s", a.Name, err)
			continue
		}
		if added {
			say("  adapter %s, for %s", got.Name, a.Persona)
		}
	}
	if _, err := os.Stat(folder); err != nil {
		if folder == stagingFolder {
			return nil
		}
		return batos.Errorf(batos.NotFound, "--adapters %s: there is no such folder", folder)
	}
	found, err := adapter.Find(folder)
	if err != nil {
		return err
	}
	for _, f := range found {
		got, added, err := k.ImportFound(ctx, p, f, 0, "")
		if err != nil {
			say("  adapter %s: %s", f.Weights, err)
			continue
		}
		if added {
			say("  adapter %s, from %s", got.Name, f.Weights)
		}
	}
	return nil
}
