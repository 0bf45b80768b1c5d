package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/codex"
	"batos/internal/wire"
)

func (a *App) codex() *cobra.Command {
	c := &cobra.Command{Use: "codex", Short: "See and change who does what in the mind", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return batos.Errorf(batos.Invalid, "say what: show, check or load")
	}}
	var source bool
	show := &cobra.Command{
		Use: "show", Short: "Show the codex that the image follows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Codex
			if err := a.call(cmd.Context(), http.MethodGet, "/codex", nil, &out); err != nil {
				return err
			}
			switch {
			case a.json:
				a.print(out)
			case source:
				_, err := io.WriteString(a.Out, out.Source)
				return err
			default:
				return a.outline(&out)
			}
			return nil
		},
	}
	show.Flags().BoolVar(&source, "source", false, "print the document itself, to edit and load again")
	c.AddCommand(show, &cobra.Command{
		Use: "check FILE", Short: "Say what is wrong with a codex, without a server", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, text, err := a.document(args[0])
			if err != nil {
				return err
			}
			parsed, err := codex.Parse(name, text)
			if err != nil {
				return err
			}
			return a.done(wire.Codex{File: name, Source: text}, "%s is sound: %d personas, %d kinds of query, %d workflows", name, len(parsed.Personas), len(parsed.Matrix), len(parsed.Workflows))
		},
	}, &cobra.Command{
		Use: "load FILE", Short: "Make a file the codex of the image, for the missions after this", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, text, err := a.document(args[0])
			if err != nil {
				return err
			}
			if _, err := codex.Parse(name, text); err != nil {
				return err
			}
			var out wire.Codex
			if err := a.call(cmd.Context(), http.MethodPut, "/codex", wire.Codex{File: name, Source: text}, &out); err != nil {
				return err
			}
			return a.done(out, "loaded %s: %s (undo: batos undo %s)", name, strings.Join(out.Workflows, ", "), out.TID)
		},
	})
	return c
}

// document reads a file, or standard input for "-"; name is for errors.
func (a *App) document(file string) (name, text string, err error) {
	var b []byte
	if name = filepath.Base(file); file == "-" {
		name = "standard input"
		b, err = io.ReadAll(a.In)
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", "", batos.Errorf(batos.Invalid, "the codex cannot be read: %w", err)
	}
	return name, string(b), nil
}

// outline tells personas and workflows in a few lines each.
func (a *App) outline(out *wire.Codex) error {
	c, err := codex.Parse("the codex of the image", out.Source)
	if err != nil {
		return err
	}
	if out.Loaded != nil {
		a.line("loaded %s by %s", out.Loaded.Local().Format("2006-01-02 15:04:05"), out.By)
	}
	for _, p := range c.Personas {
		a.line("%-8s %s: %s", p.Name, p.Title, p.Duties)
	}
	for _, r := range c.Matrix {
		a.line("%-10s → %-20s lead %s, checks %s, on demand %s, conclusion %s", r.Query, r.Workflow, orDash(r.Lead), orDash(r.Checks), orDash(r.OnDemand), orDash(r.Conclusion))
	}
	for _, w := range c.Workflows {
		var states []string
		for _, s := range w.Steps {
			states = append(states, s.State)
		}
		a.line("%s: %s", w.Name, strings.Join(states, " → "))
	}
	if len(out.Edited) > 0 {
		a.line("changed by messages since: %s; one as it is now: batos eval 'persona_codex_obj.workflow_(%q).steps'", strings.Join(out.Edited, ", "), out.Edited[0])
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
