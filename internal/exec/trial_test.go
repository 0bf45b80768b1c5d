package exec_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/object"
)

func TestCandidate(t *testing.T) {
	w := newWorld(t, exec.Config{})
	base := w.object("base", "def speak(self):\n    return \"base\"\n\ndef ask(self):\n    return self.speak()")
	w.load(object.Open, batos.Person, map[string]string{
		"middle": "parents = [ref(\"base\")]",
		"leaf":   "parents = [ref(\"middle\")]\nn = 1",
		"rebel":  "parents = [ref(\"middle\")]\ndef speak(self):\n    return \"rebel \" + resend()",
	})
	middle, leaf, rebel := w.oid("middle"), w.oid("leaf"), w.oid("rebel")
	source := "def speak(self):\n    return \"tried, over \" + resend()"
	for _, c := range []struct {
		target batos.OID
		sel    batos.Selector
		want   string
	}{
		{middle, "speak", "tried, over base"},
		{leaf, "speak", "tried, over base"},
		{leaf, "ask", "tried, over base"},
		{base, "speak", "base"},
		{rebel, "speak", "rebel tried, over base"},
	} {
		out := w.run(exec.Request{Message: message(c.target, c.sel), Candidate: &exec.Candidate{OID: middle, Selector: "speak", Source: source}})
		if out.Status != exec.Done || !object.Equal(out.Value, object.Str(c.want)) {
			t.Errorf("%s to %s: %s %v %s, want %q", c.sel, c.target, out.Status, out.Err, show(out.Value), c.want)
		}
	}
	if got := w.done(leaf, "speak"); !object.Equal(got, object.Str("base")) {
		t.Errorf("after the trials: %s", show(got))
	}
}

func TestCandidateHasTheAuthorityOfGeneratedCode(t *testing.T) {
	w := newWorld(t, exec.Config{})
	victim, o := w.object("victim", "n = 1"), w.object("o", "n = 1\nfriend = ref(\"victim\")")
	try := func(body string) exec.Outcome {
		return w.run(exec.Request{Message: message(o, "go"), Candidate: &exec.Candidate{OID: o, Selector: "go", Source: "def go(self):\n    " + body}})
	}
	wantFailure(t, try("self.friend.n = 2"), batos.Denied, "writes its receiver")
	wantFailure(t, try("self._v_x = 2"), batos.Denied, "volatile")
	wantFailure(t, try("self.go = 2; self.n = 3"), batos.Refused, "holds behaviour")
	wantFailure(t, try("return ("), batos.Invalid, "go:2:")
	if out := try("self.n = 2"); out.Status != exec.Done || out.Usage.Written == 0 {
		t.Errorf("%s %v", out.Status, out.Err)
	}
	if out := try("return self.other_method(1)"); out.Status != exec.NotUnderstood {
		t.Errorf("a helper that is missing: %s %v", out.Status, out.Err)
	}
	w.want(victim, "n", num(1))
	w.want(o, "n", num(1))
}

// The trial shows its writes as changes of the transaction, and not itself.
func TestTrialDiff(t *testing.T) {
	w := newWorld(t, exec.Config{})
	o := w.object("o", "n = 1\nlog = [1]")
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	out := w.r.Run(context.Background(), tx, exec.Request{
		Message: message(o, "go"), Lineage: exec.DefaultLineage,
		Candidate: &exec.Candidate{OID: o, Selector: "go", Source: "def go(self):\n    self.n += 1\n    self.log.append(2)\n    self.log.pop()"},
	})
	if out.Status != exec.Done {
		t.Fatal(out.Err)
	}
	cs, err := tx.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if len(cs) != 1 || len(cs[0].Slots) != 1 || cs[0].Slots[0].Name != "n" {
		t.Errorf("changes %+v, want slot n of one object", cs)
	}
}

// What a trial reads is what the live run reads, but for the method itself.
func TestTrialReadsAsTheLiveRun(t *testing.T) {
	w := newWorld(t, exec.Config{})
	base := w.object("base", "rate = 2")
	w.load(object.Open, batos.Person, map[string]string{"leaf": "parents = [ref(\"base\")]\nn = 1"})
	leaf := w.oid("leaf")
	const source = "def go(self):\n    self.n += self.rate\n    return [self.clone(), self.slot_names_()][1][1:2]"
	for _, holder := range []batos.OID{leaf, base} {
		place := image.Place{OID: holder, Slot: "go"}
		digest := func(c *exec.Candidate) (digest [32]byte) {
			tx, err := w.im.Begin(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Abort()
			out := w.r.Run(context.Background(), tx, exec.Request{Message: message(leaf, "go"), Lineage: exec.DefaultLineage, Candidate: c})
			if out.Status != exec.Done {
				t.Fatal(out.Err)
			}
			return tx.ReadDigest(place)
		}
		trial := digest(&exec.Candidate{OID: holder, Selector: "go", Source: source})
		w.def(holder, batos.Persona, source)
		if digest(nil) != trial {
			t.Errorf("installed on %s, the method reads something else", holder)
		}
		if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error { return tx.DeleteSlot(holder, "go") }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVolatileSlotsLiveInTheProcess(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.load(object.Protected, batos.Genesis, map[string]string{"cache": `
parents = [ref("traits_obj")]

def keep(self, v):
    self._v_kept = [v]
    self._v_kept.append("more")

def kept(self):
    return self._v_kept if self.has_slot_("_v_kept") else None

def fail_keeping(self):
    self._v_kept = "never"
    fail("no")

def drop(self):
    return self.remove_slot_("_v_kept")
`})
	cache := w.oid("cache")
	before := w.im.LastTID()
	w.done(cache, "keep", num(1))
	w.fails(batos.Raised, "no", cache, "fail_keeping")
	if got := w.done(cache, "kept"); !object.Equal(got, list(num(1), object.Str("more"))) {
		t.Errorf("kept %s", show(got))
	}
	if w.im.LastTID() != before {
		t.Error("a volatile slot was stored")
	}
	other := exec.New(exec.Config{})
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if out := other.Run(context.Background(), tx, exec.Request{Message: message(cache, "kept"), Lineage: exec.DefaultLineage}); out.Value != object.Value(object.None{}) {
		t.Errorf("another process sees %s", show(out.Value))
	}
	w.done(cache, "drop")
	if got := w.done(cache, "kept"); got != object.Value(object.None{}) {
		t.Errorf("after removal: %s", show(got))
	}
}

func TestPrimitivesSeeTheTransaction(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.r.Primitive("test.len", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		v, _, err := c.Tx().Slot(c.Receiver(), "log")
		if err != nil {
			return nil, err
		}
		l, _ := v.(*object.List)
		if c.Selector() != "len_" || c.Authority() != batos.Person || c.Message().ID != "m1" || c.Trial() {
			return nil, batos.Errorf(batos.Raised, "wrong call: %s %s", c.Selector(), c.Authority())
		}
		return num(int64(len(l.Items))), nil
	}})
	w.r.Primitive("test.twice", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		for range 2 {
			if _, err := c.Send(c.Receiver(), "grow", c.Args(), c.Kwargs()); err != nil {
				return nil, err
			}
		}
		if err := c.SendLater(c.Receiver(), "grow", c.Args(), nil); err != nil {
			return nil, err
		}
		v, _, err := c.Tx().Slot(c.Receiver(), "log")
		return v, err
	}})
	o := w.object("o", `
log = []
len_ = primitive("test.len")
twice_ = primitive("test.twice")

def grow(self, n, by = 0):
    self.log.append(n + by)

def go(self):
    self.log.append(1)
    n = self.len_()
    self.log.append(2)
    return [n, self.len_(), self.twice_(5, by = 1), self.log]
`)
	out := w.send(o, "go")
	all := list(num(1), num(2), num(6), num(6))
	if want := list(num(1), num(2), all, all); out.Status != exec.Done || !object.Equal(out.Value, want) || len(out.Outbox) != 1 {
		t.Errorf("%s %v %s, want %s", out.Status, out.Err, show(out.Value), show(want))
	}
}

func TestFaultsStayInTheMessage(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.r.Primitive("test.panic", exec.Primitive{Fn: func(*exec.Call) (object.Value, error) { panic("oh no") }})
	o := w.object("o", "panic_ = primitive(\"test.panic\")\nn = 1")
	w.fails(batos.Raised, "oh no", o, "panic_")
	w.fails(batos.NotFound, "", 0xffff, "n")
	m := message(o, "n")
	m.Args = []byte{0xc1}
	if out := w.run(exec.Request{Message: m}); out.Status != exec.Failed {
		t.Errorf("arguments that are no arguments: %s", out.Status)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	w.def(o, batos.Person, "def spin(self):\n    while True:\n        pass")
	tx2, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx2.Abort()
	if out := w.r.Run(ctx, tx2, exec.Request{Message: message(o, "spin"), Lineage: exec.DefaultLineage}); out.Status != exec.Failed || out.Err.Code != batos.Cancelled {
		t.Errorf("a cancelled run: %s %v", out.Status, out.Err)
	}
}

// Many runs share one Runner: compiled methods, primitives, volatile slots.
func TestConcurrentRuns(t *testing.T) {
	const workers, each = 8, 25
	w := newWorld(t, exec.Config{})
	w.load(object.Protected, batos.Genesis, map[string]string{"shared": `
parents = [ref("traits_obj")]

def tally(self, n):
    self._v_last = [n, self._v_last if self.has_slot_("_v_last") else None][:1]
    return self.bump(n)

def bump(self, n):
    return n + 1
`})
	oids := make([]batos.OID, workers)
	for i := range oids {
		oids[i] = w.object(fmt.Sprintf("o%d", i), "n = 0\nlog = []\n\ndef inc(self, by):\n    self.log.append(by)\n    self.n += shared_obj.tally(by)\n    return self.n")
	}
	var wg sync.WaitGroup
	for _, oid := range oids {
		wg.Go(func() {
			for i := range each {
				if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
					out := w.r.Run(context.Background(), tx, exec.Request{Message: message(oid, "inc", num(int64(i))), Lineage: exec.DefaultLineage})
					if out.Status != exec.Done {
						return out.Err
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, oid := range oids {
		w.want(oid, "n", num(each*(each-1)/2+each))
	}
}
