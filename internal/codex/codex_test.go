package codex

import (
	"os"
	"slices"
	"strings"
	"testing"

	"batos"
)

func shipped(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../genesis/persona_codex.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheShippedCodex(t *testing.T) {
	c, err := Parse("persona_codex.md", shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range c.Personas {
		names = append(names, p.Name)
		if p.Adapter != p.Name || p.Voice == "" || p.Title == "" {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(names, []string{"BRICK", "ROBIN", "BABS", "ALFRED"}) {
		t.Errorf("personas %v", names)
	}
	w := c.Workflow("method_synthesis")
	if w == nil || len(w.Steps) != 5 || len(w.Steps[2].Works) != 2 || w.Steps[4].Then != "COMPLETE" || w.Steps[4].Works[1].Kind != "second_opinion" {
		t.Fatalf("method_synthesis: %+v", w)
	}
	if u := c.Workflow("ui_generation"); u == nil || len(u.Steps) != 6 || u.Context != "orchestrator_context_obj" {
		t.Errorf("ui_generation: %+v", u)
	}
	if c.Matrix[0].Selectors[0] != "display_yourself" || len(c.Matrix[1].Selectors) != 0 {
		t.Errorf("matrix %+v", c.Matrix)
	}
	brick := c.Persona("BRICK")
	if len(brick.Prompts) != 3 || brick.Prompts[1].Grammar != "method" || !strings.HasPrefix(brick.Prompts[1].Text, "You write one method") ||
		!strings.Contains(brick.Prompts[1].Text, "\n    self._p_changed = True\nstands") {
		t.Errorf("prompts %+v", brick.Prompts)
	}
	if got := brick.Fill("You are {title}."); got != "You are the Blueprint." {
		t.Error(got)
	}
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		w       Work
		profile string
		want    bool
	}{
		{Work{Policy: Asked}, "seed", true},
		{Work{Policy: Asked, Except: []string{"seed"}}, "seed", false},
		{Work{Policy: Asked, Except: []string{"seed"}}, "covenant", true},
		{Work{Policy: Skipped}, "seed", false},
		{Work{Policy: Skipped, Except: []string{"covenant"}}, "covenant", true},
	} {
		if c.w.Asks(c.profile) != c.want {
			t.Errorf("%+v for %s", c.w, c.profile)
		}
	}
}

// Every way to break the document is named with its line.
func TestProblemsNameLineAndReason(t *testing.T) {
	whole := shipped(t)
	line := func(part string) int {
		i := strings.Index(whole, part)
		if i < 0 {
			t.Fatalf("the codex has no %q", part)
		}
		return 1 + strings.Count(whole[:i], "\n")
	}
	for _, c := range []struct{ old, new, want string }{
		{"- Voice: exact", "- Voise: exact", `a persona has no "Voise"`},
		{"- Adapter: BRICK\n", "", "BRICK has no Adapter"},
		{"### ROBIN", "### BRICK", "the persona BRICK is described twice"},
		{"### ROBIN", "### robin", `"robin" cannot be a persona`},
		{"#### plan for covenant", "#### plan", `"plan" does not say what the prompt is for`},
		{"#### plan for covenant", "#### plot for covenant", `no kind of work is called "plot"`},
		{"grammar=plan", "grammar=plot", `no grammar is called "plot"`},
		{"| DECOMPOSING | lead |", "| DECOMPOSING | BRIC |", `no persona is called "BRIC"`},
		{"| lead | plan | asked | DELEGATING", "| lead | plan | maybe | DELEGATING", `the column model says "maybe"`},
		{"| lead | plan | asked | DELEGATING", "| lead | plan | asked | DELEGATE", `leads to "DELEGATE", which has no row`},
		{"| checks | tests | skipped | COMPLETE | SYN", "| checks | tests | skipped | SYNTHESIZING | SYN", "COMPLETE is not reached"},
		{"| method_synthesis | BRICK |", "| method_sinthesis | BRICK |", `no workflow is called "method_sinthesis"`},
		{"| method_synthesis | BRICK |", "| method_synthesis | – |", `nobody in the column "lead"`},
		{"| display | unhandled_message | display_yourself |", "| display | unhandled_message | – |", "is never reached"},
		{"| State | Persona | Work |", "| Stage | Persona | Work |", `no column "state"`},
		{"| IDLE | – | – | – | DECOMPOSING", "| IDLE | – | – | – | –", "leads nowhere"},
		{"| IDLE | – | – | – | DECOMPOSING | FAILED |", "| IDLE | – | – | – | DECOMPOSING |", "the row has 5 cells, and the table 6 columns"},
		{"| IDLE | – | – | – | DECOMPOSING | FAILED |", "| IDLE | – | – | – | DECOMPOSING | FAILED | x |", "the row has 7 cells, and the table 6 columns"},
		{"| display | unhandled_message |", "| display | unhandled_massage |", `no type "unhandled_massage"; write unhandled_message`},
		{"| method | unhandled_message | – |", "| method | unhandled_message | add |", "needs a row of type unhandled_message without selectors"},
		{"| method | unhandled_message |", "| method | weekly_report |", "needs a row of type unhandled_message without selectors"},
		{"{voice}. Answer the question", "{vioce}. Answer the question", "nothing fills {vioce}; write {voice}"},
		{"grammar=sentence", "grammar=sentence twice", `"twice" means nothing on a fence`},
		{"(at most four short sentences).\n```", "(at most four short sentences).", "the fence that begins here is not closed before the next prompt, line 27"},
		{"#### requirements for covenant", "#### requirements for covenant\n\n```\nOne.\n```", "requirements for covenant has a second text"},
		{"Voice: exact", "Voice: \xff", "is not UTF-8"},
	} {
		_, err := Parse("codex.md", strings.Replace(whole, c.old, c.new, 1))
		if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v", c.new, c.old, err)
			continue
		}
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "codex.md:") || len(err.Error()) > 600 {
			t.Errorf("not one line with a place: %v", err)
		}
		_ = line(c.old)
	}
	_, err := Parse("codex.md", strings.Replace(whole, "| DECOMPOSING | lead |", "| DECOMPOSING | BRIC |", 1))
	if want := "codex.md:" + itoa(line("| DECOMPOSING | lead |")) + ": "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not name %s", err, want)
	}
	if _, err := Parse("codex.md", ""); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("an empty document: %v", err)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func FuzzParse(f *testing.F) {
	f.Add(shipped(f))
	f.Add("## Personas\n### A\n- Title\n")
	f.Add("## Workflows\n### w\n|State|\n|---|\n|x|\n")
	f.Fuzz(func(t *testing.T, s string) {
		_, err := Parse("f.md", s)
		if err != nil && batos.CodeOf(err) == "" {
			t.Errorf("an error without a code: %v", err)
		}
	})
}
