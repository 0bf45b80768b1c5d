// Command seedmind trains the model that ships with the project, evaluates
// it, and shows what it is taught.
//
//	seedmind train  [-threads N] [-steps N] [-work DIR] [-o FILE]   make the weights again, from the recipe's seed
//	seedmind snapshot [-work DIR] [-o FILE]                         the model as it is at the newest checkpoint
//	seedmind eval   [-model FILE] [-n N] [-handwritten FILE]        how good the model is, area by area
//	seedmind corpus [-n N] [-family NAME] [-write]                  sizes, or examples of what it is taught
//	seedmind ask    [-model FILE] JSON                              what the model writes for one message
//	seedmind adapters      [-persona NAME] [-model FILE]            train the personas' adapters
//	seedmind adapters-eval [-persona NAME] [-model FILE]            each adapter at each persona's work
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"batos"
	"batos/internal/mind/llama"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "engine" && os.Args[2] == "serve" {
		exit(llama.Serve()) // the engine starts its child as "EXE engine serve"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) < 2 {
		exit(batos.Errorf(batos.Invalid, "say what: train, eval, calibrate, corpus, ask, adapters, adapters-eval or thesaurus"))
	}
	commands := map[string]func(context.Context, []string) error{"train": train, "snapshot": snapshot, "eval": eval, "corpus": corpus, "ask": ask, "calibrate": calibrate, "adapters": adapters, "adapters-eval": adaptersEval, "thesaurus": thesaurus}
	run, ok := commands[os.Args[1]]
	if !ok {
		exit(batos.Errorf(batos.Invalid, "%q is none of train, snapshot, eval, calibrate, corpus, ask, adapters, adapters-eval, thesaurus", os.Args[1]))
	}
	exit(run(ctx, os.Args[2:]))
}

func exit(err error) {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "seedmind:", err)
	if code := batos.CodeOf(err); code != "" {
		os.Exit(code.Exit())
	}
	os.Exit(1)
}

// flags parses args by a flag set of the command's own.
func flags(name string, args []string, define func(*flag.FlagSet)) error {
	f := flag.NewFlagSet("seedmind "+name, flag.ContinueOnError)
	define(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return batos.Errorf(batos.Invalid, "%w", err)
	}
	return nil
}
