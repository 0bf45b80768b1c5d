package exec_test

import (
	"fmt"
	"testing"
	"time"

	"batos"
	"batos/internal/exec"
	"batos/object"
)

// newAsker is a world whose object asker has effects: ask_ repeatable, post_
// external, each with one argument.
func newAsker(t *testing.T, c exec.Config, body string) (*world, batos.OID) {
	t.Helper()
	w := newWorld(t, c)
	effect := func(kind string, external bool) exec.Primitive {
		return exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
			return c.Effect(kind, external, list(c.Args()...))
		}}
	}
	w.r.Primitive("test.infer", effect(exec.EffectInfer, false))
	w.r.Primitive("test.get", effect("get", false))
	w.r.Primitive("test.post", effect("post", true))
	w.load(object.Protected, batos.Genesis, map[string]string{"asker": `
parents = [ref("traits_obj")]
count = 0
infer_ = primitive("test.infer")
get_ = primitive("test.get")
post_ = primitive("test.post")
` + body})
	return w, w.oid("asker")
}

// drive runs a message to its end and carries out what it wants, with answers
// made of kind and arguments. crash, if not nil, may change what survived
// before the next run.
func drive(t *testing.T, w *world, req exec.Request, crash func(*exec.Request)) (exec.Outcome, []string) {
	t.Helper()
	var done []string
	for range 20 {
		out := w.run(req)
		if out.Status != exec.Suspended {
			return out, done
		}
		req.Journal = out.Journal
		if crash != nil {
			crash(&req)
		}
		if out.Wanted.Seq != len(out.Journal) {
			t.Fatalf("wanted effect %d, journal has %d", out.Wanted.Seq, len(out.Journal))
		}
		what := out.Wanted.Kind + show(out.Wanted.Args)
		done = append(done, what)
		req.Journal = append(req.Journal, out.Wanted.Done(object.Str(what), nil))
	}
	t.Fatal("the run never ends")
	return exec.Outcome{}, nil
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

const asking = `
def go(self):
    self.count += 1
    a = self.infer_("x")
    t = time.now()
    b = self.post_(a, random())
    self.count += 1
    c = self.get_("y")
    self.answers = [a, b, c, t]
    return self.count
`

func TestEffectsSuspendAndReplay(t *testing.T) {
	now := clock
	w, asker := newAsker(t, exec.Config{Clock: func() time.Time { now = now.Add(time.Second); return now }}, asking)
	out, done := drive(t, w, exec.Request{Message: message(asker, "go")}, nil)
	if out.Status != exec.Done || !object.Equal(out.Value, num(2)) {
		t.Fatalf("%s %v, answer %s", out.Status, out.Err, show(out.Value))
	}
	if len(done) != 3 {
		t.Errorf("carried out %v, want each of three effects once", done)
	}
	w.want(asker, "count", num(2))
	if len(out.Journal) != 5 || out.Usage.Effects != 5 {
		t.Fatalf("journal of %d, %d effects, want 5", len(out.Journal), out.Usage.Effects)
	}
	answers, _ := w.slot(asker, "answers").(*object.List)
	if at := answers.Items[3]; at != out.Journal[1].Result || at != object.Value(object.Time(clock.Add(time.Second).UnixMicro())) {
		t.Errorf("the time is %s: not what the first run saw", show(at))
	}
	// the same journal again gives the same end, with nothing to carry out
	if again, done := drive(t, w, exec.Request{Message: message(asker, "go"), Journal: out.Journal}, nil); again.Status != exec.Done || len(done) != 0 {
		t.Errorf("replay: %s %v, carried out %v", again.Status, again.Err, done)
	}
}

// A crash forgets what was not durable: the last inline effects, or the result
// of a repeatable effect. The end is the same.
func TestCrashBetweenEffects(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, asking)
	whole, _ := drive(t, w, exec.Request{Message: message(asker, "go")}, nil)
	want := w.slot(asker, "answers")
	for keep := range whole.Journal {
		w, asker := newAsker(t, exec.Config{}, asking)
		out, _ := drive(t, w, exec.Request{Message: message(asker, "go"), Journal: whole.Journal[:keep]}, nil)
		if out.Status != exec.Done {
			t.Fatalf("after %d effects: %s %v", keep, out.Status, out.Err)
		}
		w.want(asker, "answers", want)
	}
}

func TestRequestJournalIsNotWrittenTo(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, "def go(self):\n    return [random(), random()]")
	journal := make([]exec.Effect, 0, 8)
	a := w.run(exec.Request{Message: message(asker, "go"), Journal: journal})
	if spare := journal[:1][0]; spare.Kind != "" {
		t.Errorf("the array behind the request's journal got %v", spare)
	}
	b := w.run(exec.Request{Message: message(asker, "go")})
	if !object.Equal(a.Value, b.Value) {
		t.Errorf("random numbers of one message differ: %s and %s", show(a.Value), show(b.Value))
	}
	m := message(asker, "go")
	m.ID = "m2"
	if c := w.run(exec.Request{Message: m}); object.Equal(a.Value, c.Value) {
		t.Errorf("random numbers of two messages are equal: %s", show(c.Value))
	}
}

// mode decides what go asks for, so that a replay can take another way.
const switching = `
mode = 1

def go(self):
    out = [self.get_("first")]
    if self.mode == 1:
        out.append(self.get_("one"))
        out.append(self.get_("last"))
    if self.mode == 2:
        out.append(self.get_("two"))
    if self.mode == 3:
        self.post_("three")
    if self.mode == 4:
        self.get_("one")
        self.post_("four")
        self.get_("after")
    return out
`

func TestDivergence(t *testing.T) {
	full := func(t *testing.T, mode int64) (*world, batos.OID, []exec.Effect) {
		w, asker := newAsker(t, exec.Config{}, switching)
		w.done(asker, "setSlot_value_", object.Str("mode"), num(mode))
		out, _ := drive(t, w, exec.Request{Message: message(asker, "go")}, nil)
		if out.Status != exec.Done {
			t.Fatal(out.Err)
		}
		return w, asker, out.Journal
	}
	for _, c := range []struct {
		name       string
		first      int64 // mode in which the journal was made
		then       int64 // mode of the replay
		carriedOut []string
		code       batos.Code
		kept       int
	}{
		{"same way", 1, 1, nil, "", 3},
		{"repeatable effects are done again from the cut on", 1, 2, []string{`get["two"]`}, "", 2},
		{"an external effect may come after a cut", 1, 3, []string{`post["three"]`}, "", 2},
		{"an external effect at the cut", 3, 2, nil, batos.Diverged, 0},
		{"an external effect after the cut", 4, 2, nil, batos.Diverged, 0},
		{"an external effect before the cut", 4, 4, nil, "", 4},
		{"a run that ends too early drops what is repeatable", 1, 9, nil, "", 1},
		{"a run that ends before its external effect", 4, 9, nil, batos.Diverged, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, asker, journal := full(t, c.first)
			w.done(asker, "setSlot_value_", object.Str("mode"), num(c.then))
			out, done := drive(t, w, exec.Request{Message: message(asker, "go"), Journal: journal}, nil)
			if c.code != "" {
				wantFailure(t, out, c.code, "has already changed the world")
				return
			}
			if out.Status != exec.Done || len(out.Journal) != c.kept {
				t.Errorf("%s %v, journal of %d, want %d", out.Status, out.Err, len(out.Journal), c.kept)
			}
			wantList(t, "carried out", done, c.carriedOut...)
		})
	}
}

func TestIntentWithoutOutcome(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, "def go(self):\n    return self.post_(1)")
	out := w.send(asker, "go")
	if out.Status != exec.Suspended || !out.Wanted.External {
		t.Fatalf("%s %v", out.Status, out.Err)
	}
	intent := out.Wanted.Intent()
	if !intent.Pending() {
		t.Fatal("an intent is pending")
	}
	out = w.run(exec.Request{Message: message(asker, "go"), Journal: []exec.Effect{intent}})
	wantFailure(t, out, batos.OutcomeUnknown, "effect 0 (post)")
}

func TestEffectThatFailed(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, "def go(self):\n    return self.get_(1)")
	out := w.send(asker, "go")
	bad := out.Wanted.Done(nil, batos.Errorf(batos.Offline, "the cognitive core is offline"))
	out = w.run(exec.Request{Message: message(asker, "go"), Journal: []exec.Effect{bad}})
	wantFailure(t, out, batos.Offline, "the cognitive core is offline")
}

// Code has no way to go on after it asked for an effect: the dialect has no
// handlers, and where it looks the other way the run has ended all the same.
func TestSuspensionCannotBeCaught(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, `
def go(self):
    x = getattr(self, "fine", 0)
    ok = hasattr(self, "nothing") or [self.get_(1) for i in range(2)]
    self.count = 99
    return x
`)
	out := w.send(asker, "go")
	if out.Status != exec.Suspended || out.Wanted.Seq != 0 || len(out.Outbox) != 0 {
		t.Errorf("%s %v", out.Status, out.Err)
	}
	w.want(asker, "count", num(0))
}

func TestParkKeepsTheJournal(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, `
def go(self):
    self.count = 5
    a = self.get_("x")
    return self.helper_(a, 2, by = [self])
`)
	out, _ := drive(t, w, exec.Request{Message: message(asker, "go")}, nil)
	if out.Status != exec.NotUnderstood || len(out.Journal) != 1 {
		t.Fatalf("%s %v, journal of %d", out.Status, out.Err, len(out.Journal))
	}
	m := out.Missing
	if m.Receiver != asker || m.Selector != "helper_" || len(m.Args) != 2 || !object.Equal(m.Args[1], num(2)) ||
		len(m.Kwargs) != 1 || m.Kwargs[0].Name != "by" || !object.Equal(m.Kwargs[0].Value, list(object.Ref(asker))) {
		t.Errorf("missing %+v", *m)
	}
	w.want(asker, "count", num(0))
	w.def(asker, batos.Genesis, "def helper_(self, a, n, by):\n    return a * n")
	out, done := drive(t, w, exec.Request{Message: message(asker, "go"), Journal: out.Journal}, nil)
	if out.Status != exec.Done || len(done) != 0 || !object.Equal(out.Value, object.Str(`get["x"]get["x"]`)) {
		t.Errorf("resumed: %s %v %s, carried out %v", out.Status, out.Err, show(out.Value), done)
	}
}

func TestTrialRefusesExternalEffects(t *testing.T) {
	w, asker := newAsker(t, exec.Config{}, "")
	req := exec.Request{
		Message:   message(asker, "go"),
		Candidate: &exec.Candidate{OID: asker, Selector: "go", Source: "def go(self):\n    return self.post_(1)"},
	}
	wantFailure(t, w.run(req), batos.Refused, "a trial may not")
	req.Candidate.Source = "def go(self):\n    return self.get_(1)"
	if out := w.run(req); out.Status != exec.Suspended {
		t.Errorf("a repeatable effect: %s %v", out.Status, out.Err)
	}
}

func TestInlineEffects(t *testing.T) {
	w := newWorld(t, exec.Config{})
	calls := 0
	w.r.Primitive("test.roll", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		return c.Inline("roll", object.None{}, func() (object.Value, error) {
			if calls++; calls == 1 {
				return nil, batos.Errorf(batos.Busy, "not yet")
			}
			return num(int64(calls)), nil
		})
	}})
	o := w.object("o", "roll_ = primitive(\"test.roll\")")
	out := w.send(o, "roll_")
	wantFailure(t, out, batos.Busy, "not yet")
	if len(out.Journal) != 0 {
		t.Errorf("a failed inline effect was recorded: %v", out.Journal)
	}
	out = w.send(o, "roll_")
	again := w.run(exec.Request{Message: message(o, "roll_"), Journal: out.Journal})
	if !object.Equal(out.Value, num(2)) || !object.Equal(again.Value, num(2)) || calls != 2 {
		t.Errorf("answers %s and %s after %d calls", show(out.Value), show(again.Value), calls)
	}
}

func TestNotUnderstoodPassesThroughNesting(t *testing.T) {
	w := newWorld(t, exec.Config{})
	a := w.object("a", "def go(self, f):\n    return sorted([2, 1], key = lambda n: self.deep(n))\n\ndef deep(self, n):\n    return [x for x in [self.unknown_to_all(n)]]")
	out := w.send(a, "go", object.None{})
	if out.Status != exec.NotUnderstood || out.Missing.Receiver != a || out.Missing.Selector != "unknown_to_all" {
		t.Errorf("%s %v %v", out.Status, out.Err, out.Missing)
	}
}
