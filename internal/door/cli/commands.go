package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

// value reads an argument as JSON, or as the string it is.
func (a *App) value(arg string) (wire.Value, error) {
	s, err := a.argument(arg)
	if err != nil {
		return wire.Value{}, err
	}
	v, err := wire.ParseValue([]byte(s))
	if err != nil {
		if json.Valid([]byte(s)) || looksLikeJSON(s) {
			return wire.Value{}, batos.Errorf(batos.Invalid, "argument %.60q: %w", s, err)
		}
		if strings.ToValidUTF8(s, "") != s {
			return wire.Value{}, batos.Errorf(batos.Invalid, "argument %.60q is not UTF-8", s)
		}
		return wire.Value{Value: object.Str(s)}, nil
	}
	return wire.Value{Value: v}, nil
}

// looksLikeJSON tells a list, object or quoted string that was mistyped from a
// plain word. A word that really begins so is written as JSON, in quotes.
func looksLikeJSON(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Contains(`{["`, s[:1])
}

func (a *App) send() *cobra.Command {
	var kw []string
	var noWait bool
	var timeout time.Duration
	var id string
	c := &cobra.Command{
		Use:   "send [flags] TARGET SELECTOR [ARG…]",
		Short: "Send a message; what is not understood gets written",
		Long: "Send a message to an object and print what it answers. An ARG is JSON, else a string; @FILE and @- read one.\n" +
			"A message that nobody understands becomes a mission, and send waits for its end.",
		Example: "  batos send counter increment_by 4\n  batos send --kw unit=cm box resize_to '[3, 4]'",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return batos.Errorf(batos.Invalid, "--timeout %v: give a time to wait, like 30s; --no-wait does not wait at all", timeout)
			}
			m := wire.Send{ID: id, Target: args[0], Selector: args[1], Kwargs: map[string]wire.Value{}}
			if m.ID == "" {
				m.ID = string(batos.NewMessageID())
			}
			for _, s := range args[2:] {
				v, err := a.value(s)
				if err != nil {
					return err
				}
				m.Args = append(m.Args, v)
			}
			for _, pair := range kw {
				name, text, ok := strings.Cut(pair, "=")
				if !ok || name == "" {
					return batos.Errorf(batos.Invalid, "--kw %.40q: write NAME=VALUE", pair)
				}
				v, err := a.value(text)
				if err != nil {
					return err
				}
				m.Kwargs[name] = v
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if noWait {
				var o wire.Outcome
				if err := client.Do(cmd.Context(), http.MethodPost, "/send", m, &o); err != nil {
					return err
				}
				return a.outcome(&o)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			stop := a.watch(ctx, client, m.ID)
			o, err := client.Send(ctx, m)
			stop()
			if err != nil {
				return err
			}
			return a.outcome(o)
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.StringArrayVar(&kw, "kw", nil, "named argument NAME=VALUE, again for more")
	f.BoolVar(&noWait, "no-wait", false, "print the message's id and don't wait")
	f.DurationVar(&timeout, "timeout", 60*time.Second, "how long to wait")
	f.StringVar(&id, "id", "", "message id; sending an id again answers the same outcome")
	return c
}

func (a *App) outcome(o *wire.Outcome) error {
	if o.Value == nil && batos.MessageState(o.State) == batos.Done {
		o.Value = &wire.Value{Value: object.None{}} // null was its answer
	}
	if a.json {
		a.print(o)
		if o.Error != nil {
			return silent{o.Error.Err()}
		}
		return nil
	}
	switch {
	case o.Error != nil:
		return o.Error.Err()
	case o.Value != nil:
		a.show(o.Value.Value)
	default:
		a.line("%s %s", o.ID, o.State)
	}
	return nil
}

// silent is an error that was printed already.
type silent struct{ error }

func (s silent) Unwrap() error { return s.error }

// Printed reports whether err was shown to the user already, and its code.
func Printed(err error) (batos.Code, bool) {
	var s silent
	if errors.As(err, &s) {
		return batos.CodeOf(s.error), true
	}
	return "", false
}

func (a *App) new() *cobra.Command {
	var parent, slots string
	c := &cobra.Command{
		Use:     "new NAME",
		Short:   "Make an object",
		Example: `  batos new counter --slots '{"count": 3}'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := wire.New{Name: args[0], Parent: parent}
			if slots != "" {
				text, err := a.argument(slots)
				if err != nil {
					return err
				}
				v, err := wire.ParseValue([]byte(text))
				if err != nil {
					return batos.Errorf(batos.Invalid, "--slots: %w", err)
				}
				in.Slots.Value = v
			}
			var out wire.Created
			if err := a.call(cmd.Context(), http.MethodPost, "/objects", in, &out); err != nil {
				return err
			}
			return a.done(out, "%s %s", out.OID, out.Name)
		},
	}
	c.Flags().StringVar(&parent, "parent", "", "object to delegate to (default genesis_obj)")
	c.Flags().StringVar(&slots, "slots", "", "data slots as a JSON object, or @FILE")
	return c
}

func (a *App) set() *cobra.Command {
	return &cobra.Command{
		Use:     "set TARGET SLOT JSON",
		Short:   "Set a slot",
		Example: "  batos set counter count 10",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := a.value(args[2])
			if err != nil {
				return err
			}
			var out wire.Changed
			path := "/objects/" + url.PathEscape(args[0]) + "/slots/" + url.PathEscape(args[1])
			if err := a.call(cmd.Context(), http.MethodPut, path, wire.Set{Value: v}, &out); err != nil {
				return err
			}
			return a.done(out, "%s", out.TID)
		},
	}
}

func (a *App) def() *cobra.Command {
	return &cobra.Command{
		Use:     "def TARGET FILE.star",
		Short:   "Define methods from a file",
		Long:    "Define the methods (and data slots) of a file in the dialect. - reads standard input.",
		Example: "  batos def counter reset.star",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := a.argument("@" + strings.TrimPrefix(args[1], "@"))
			if err != nil {
				return err
			}
			var out wire.Defined
			path := "/objects/" + url.PathEscape(args[0]) + "/methods"
			if err := a.call(cmd.Context(), http.MethodPost, path, wire.Def{Source: source}, &out); err != nil {
				return err
			}
			return a.done(out, "defined %s", strings.Join(out.Names, ", "))
		},
	}
}

func (a *App) inspect() *cobra.Command {
	var at string
	c := &cobra.Command{
		Use:   "inspect TARGET",
		Short: "Show an object: slots, methods, where they come from",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.Object
			path := "/objects/" + url.PathEscape(args[0])
			if at != "" {
				m, err := moment(at)
				if err != nil {
					return err
				}
				path += "?at=" + m
			}
			if err := a.call(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			a.object(&out)
			return nil
		},
	}
	c.Flags().StringVar(&at, "at", "", "as of a tid or a time")
	return c
}

func (a *App) eval() *cobra.Command {
	var target string
	c := &cobra.Command{
		Use:   "eval 'EXPR'",
		Short: "Evaluate an expression of the dialect",
		Long: "Evaluate an expression of the dialect, or run statements: assignments, loops, functions, with return for an answer.\n" +
			"What they change is committed. @FILE and @- read the text.",
		Example: "  batos eval 'sum([1, 2, 3])'\n  batos eval --self counter 'self.count * 2'\n  batos eval --self counter 'self.count = 0'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := a.argument(args[0])
			if err != nil {
				return err
			}
			var out wire.Result
			if err := a.call(cmd.Context(), http.MethodPost, "/eval", wire.Eval{Expression: text, Target: target}, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			a.show(out.Value.Value)
			return nil
		},
	}
	c.Flags().StringVar(&target, "self", "", "what self is (default genesis_obj)")
	return c
}

func (a *App) mission() *cobra.Command {
	c := &cobra.Command{Use: "mission", Short: "See and steer missions", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return batos.Errorf(batos.Invalid, "say what: list, show, approve, reject, cancel or undo")
	}}
	c.AddCommand(a.missionList(), a.missionShow())
	decide := func(verb, short, long string) *cobra.Command {
		var on string
		d := &cobra.Command{
			Use: verb + " MISSION", Short: short, Long: long, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				var out wire.Mission
				if err := a.call(cmd.Context(), http.MethodPost, "/missions/"+url.PathEscape(args[0])+"/"+verb, wire.Decision{On: on}, &out); err != nil {
					return err
				}
				state := out.State
				if verb == "undo" {
					state = "taken back"
				}
				return a.done(out, "%s %s", out.OID, state)
			},
		}
		if verb == "approve" {
			d.Flags().StringVar(&on, "on", "", "put the method on this parent of the receiver, for all that delegate to it")
		}
		return d
	}
	c.AddCommand(
		decide("approve", "Let a proved method in", "Let a proved method in. With --on a mission that has installed its method already has it moved to the parent."),
		decide("reject", "Turn a proved method down", ""),
		decide("cancel", "Stop a mission", ""),
		decide("undo", "Take back what a mission brought about", "Take back the method that a mission installed and what the messages that had waited for it changed, in one transaction."),
	)
	return c
}

func (a *App) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what the server serves", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Status
			if err := a.call(cmd.Context(), http.MethodGet, "/status", nil, &out); err != nil {
				return err
			}
			core := out.Core.Reason
			if out.Core.Online {
				core = out.Core.Model + " (" + out.Core.Profile + ")"
			}
			if err := a.done(out, "batos %s, image %s at %s, %d objects\nmodel: %s", out.Release, out.Image, out.TID, out.Objects, core); err != nil || a.json {
				return err
			}
			for _, w := range out.Warnings {
				a.line("warning: %s", w)
			}
			return nil
		},
	}
}

// call is one request with this call's client.
func (a *App) call(ctx context.Context, method, path string, in, out any) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	return client.Do(ctx, method, path, in, out)
}

// done prints out, or the line.
func (a *App) done(out any, format string, args ...any) error {
	if a.json {
		a.print(out)
		return nil
	}
	a.line(format, args...)
	return nil
}
