package kernel

import (
	"context"
	"strings"
	"testing"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

func (w *world) loadCodex(old, new string) {
	w.t.Helper()
	text := strings.Replace(genesis.Codex, old, new, 1)
	if text == genesis.Codex {
		w.t.Fatalf("the codex has no %q", old)
	}
	if _, err := w.k.LoadCodex(context.Background(), Person{"tester"}, "codex.md", text); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lastMission() Mission {
	w.t.Helper()
	missions, err := w.k.Missions(context.Background())
	if err != nil || len(missions) == 0 {
		w.t.Fatalf("%d missions, %v", len(missions), err)
	}
	return missions[len(missions)-1]
}

func TestAnEditedCodexChangesTheNextMission(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	plans := func() (n int) {
		for _, r := range w.script.Asked() {
			if isPlan(r) {
				n++
			}
		}
		return n
	}
	if plans() != 1 {
		t.Fatalf("%d plans", plans())
	}
	w.loadCodex("| DECOMPOSING | lead | plan | asked |", "| DECOMPOSING | lead | plan | skipped |")
	w.loadCodex("You write one method of one object", "You write, kindly, one method of one object")
	w.new("meter", "", slot("count", num(1)))
	v, err = w.send("meter", "increment_by", num(1))
	w.want(v, err, num(2))
	// The second load had the first text again, with its own change.
	if plans() != 2 {
		t.Fatalf("%d plans", plans())
	}
	asked := methodRequests(w.script)
	if got := asked[len(asked)-1].Chat[0].Text; !strings.HasPrefix(got, "You write, kindly,") {
		t.Errorf("the prompt is %.60q", got)
	}
	w.loadCodex("| DECOMPOSING | lead | plan | asked |", "| DECOMPOSING | lead | plan | skipped |")
	w.new("gauge", "", slot("count", num(1)))
	v, err = w.send("gauge", "increment_by", num(1))
	w.want(v, err, num(2))
	if plans() != 2 {
		t.Fatalf("%d plans", plans())
	}
	m := w.lastMission()
	if record := fieldsOf(m.Data).list("record"); len(record) == 0 || !strings.Contains(fieldsOf(record[0]).str("remark"), "skipped by the codex") {
		t.Errorf("the record does not say what was skipped: %s", object.Text(m.Data, 1000))
	}
}

func TestABrokenCodexIsRefusedWithItsLine(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	text := strings.Replace(genesis.Codex, "| VALIDATING | checks | tests |", "| JUDGING | checks | tests |", 1)
	text = strings.Replace(text, "| asked | VALIDATING | SYNTHESIZING |", "| asked | JUDGING | SYNTHESIZING |", 1)
	text = strings.Replace(text, "| VALIDATING | checks | second_opinion | asked except covenant | | |\n", "", 1)
	_, err := w.k.LoadCodex(context.Background(), Person{"tester"}, "mine.md", text)
	if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "mine.md:") || !strings.Contains(err.Error(), "has no state JUDGING") {
		t.Fatalf("%v", err)
	}
	c, err := w.k.Codex(context.Background())
	if err != nil || c.Source != genesis.Codex || len(c.Edited) != 0 || len(c.Workflows) != 4 {
		t.Errorf("%v, %v, %v", c.Workflows, c.Edited, err)
	}
}

// Facets go on at the same time: the second is asked before the first has its
// answer.
func TestFacetsRunInParallel(t *testing.T) {
	base := writing(incrementBy)
	reply := base.Reply
	second := make(chan struct{})
	base.Reply = func(n int, r mind.Request) mindtest.Answer {
		switch {
		case strings.HasPrefix(r.Chat[0].Text, "You gather"):
			return mindtest.Answer{Text: `{"must": ["add"], "unclear": []}`, Wait: second}
		case strings.HasPrefix(r.Chat[0].Text, "You describe"):
			close(second)
			return mindtest.Answer{Text: "Raises the \"count\"."}
		}
		return reply(n, r)
	}
	w := awakened(t, setup{script: base})
	w.new("counter", "", slot("count", num(3)))
	w.loadCodex("| DELEGATING | on demand | requirements | skipped | SYNTHESIZING | SYNTHESIZING |\n| DELEGATING | ROBIN | describe | skipped |",
		"| DELEGATING | on demand | requirements | asked | SYNTHESIZING | SYNTHESIZING |\n| DELEGATING | ROBIN | describe | asked |")
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	m := w.lastMission()
	if m.Inferences != 4 || m.State != "COMPLETE" {
		t.Errorf("%d inferences, %s", m.Inferences, m.State)
	}
	in, ierr := w.k.Inspect(context.Background(), batos.Ref{Name: "counter"}, 0)
	if ierr != nil {
		t.Fatal(ierr)
	}
	got, _ := in.State.Slot("increment_by")
	if src := got.(*object.Method).Source; !strings.Contains(src, "\n    \"\"\"Raises the 'count'.\"\"\"\n    self.count") {
		t.Errorf("no docstring by ROBIN:\n%s", src)
	}
	asked := methodRequests(w.script)
	if last := asked[len(asked)-1]; !strings.Contains(last.Chat[1].Text, `Requirements: {"must": ["add"]`) {
		t.Errorf("what BABS found does not reach BRICK:\n%s", last.Chat[1].Text)
	}
}

func TestTheDisplayGoesThroughItsOwnWorkflow(t *testing.T) {
	show := "def display_yourself(self):\n    return {\"view\": \"panel\", \"title\": self.name, \"children\": []}\n"
	w := awakened(t, setup{script: writing(show)})
	v, err := w.send("genesis_obj", "display_yourself")
	if err != nil {
		t.Fatalf("%s: %s", err.Code, err.Text)
	}
	if fieldsOf(v).str("title") != "BAT OS" {
		t.Errorf("answered %s", object.Text(v, 200))
	}
	m := w.lastMission()
	if m.State != "COMPLETE" || m.Attempts != 1 {
		t.Errorf("%s after %d attempts", m.State, m.Attempts)
	}
	var states []string
	for _, r := range fieldsOf(m.Data).list("record") {
		states = append(states, fieldsOf(r).str("state"))
	}
	if strings.Join(states, " ") != "ui_gen_invoke_babs_state ui_gen_invoke_robin_state ui_gen_invoke_alfred_state" {
		t.Errorf("the record has %v", states)
	}
	_ = w.im.View(context.Background(), func(tx *image.Tx) error {
		if name, err := stateSlot(tx, m.OID); name != "current_state*" || err != nil {
			t.Errorf("the context's state is in %s, %v", name, err)
		}
		return nil
	})
}

func TestAssembleMakesAMethodOfALayout(t *testing.T) {
	brief := new(dict).str("selector", "display_yourself").set("slots", namedValues([]mind.NamedShape{
		{Name: "count", Shape: mind.Shape{Kind: mind.IntShape}}, {Name: "tags", Shape: mind.Shape{Kind: mind.ListShape}}, {Name: "label", Shape: mind.Shape{Kind: mind.StrShape}},
	})).value()
	got, err := assemble(brief, `{"view": "panel", "title_slot": "label", "children": [{"view": "number", "label": "n <1>", "slot": "tags", "fact": "count"}, {"view": "text", "label": "count", "slot": "count"}]}`)
	want := "def display_yourself(self):\n    return {\"view\": \"panel\", \"title\": self.label, \"children\": [\n        {\"view\": \"number\", \"label\": \"n <1>\", \"value\": len(self.tags)},\n        {\"view\": \"text\", \"label\": \"count\", \"value\": str(self.count)},\n    ]}\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	for _, bad := range []string{`{"view": "panel", "children": [{"slot": "gold"}]}`, `[1]`, `{"view": "panel", "children": [{"slot": "tags", "fact": "x"}]}`, `{"title_slot": "x"}`} {
		if _, err := assemble(brief, bad); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestDocument(t *testing.T) {
	for _, c := range []struct{ source, text, want string }{
		{"def f(self):\n    return 1\n", "Answers one.", "def f(self):\n    \"\"\"Answers one.\"\"\"\n    return 1\n"},
		{"def f(self, a = {1: 2}):\n\n  return 1\n", "x", "def f(self, a = {1: 2}):\n  \"\"\"x\"\"\"\n  return 1\n"},
		{"def f(self): return 1\n", "x", "def f(self): return 1\n"},
		{"def f(self):\n    \"\"\"own\"\"\"\n    return 1\n", "x", "def f(self):\n    \"\"\"own\"\"\"\n    return 1\n"},
		{"def f(self):\n    return 1\n", "", "def f(self):\n    return 1\n"},
		{"def f(self):\n    return 1\n", "a \"\"\"\nfail(1)\\", "def f(self):\n    \"\"\"a ''' fail(1)/\"\"\"\n    return 1\n"},
	} {
		if got := document(c.source, c.text); got != c.want {
			t.Errorf("%q with %q:\n%q, want\n%q", c.source, c.text, got, c.want)
		}
	}
}

func TestQuestionsAndAuditsLeaveTheirContexts(t *testing.T) {
	w := awakened(t, setup{script: &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if strings.HasPrefix(r.Chat[0].Text, "You are the Blueprint of") && strings.Contains(r.Chat[1].Text, "count of counter is 3") {
			return mindtest.Answer{Text: "It is three."}
		}
		return mindtest.Answer{Text: "def f(self, value):\n    fail(\"no\")\n"}
	}}})
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("orchestrator_obj", "ask_", object.Str("What is the count of counter?"))
	w.want(v, err, object.Str("It is three."))
	for range 3 {
		_, err = w.send("counter", "f", num(1))
		w.wantCode(err, batos.MissionFailed)
	}
	v, err = w.send("orchestrator_obj", "perform_cognitive_efficiency_audit")
	if err != nil {
		t.Fatalf("%s: %s", err.Code, err.Text)
	}
	figures := fieldsOf(fieldsOf(v).get("figures"))
	if figures.int("failed") != 3 || figures.int("attempts") != 9 || figures.int("tokens") == 0 {
		t.Errorf("figures %s", object.Text(v, 500))
	}
	found := strings.Join(stringsOf(fieldsOf(v).get("findings")), "; ")
	for _, want := range []string{"f failed 3 times", "3.0 attempts", "3 of 3 missions failed"} {
		if !strings.Contains(found, want) {
			t.Errorf("the audit does not find %q: %s", want, found)
		}
	}
	_ = w.im.View(context.Background(), func(tx *image.Tx) error {
		kept, _, err := tx.Slot(w.k.roots.active, "finished")
		if err != nil {
			t.Error(err)
		}
		if n, err := tx.Tree(kept.(object.Tree)).Len(); n != 5 || err != nil {
			t.Errorf("%d contexts are kept, %v", n, err)
		}
		return nil
	})
}

func TestAnExperimentComparesTwoWorkflows(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	do := func(sel string, args ...object.Value) object.Value {
		t.Helper()
		v, err := w.send("orchestrator_obj", sel, args...)
		if err != nil {
			t.Fatalf("%s: %s: %s", sel, err.Code, err.Text)
		}
		return v
	}
	str := func(s string) object.Value { return object.Str(s) }
	do("clone_workflow_", str("method_synthesis"), str("no_plan"))
	do("redirect_workflow_", str("no_plan"), str("IDLE"), str("then"), str("SYNTHESIZING"))
	do("experiment_", str("method_synthesis"), str("no_plan"), num(3))
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		w.new(name, "", slot("count", num(1)))
		v, err := w.send(name, "increment_by", num(2))
		w.want(v, err, num(3))
	}
	report := fieldsOf(do("compare_", str("method_synthesis")))
	for _, side := range []string{"original", "variant"} {
		f := fieldsOf(report.get(side))
		if f.int("missions") != 3 || f.get("success") != object.Value(object.Float(1)) || f.get("attempts") != object.Value(object.Float(1)) {
			t.Errorf("%s: %s", side, object.Text(f.d, 300))
		}
	}
	a, _ := fieldsOf(report.get("original")).get("tokens").(object.Float)
	b, _ := fieldsOf(report.get("variant")).get("tokens").(object.Float)
	if a <= b {
		t.Errorf("%g tokens with a plan, %g without", a, b)
	}
	do("adopt_", str("method_synthesis"))
	adopted := w.im.LastTID()
	asked := len(w.script.Asked())
	w.new("h", "", slot("count", num(1)))
	v, err := w.send("h", "increment_by", num(2))
	w.want(v, err, num(3))
	if n := len(w.script.Asked()) - asked; n != 1 {
		t.Errorf("%d inferences after the variant was adopted", n)
	}
	c, cerr := w.k.Codex(context.Background())
	if cerr != nil || strings.Join(c.Workflows, " ") != "method_synthesis ui_generation question_answering self_audit" {
		t.Errorf("workflows %v, %v", c.Workflows, cerr)
	}
	// Undo of the adoption brings back both, experiment and all.
	if _, err := w.k.Undo(context.Background(), Person{"tester"}, adopted); err != nil {
		t.Fatal(err)
	}
	do("discard_", str("method_synthesis"))
	w.new("i", "", slot("count", num(1)))
	asked = len(w.script.Asked())
	v, err = w.send("i", "increment_by", num(2))
	w.want(v, err, num(3))
	if n := len(w.script.Asked()) - asked; n != 2 {
		t.Errorf("%d inferences after the variant was discarded", n)
	}
}

func TestAMissionIsUndoneAsAWhole(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	ctx := context.Background()
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	m := w.lastMission()
	if _, err := w.k.UndoMission(ctx, Person{"tester"}, m.OID); err != nil {
		t.Fatal(err)
	}
	v, err = w.send("counter", "count")
	w.want(v, err, num(3))
	if _, err := w.k.Inspect(ctx, batos.Ref{Name: "counter.increment_by"}, 0); batos.CodeOf(err) != batos.NoSlot {
		t.Errorf("the method is still there: %v", err)
	}
	if m, err := w.k.Mission(ctx, m.OID); err != nil || !m.Gone {
		t.Errorf("it does not tell that its method is gone: %v", err)
	}
	if _, err := w.k.UndoMission(ctx, Person{"tester"}, m.OID); batos.CodeOf(err) != batos.Conflict || !strings.Contains(err.Error(), "was taken back or replaced since; see batos log counter") {
		t.Errorf("undone twice: %v", err)
	}
	// Somebody has built on it: nothing is taken back.
	v, err = w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	if w.lastMission().Gone {
		t.Error("its method is there")
	}
	if _, err := w.k.Set(ctx, Person{"tester"}, batos.Ref{Name: "counter"}, "count", num(50)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.k.UndoMission(ctx, Person{"tester"}, w.lastMission().OID); batos.CodeOf(err) != batos.Conflict {
		t.Errorf("%v", err)
	}
	v, err = w.send("counter", "increment_by", num(1))
	w.want(v, err, num(51))
}

func TestAMethodIsPutOnAParent(t *testing.T) {
	shout := "def shout(self):\n    return self.name.upper()\n"
	w := awakened(t, setup{script: writing(shout, incrementBy)})
	ctx := context.Background()
	// Awaiting approval: the person puts it on the parent at once.
	o, err := w.k.Send(ctx, request("genesis_obj", "shout"))
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := w.k.ApproveOn(ctx, Person{"tester"}, o.Mission, batos.Ref{Name: "orchestrator_obj"}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("what is no parent: %v", err)
	}
	if err := w.k.ApproveOn(ctx, Person{"tester"}, o.Mission, batos.Ref{Name: "traits_obj"}); err != nil {
		t.Fatal(err)
	}
	v, serr := w.send("genesis_obj", "shout")
	w.want(v, serr, object.Str("BAT OS"))
	if _, _, has := w.slotOf("traits_obj", "shout"); !has {
		t.Error("the parent has no method")
	}
	// Installed already: it moves.
	w.new("shelf", "", slot("kind", object.Str("shelf")))
	w.new("counter", "shelf", slot("count", num(3)))
	v, serr = w.send("counter", "increment_by", num(4))
	w.want(v, serr, num(7))
	if err := w.k.ApproveOn(ctx, Person{"tester"}, w.lastMission().OID, batos.Ref{Name: "shelf"}); err != nil {
		t.Fatal(err)
	}
	w.new("other", "shelf", slot("count", num(10)))
	v, serr = w.send("other", "increment_by", num(1))
	w.want(v, serr, num(11))
	v, serr = w.send("counter", "increment_by", num(1))
	w.want(v, serr, num(8))
}

// slotOf is what an object itself holds.
func (w *world) slotOf(target, name string) (batos.OID, object.Value, bool) {
	w.t.Helper()
	var oid batos.OID
	var v object.Value
	has := false
	err := w.im.View(context.Background(), func(tx *image.Tx) (err error) {
		if oid, err = resolve(tx, batos.Ref{Name: target}); err == nil {
			v, has, err = tx.Slot(oid, name)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return oid, v, has
}

// loadPolicies has the model asked for the method, for the work of this row,
// and for nothing else.
func (w *world) loadPolicies(row string) {
	w.t.Helper()
	var out []string
	for _, l := range strings.Split(genesis.Codex, "\n") {
		switch {
		case strings.HasPrefix(l, row):
			l = strings.NewReplacer("| skipped", "| asked", "| asked except covenant", "| asked").Replace(l)
		case strings.HasPrefix(l, "|") && !strings.Contains(l, "| method |"):
			l = strings.Replace(l, "| asked", "| skipped", 1)
		}
		out = append(out, l)
	}
	if _, err := w.k.LoadCodex(context.Background(), Person{"tester"}, "codex.md", strings.Join(out, "\n")); err != nil {
		w.t.Fatal(err)
	}
}

// An object that is shown as a tool gets methods that say what they are for.
func TestAnExportedObjectsMethodIsDocumented(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("exported", object.Bool(true)), slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	_, m, _ := w.slotOf("counter", "increment_by")
	if src := m.(*object.Method).Source; !strings.Contains(src, `"""Increment by; takes int."""`) {
		t.Errorf("installed\n%s", src)
	}
}

// What the system wrote to show itself speaks of its own slots: an object that
// inherits from it gets a display of its own.
func TestADisplayShowsItsReceiver(t *testing.T) {
	script := &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if strings.Contains(r.Chat[len(r.Chat)-1].Text, "JSON object") || strings.Contains(r.Chat[0].Text, "JSON object") {
			return mindtest.Answer{Text: `{"purpose": "show", "reads": [], "changes": [], "steps": ["show"]}`}
		}
		slot := "motto"
		if strings.Contains(r.Chat[len(r.Chat)-1].Text, "count") {
			slot = "count"
		}
		return mindtest.Answer{Text: "def display_yourself(self):\n    return {\"view\": \"panel\", \"title\": str(self." + slot + "), \"children\": []}\n"}
	}}
	w := awakened(t, setup{script: script})
	oid := w.new("counter", "genesis_obj", slot("count", num(3)))
	title := func(target string) string {
		t.Helper()
		v, err := w.send(target, "display_yourself")
		if err != nil {
			t.Fatalf("%s: %s: %s", target, err.Code, err.Text)
		}
		return fieldsOf(v).str("title")
	}
	own := title("genesis_obj")
	if got := title("counter"); got != "3" || own == got {
		t.Errorf("genesis shows %q, the counter %q", own, got)
	}
	if m := w.lastMission(); m.Receiver != oid {
		t.Errorf("the counter's display was written for %s", m.Receiver)
	}
	if again := title("genesis_obj"); again != own {
		t.Errorf("genesis shows %q now", again)
	}
}
