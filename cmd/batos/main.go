// Command batos is a living image for language-model agents: see the package
// documentation of batos, and batos --help.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"batos/internal/door/cli"
	"batos/internal/forge"
	"batos/internal/kernel"
	"batos/internal/mind/llama"
	"batos/internal/quarantine"
)

// release is the version of the binary; the build sets it.
var release = "0.2.0-dev"

func main() { os.Exit(run(os.Args[1:], local)) }

// run is the program with a brain for batos up; it gives the exit status.
func run(args []string, b brain) int {
	if len(args) > 0 && args[0] == quarantine.Command {
		return quarantine.ChildMain(kernel.RegisterForTrials) // before anything is set up: a trial starts in milliseconds
	}
	if len(args) == 2 && args[0] == "engine" && args[1] == "serve" {
		if err := llama.Serve(); err != nil {
			fmt.Fprintln(os.Stderr, "batos engine serve: "+err.Error())
			return 1
		}
		return 0
	}
	if len(args) == 2 && args[0] == "engine" && args[1] == "train" {
		if err := forge.ServeOrder(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "batos engine train: "+err.Error())
			return 1
		}
		return 0
	}
	app := &cli.App{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
	root := app.Root()
	root.AddCommand(up(app, b), imageCommands(app), engine(app), forgeCommands(app), modelCommands(app), doctor(app), version(app))
	app.CheckUsage(root)
	root.Version = versionText()
	root.SetVersionTemplate("batos {{.Version}}\n")
	root.SetArgs(args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code, printed := cli.Printed(err); printed {
		return code.Exit()
	}
	return app.Fail(err)
}

// revision is the commit that the binary was built of, short; "" where the
// build did not know.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return s.Value[:12]
			}
		}
	}
	return ""
}

func versionText() string { return strings.TrimSpace(release + " " + revision()) }

func version(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if app.JSON() {
				return app.Print(map[string]string{"release": release, "revision": revision()})
			}
			app.Line("batos %s", versionText())
			return nil
		},
	}
}
