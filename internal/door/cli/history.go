package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"batos/internal/wire"
	"batos/object"
)

func (a *App) log() *cobra.Command {
	var limit int
	var before string
	c := &cobra.Command{
		Use:   "log [TARGET]",
		Short: "List transactions, the newest first",
		Long:  "List the image's transactions, or those that changed one object, the newest first: when, on whose word, and what.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if len(args) == 1 {
				q.Set("target", args[0])
			}
			if before != "" {
				m, err := moment(before)
				if err != nil {
					return err
				}
				q.Set("before", m)
			}
			var out wire.Log
			if err := a.call(cmd.Context(), http.MethodGet, "/log?"+q.Encode(), nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			for i := range out.Entries {
				a.logEntry(&out.Entries[i], len(args) == 1)
			}
			if len(out.Entries) == 0 {
				a.line("no transactions")
			}
			return nil
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 20, "how many")
	c.Flags().StringVar(&before, "before", "", "not after a tid or a time")
	return c
}

// moment reads a moment here, where the clock is the one that people see.
func moment(s string) (string, error) {
	tid, err := wire.ParseMoment(s)
	if err != nil || s == "" {
		return "", err
	}
	return tid.String(), nil
}

// namesShown bounds how many objects a line of the log names.
const namesShown = 4

func (a *App) logEntry(e *wire.LogEntry, one bool) {
	who := e.Author
	if e.AuthorName != "" {
		who += " " + e.AuthorName
	}
	var what []string
	switch {
	case e.Deleted:
		what = []string{"deleted"}
	case one:
		what = e.Slots
	default:
		for _, o := range e.Objects {
			if o.Name != "" {
				what = append(what, o.Name)
			} else {
				what = append(what, o.OID)
			}
		}
	}
	if n := len(what); n > namesShown {
		what = append(what[:namesShown:namesShown], fmt.Sprintf("and %d more", n-namesShown))
	}
	note := e.Note
	if note == "" && e.Message != "" {
		note = "message " + e.Message
	}
	a.line("%s  %s  %-22s %s: %s", e.TID, e.Time.Local().Format("2006-01-02 15:04:05"), who, note, strings.Join(what, ", "))
}

func (a *App) diff() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FROM [TO]",
		Short: "Show what two moments differ in",
		Long: "Show what the image right after FROM and right after TO (now) differ in. A moment is a tid or a time;\n" +
			"t0000000000000000 is before everything.",
		Example: "  batos diff t00063f2a1b2c3d4e 2026-11-23T12:00:00Z\n  batos diff '2026-11-23 12:00'",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			for i, arg := range args {
				m, err := moment(arg)
				if err != nil {
					return err
				}
				q.Set([]string{"from", "to"}[i], m)
			}
			var out wire.Diff
			if err := a.call(cmd.Context(), http.MethodGet, "/diff?"+q.Encode(), nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			for i := range out.Changes {
				a.change(&out.Changes[i])
			}
			switch {
			case out.More > 0:
				a.line("and %d more", out.More)
			case len(out.Changes) == 0:
				a.line("no difference")
			}
			return nil
		},
	}
}

func (a *App) change(c *wire.Change) {
	mark, what := "~", "object"
	if c.New {
		mark = "+"
	} else if c.Deleted {
		mark = "-"
	}
	if c.Tree {
		what = "tree"
	}
	head := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", mark, what, c.OID, c.Name))
	if c.Protection != "" {
		head += " (" + c.Protection + ")"
	}
	a.line("%s", head)
	for _, d := range c.Deltas {
		name := d.Slot
		if d.Key != nil {
			name = object.Text(d.Key.Value, keyWidth)
		}
		if d.Before != nil {
			a.side("-", name, d.Before)
		}
		if d.After != nil {
			a.side("+", name, d.After)
		}
	}
}

// side prints one side of a difference; a method with its source.
func (a *App) side(mark, name string, v *wire.Side) {
	m := v.Method
	if m == nil {
		a.line("  %s %s = %s", mark, name, v.Text)
		return
	}
	a.line("  %s %s, version %d by %s (%s)", mark, name, m.Version, m.AuthorName, m.Author)
	for _, l := range strings.Split(strings.TrimRight(m.Source, "\n"), "\n") {
		a.line("  %s │ %s", mark, l)
	}
}

// keyWidth bounds a tree's key on a line, in bytes.
const keyWidth = 100

func (a *App) undo() *cobra.Command {
	return &cobra.Command{
		Use:   "undo TID",
		Short: "Take a transaction back",
		Long: "Take back what one transaction did, which need not be the last, in a new transaction. What has been changed since is a\n" +
			"conflict that names it, and nothing is changed. The undo of an undo does the thing again. See batos log for tids.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.Changed
			if err := a.call(cmd.Context(), http.MethodPost, "/undo", wire.Undo{TID: args[0]}, &out); err != nil {
				return err
			}
			return a.done(out, "%s", out.TID)
		},
	}
}

// Silent is err, which the caller has printed already.
func Silent(err error) error { return silent{err} }
