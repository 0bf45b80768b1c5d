package exec_test

import (
	"testing"

	"batos"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

const spender = `
infer_ = primitive("test.infer")

def infer_twice(self):
    return [self.infer_(1), self.infer_(2)]

def later(self, n):
    for i in range(n):
        send_later(self, "later", i)

def make(self, n):
    return [self.new_() for i in range(n)]

def copy(self, n):
    return [self.clone() for i in range(n)]

def write(self, n):
    self.text = "x" * n

def write_again(self, n):
    for i in range(10):
        self.text = "x" * n

def grow(self, n):
    self.list = []
    self.list.append("x" * n)

def fill(self, n):
    self.tree = self.tree_()
    for i in range(n // 100):
        self.tree.set(i, "x" * 100)
`

func TestLineageBudgets(t *testing.T) {
	d := exec.DefaultLineage
	with := func(change func(*exec.Lineage)) exec.Lineage { l := d; change(&l); return l }
	for _, c := range []struct {
		name string
		sel  batos.Selector
		arg  object.Value
		left exec.Lineage
		text string // of the limit; "" if there is enough
	}{
		{"no inferences left", "infer_twice", nil, with(func(l *exec.Lineage) { l.Inferences = 0 }), "inferences"},
		{"no tokens left", "infer_twice", nil, with(func(l *exec.Lineage) { l.Tokens = 0 }), "tokens"},
		{"messages for later", "later", num(5), with(func(l *exec.Lineage) { l.SendLater = 5 }), ""},
		{"too many messages for later", "later", num(6), with(func(l *exec.Lineage) { l.SendLater = 5 }), "messages sent for later"},
		{"no hops left", "later", num(1), with(func(l *exec.Lineage) { l.Hops = 0 }), "hops"},
		{"objects", "make", num(5), with(func(l *exec.Lineage) { l.NewObjects = 5 }), ""},
		{"too many objects", "make", num(6), with(func(l *exec.Lineage) { l.NewObjects = 5 }), "new objects"},
		{"too many clones", "copy", num(6), with(func(l *exec.Lineage) { l.NewObjects = 5 }), "new objects"},
		{"bytes", "write", num(900), with(func(l *exec.Lineage) { l.Written = 1000 }), ""},
		{"the same slot again", "write_again", num(900), with(func(l *exec.Lineage) { l.Written = 1000 }), ""},
		{"too many bytes", "write", num(1001), with(func(l *exec.Lineage) { l.Written = 1000 }), "bytes written"},
		{"too many bytes in a list", "grow", num(1001), with(func(l *exec.Lineage) { l.Written = 1000 }), "bytes written"},
		{"too many bytes in a tree", "fill", num(1000), with(func(l *exec.Lineage) { l.Written = 1000 }), "bytes written"},
		{"no missions left", "unknown_to_all", nil, with(func(l *exec.Lineage) { l.Missions = 0 }), "missions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, exec.Config{})
			w.r.Primitive("test.infer", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
				return c.Effect(exec.EffectInfer, false, c.Args()[0])
			}})
			o := w.object("spender", spender)
			var args []object.Value
			if c.arg != nil {
				args = append(args, c.arg)
			}
			out := w.run(exec.Request{Message: message(o, c.sel, args...), Lineage: c.left})
			if c.text != "" {
				wantFailure(t, out, batos.Limit, c.text)
				return
			}
			if out.Status != exec.Done {
				t.Fatalf("%s %v", out.Status, out.Err)
			}
			left := c.left.Less(out.Usage)
			if c.sel == "later" && left.SendLater != 0 || c.sel == "make" && left.NewObjects != 0 {
				t.Errorf("left %+v", left)
			}
		})
	}
}

// An inference that is in the journal was paid for.
func TestReplayedInferencesAreFree(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.r.Primitive("test.infer", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		return c.Effect(exec.EffectInfer, false, c.Args()[0])
	}})
	o := w.object("spender", spender)
	out, done := drive(t, w, exec.Request{Message: message(o, "infer_twice")}, func(r *exec.Request) {
		if r.Lineage == (exec.Lineage{}) {
			r.Lineage = exec.DefaultLineage
			r.Lineage.Inferences = 2
		}
		r.Lineage.Inferences--
	})
	if out.Status != exec.Done || len(done) != 2 {
		t.Errorf("%s %v after %v", out.Status, out.Err, done)
	}
}

func TestOutbox(t *testing.T) {
	w := newWorld(t, exec.Config{})
	o := w.object("o", "n = 0\n")
	w.def(o, batos.Persona, "def go(self):\n    send_later(self, \"first\", [1], by = self)\n    send_later(self, \"_second\")\n    self.n += 1")
	m := message(o, "go")
	m.ID, m.Lineage, m.Hop = "m7", "m3", 2
	first := w.run(exec.Request{Message: m})
	if first.Status != exec.Done || len(first.Outbox) != 2 {
		t.Fatalf("%s %v, outbox %v", first.Status, first.Err, first.Outbox)
	}
	got := first.Outbox[0]
	want := batos.Message{
		ID: got.ID, Lineage: "m3", Sender: o.String(), Target: o, Selector: "first", Authority: batos.Persona, Hop: 3,
		Args: codec.EncodeArgs([]object.Value{list(num(1))}, []object.Slot{{Name: "by", Value: object.Ref(o)}}),
	}
	if string(got.Args) != string(want.Args) {
		t.Errorf("arguments %x, want %x", got.Args, want.Args)
	}
	got.Args, want.Args = nil, nil
	if got.ID == "" || got.ID == first.Outbox[1].ID || !equalMessages(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if again := w.run(exec.Request{Message: m}); again.Outbox[0].ID != first.Outbox[0].ID || again.Outbox[1].ID != first.Outbox[1].ID {
		t.Error("a run that is done again sends other messages")
	}
}

func equalMessages(a, b batos.Message) bool {
	return a.ID == b.ID && a.Lineage == b.Lineage && a.Sender == b.Sender && a.Target == b.Target &&
		a.Selector == b.Selector && a.Authority == b.Authority && a.Hop == b.Hop
}

func TestLaterHopsAreBounded(t *testing.T) {
	w := newWorld(t, exec.Config{})
	o := w.object("o", "def go(self):\n    send_later(self, \"go\")")
	m := message(o, "go")
	hops := 0
	for ; ; hops++ {
		out := w.run(exec.Request{Message: m})
		if out.Status != exec.Done {
			wantFailure(t, out, batos.Limit, "hops")
			break
		}
		m = out.Outbox[0]
	}
	if hops != exec.DefaultLineage.Hops {
		t.Errorf("%d hops, want %d", hops, exec.DefaultLineage.Hops)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	w := newWorld(t, exec.Config{Answer: 100})
	o := w.object("o", "def go(self, n):\n    return \"x\" * n")
	w.done(o, "go", num(90))
	w.fails(batos.Limit, "the answer of go", o, "go", num(101))
}
