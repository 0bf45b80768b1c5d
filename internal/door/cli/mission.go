package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos/internal/wire"
	"batos/object"
)

// showMission tells all that a mission keeps; with prompts also what each
// inference was asked and answered, word by word.
func (a *App) showMission(m *wire.Mission, prompts bool) {
	a.line("mission %s: %s for %s (%s)", m.OID, m.Selector, m.Name, m.Receiver)
	took, waiting := "", "waiting"
	if m.Ended != nil {
		took, waiting = ", took "+short(m.Ended.Sub(m.Began)), "waited"
	}
	a.line("  state       %s (%s), began %s%s", m.State, m.Status, m.Began.Local().Format(time.DateTime), took)
	if m.Error != nil {
		a.line("  error       %s: %s", m.Error.Code, m.Error.Message)
	}
	a.line("  inferences  %d, %d tokens generated, %d read", m.Inferences, m.Tokens, m.PromptTokens)
	a.line("  %-11s %s", waiting, strings.Join(m.Waiting, ", "))
	if m.Version > 0 {
		gone := ""
		if m.Gone {
			gone = ", taken back or replaced since"
		}
		a.line("  installed   version %d%s", m.Version, gone)
	}
	if m.Data == nil {
		return
	}
	if record, _ := get(m.Data.Value, "record").(*object.List); record != nil && len(record.Items) > 0 {
		a.line("")
		for _, w := range record.Items {
			a.work(w, prompts)
		}
	}
	attempts, _ := get(m.Data.Value, "attempts").(*object.List)
	if attempts == nil {
		return
	}
	for _, at := range attempts.Items {
		a.attempt(at, prompts)
	}
}

// work is a line of a mission's record: a piece of work beside the writing.
func (a *App) work(w object.Value, prompts bool) {
	what := said(w, "remark")
	if what == "" {
		what = cost(w)
	}
	if e := said(w, "error"); e != "" {
		what += ": " + e
	}
	a.line("  %s", strings.TrimRight(fmt.Sprintf("%-15s %-6s %-15s %s", said(w, "state"), said(w, "persona"), said(w, "kind"), what), " "))
	if prompts {
		a.exchange(w)
	}
}

func (a *App) attempt(at object.Value, prompts bool) {
	a.line("")
	who := fmt.Sprintf("  attempt %s by %s", text(get(at, "number")), text(get(at, "persona")))
	for _, s := range []string{cost(at), confidence(at)} {
		if s != "" {
			who += ", " + s
		}
	}
	a.line("%s: %s", who, cmp.Or(said(at, "error"), "passed"))
	if prompts {
		a.exchange(at)
	}
	if source := said(at, "source"); source != "" {
		title := ""
		if prompts {
			title = "method"
		}
		a.quote(title, source)
	}
	if d := said(at, "doubt"); d != "" {
		a.line("    doubt: %s", d)
	}
	if checks, _ := get(at, "checks").(*object.List); checks != nil && len(checks.Items) > 0 {
		a.line("    %s", strings.Join(items(checks), "; "))
	}
}

// exchange is what a model was asked and what it answered.
func (a *App) exchange(w object.Value) {
	for _, part := range []string{"prompt", "answer"} {
		if s := said(w, part); s != "" {
			a.quote(part, s)
		}
	}
}

func (a *App) quote(title, s string) {
	if title != "" {
		a.line("    %s", title)
	}
	for _, l := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		a.line("    │ %s", l)
	}
}

// said is a text of an entry, or "" where it has none.
func said(v object.Value, key string) string {
	s, _ := get(v, key).(object.Str)
	return string(s)
}

// cost is what an inference took: time and tokens.
func cost(v object.Value) string {
	if get(v, "tokens") == nil {
		return ""
	}
	s := fmt.Sprintf("%s tokens generated, %s read", text(get(v, "tokens")), text(get(v, "prompt_tokens")))
	began, ok1 := get(v, "began").(object.Time)
	ended, ok2 := get(v, "ended").(object.Time)
	if ok1 && ok2 {
		s = short(ended.AsTime().Sub(began.AsTime())) + ", " + s
	}
	return s
}

func confidence(v object.Value) string {
	if c, ok := get(v, "confidence").(object.Float); ok && c > 0 {
		return fmt.Sprintf("confidence %.3f", float64(c))
	}
	return ""
}

// short is a duration as people say it: three digits.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func (a *App) missionList() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List missions, the newest last", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Missions
			if err := a.call(cmd.Context(), http.MethodGet, "/missions?limit="+strconv.Itoa(limit), nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			if out.More {
				a.line("… and older ones; --limit shows more")
			}
			for _, m := range out.Missions {
				a.line("%-8s %-18s %s %s (attempts %d, tokens %d)", m.OID, m.State, m.Name, m.Selector, m.Attempts, m.Tokens)
			}
			if len(out.Missions) == 0 {
				a.line("no missions yet")
			}
			return nil
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 100, "how many")
	return c
}

func (a *App) missionShow() *cobra.Command {
	var prompts bool
	c := &cobra.Command{
		Use: "show MISSION", Short: "Show a mission: who did what, attempts, verdicts, times and tokens", Args: cobra.ExactArgs(1),
		Long: "Show a mission, while it is under way or afterwards: who did what, attempts, verdicts, times and tokens. --json has all of it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.Mission
			if err := a.call(cmd.Context(), http.MethodGet, "/missions/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			a.showMission(&out, prompts)
			return nil
		},
	}
	c.Flags().BoolVar(&prompts, "prompts", false, "with what each inference was asked and answered")
	return c
}
