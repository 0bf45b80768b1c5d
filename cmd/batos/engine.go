package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/door/cli"
	"batos/internal/ggml"
	"batos/internal/mind/llama"
)

func engine(app *cli.App) *cobra.Command {
	c := &cobra.Command{Use: "engine", Short: "The local engine", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return batos.Errorf(batos.Invalid, "say what: install or serve")
	}}
	c.AddCommand(&cobra.Command{
		Use: "serve", Short: "Serve a model on an inherited socket (batos up starts this itself)", Args: cobra.NoArgs, Hidden: true,
		RunE: func(*cobra.Command, []string) error { return llama.Serve() },
	}, &cobra.Command{
		Use: "quantize IN OUT TYPE", Short: "Rewrite a model with fewer bits (batos model import --quantize does this)", Args: cobra.ExactArgs(3), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error { return quantize(args[0], args[1], args[2]) },
	}, &cobra.Command{
		Use: "install", Short: "Install the pinned engine libraries through npm", Args: cobra.NoArgs,
		Long: "Install the pinned engine libraries through npm, beside the program. Needs Node.js; nothing else is downloaded.",
		RunE: func(cmd *cobra.Command, _ []string) error { return install(cmd, app) },
	})
	return c
}

// install writes the pinned package list beside the program and lets npm do
// the rest: it checks the packages against the integrity in the lock file.
func install(cmd *cobra.Command, app *cli.App) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Dir(exe)
	npm, err := exec.LookPath("npm")
	if err != nil {
		return batos.Errorf(batos.NotFound, "npm is not installed; install Node.js 20 or newer, then run this again")
	}
	for name, content := range map[string]string{"package.json": batos.EnginePackages, "package-lock.json": batos.EngineLock} {
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == content {
			continue
		} else if err == nil {
			return batos.Errorf(batos.Conflict, "%s is there and belongs to something else; move the program to a folder of its own", path)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return batos.Errorf(batos.Denied, "cannot write %s: %w", path, err)
		}
	}
	run := exec.CommandContext(cmd.Context(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	run.Dir, run.Stdout, run.Stderr = dir, app.Err, app.Err
	if err := run.Run(); err != nil {
		return fmt.Errorf("npm ci in %s: %w", dir, err)
	}
	fmt.Fprintln(app.Out, "installed beside "+exe)
	return nil
}

func doctor(app *cli.App) *cobra.Command {
	var lib, model string
	c := &cobra.Command{
		Use: "doctor", Short: "Say what is found, what is missing, and how to get it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server := ""
			if remote(model) {
				server, model = model, ""
			}
			var r llama.Report
			if server == "" {
				r = llama.Probe(cmd.Context(), llama.Config{LibDir: lib, ModelPath: model})
			} else {
				r.Model = server
				r.ModelInfo = probeRemote(cmd.Context(), server, &r)
			}
			image, door := app.Survey(cmd.Context())
			if app.JSON() {
				return app.Print(struct {
					Engine        llama.Report `json:"engine"`
					Image, Server string
				}{r, image, door})
			}
			app.Line("batos    %s", release)
			if r.Library != nil {
				pin := "every file is the pinned one"
				if !r.HashOK {
					pin = "NOT the pinned files"
				}
				app.Line("engine   llama.cpp %s in %s (%s)", r.Library.Version, r.Library.Dir, pin)
				app.Line("         %s; %s", r.Library.CPU, r.Library.Features)
				gpu := false
				for _, d := range r.Library.Devices {
					app.Line("device   %s, %d of %d MiB free", d, d.Free>>20, d.Total>>20)
					gpu = gpu || d.Kind != ggml.Processor
				}
				if !gpu {
					app.Line("         no GPU is used: the pinned libraries compute on the processor")
				}
			} else if server != "" {
				app.Line("engine   a server, none on this machine")
			} else {
				app.Line("engine   not found")
			}
			if r.ModelInfo != "" {
				app.Line("model    %s: %s", r.Model, r.ModelInfo)
			}
			if r.Plan != "" && server == "" {
				app.Line("contexts %s", r.Plan)
			}
			if r.Memory != nil {
				for _, line := range r.Memory.Words() {
					app.Line("plan     %s", line)
				}
			}
			if r.MemoryMiB > 0 {
				app.Line("memory   about %d MiB needed, %d MiB free", r.MemoryMiB, r.FreeMiB)
			}
			app.Line("image    %s", image)
			app.Line("server   %s", door)
			for _, a := range r.Advice {
				app.Line("advice   %s", a)
			}
			if !r.OK() {
				return batos.Errorf(batos.Offline, "the engine cannot serve: see the advice above")
			}
			return nil
		},
	}
	c.Flags().StringVar(&lib, "lib", "", "folder of the engine's libraries")
	c.Flags().StringVar(&model, "model", "", "also look at this GGUF file, or ask this server (http://host:port/v1#MODEL)")
	return c
}
