package exec_test

import (
	"context"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

// install is a primitive for receivers with a marker.
func install(c *exec.Call) (object.Value, error) { return object.Str("installed"), nil }

func TestGeneratedCodeWritesWhatIsItsOwn(t *testing.T) {
	w := newWorld(t, exec.Config{})
	given := w.object("given", "gold = 1\nlist = []")
	work := w.object("worker", "count = 0\nlog = []")
	w.def(work, batos.Persona, `
def work(self, other, several, *, named):
    self.count += 1
    self.log.append("worked")
    other.gold += 1
    other.list.append(self)
    several[0].gold += 1
    named.gold += 1
    c = self.clone()
    c.count = 100
    n = self.new_({"count": 0})
    n.count += 1
    n.list = [c]
    self.made = n
    return self.pass_on(other)
`[1:])
	w.def(work, batos.Persona, "def pass_on(self, other):\n    other.gold += 1\n    return self.count")
	m := message(work, "work")
	m.Args = codec.EncodeArgs([]object.Value{object.Ref(given), list(object.Ref(given))}, []object.Slot{{Name: "named", Value: object.Ref(given)}})
	out := w.run(exec.Request{Message: m})
	if out.Status != exec.Done || out.Value != object.Value(num(1)) {
		t.Fatalf("%s %v, answer %s", out.Status, out.Err, show(out.Value))
	}
	w.want(given, "gold", num(5))
	w.want(work, "log", list(object.Str("worked")))
	if out.Usage.NewObjects != 2 {
		t.Errorf("%d new objects, want 2", out.Usage.NewObjects)
	}
}

// What generated code sends for later carries no rights but the receiver's.
func TestArgumentsOfGeneratedMessagesGrantNothing(t *testing.T) {
	w := newWorld(t, exec.Config{})
	victim := w.object("victim", "gold = 1")
	work := w.object("worker", "")
	w.def(work, batos.Persona, "def rob(self, other):\n    other.gold = 0")
	m := message(work, "rob", object.Ref(victim))
	m.Authority, m.Hop = batos.Persona, 1
	wantFailure(t, w.run(exec.Request{Message: m}), batos.Denied, "writes its receiver")

	m = message(victim, "setSlot_value_", object.Str("gold"), num(0))
	m.Authority, m.Hop = batos.Persona, 1
	wantFailure(t, w.run(exec.Request{Message: m}), batos.Denied, "writes its receiver")

	m.Authority = batos.Genesis
	if out := w.run(exec.Request{Message: m}); out.Status != exec.Done {
		t.Errorf("with the authority of genesis: %v", out.Err)
	}
}

func TestAuthorityIsTheWeakestOnTheStack(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.load(object.Protected, batos.Genesis, map[string]string{"vault": `
parents = [ref("traits_obj")]
gold = 100

def take(self, n):
    self.gold -= n
    return self.gold

def let(self, other, n):
    return other.grab(self, n)
`})
	vault := w.oid("vault")
	work := w.object("worker", "")
	w.def(work, batos.Persona, "def grab(self, vault, n):\n    return vault.take(n)")
	if got := w.done(vault, "take", num(1)); !object.Equal(got, num(99)) {
		t.Errorf("a person's message to genesis code: %s", show(got))
	}
	w.fails(batos.Denied, "protected", vault, "let", object.Ref(work), num(1))
	w.want(vault, "gold", num(99))
	if got := w.done(vault, "setSlot_value_", object.Str("gold"), num(7)); got != object.Value(object.None{}) {
		t.Errorf("a person's assignment answers %s", show(got))
	}
	w.want(vault, "gold", num(7))
}

// A function that generated code made must not reach a caller of more
// authority: called there, it would run with that authority.
func TestFunctionsDoNotGainAuthority(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.load(object.Protected, batos.Genesis, map[string]string{"service": `
parents = [ref("traits_obj")]
gold = 1

def use(self, other):
    return other.function()()

def use_nested(self, other):
    return other.functions()["f"][0]()

def use_plain(self, other):
    return other.plain()
`})
	attacker := w.object("attacker", "")
	w.def(attacker, batos.Persona, "def function(self):\n    return lambda: service_obj.setSlot_value_(\"gold\", 0)")
	w.def(attacker, batos.Persona, "def functions(self):\n    return {\"f\": (self.function(),)}")
	w.def(attacker, batos.Persona, "def plain(self):\n    return {\"f\": [1]}")
	for _, sel := range []batos.Selector{"use", "use_nested"} {
		w.fails(batos.Denied, "a function of generated code", w.oid("service"), sel, object.Ref(attacker))
	}
	w.done(w.oid("service"), "use_plain", object.Ref(attacker))
}

func TestWhatGenesisMakesIsProtected(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.load(object.Protected, batos.Genesis, map[string]string{"maker": `
parents = [ref("traits_obj")]

def make(self):
    return self.new_({"a": 1})

def make_open(self):
    o = self.new_({"a": 1})
    o.unprotect_()
    return o
`})
	maker := w.oid("maker")
	for sel, want := range map[batos.Selector]object.Protection{"make": object.Protected, "make_open": object.Open, "new_": object.Open, "clone": object.Open} {
		made, ok := w.done(maker, sel).(object.Ref)
		if !ok {
			t.Fatalf("%s answers no object", sel)
		}
		err := w.im.View(context.Background(), func(tx *image.Tx) error {
			got, err := tx.Protection(batos.OID(made))
			if err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s makes an object of protection %d, want %d", sel, got, want)
			}
			s, err := tx.Load(batos.OID(made))
			if err == nil && s.CreatedBy != "m1" {
				t.Errorf("%s: created by %q", sel, s.CreatedBy)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What a primitive writes past the checks is refused, unless it vouches for it.
func TestRecheck(t *testing.T) {
	w := newWorld(t, exec.Config{})
	vouch := false
	target := w.object("target", "a = 1")
	w.r.Primitive("test.poke", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		if vouch {
			c.Vouch(target)
		}
		return object.None{}, c.Tx().SetSlot(target, "a", num(2))
	}})
	w.r.Primitive("test.seal", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		return object.None{}, c.Tx().SetProtection(target, object.Sealed)
	}})
	w.r.Primitive("test.create", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		_, err := c.Tx().Create(object.NewState(object.Open, batos.Person))
		return object.None{}, err
	}})
	w.r.Primitive("test.delete", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		return object.None{}, c.Tx().Delete(target)
	}})
	w.r.Primitive("test.set", exec.Primitive{Fn: func(c *exec.Call) (object.Value, error) {
		return object.None{}, c.SetSlot(target, "a", num(3))
	}})
	w.load(object.Protected, batos.Genesis, map[string]string{"poker": `
parents = [ref("traits_obj")]
poke_ = primitive("test.poke")
seal_ = primitive("test.seal")
create_ = primitive("test.create")
delete_ = primitive("test.delete")
set_ = primitive("test.set")
`})
	poker := w.oid("poker")
	for _, sel := range []batos.Selector{"poke_", "seal_", "create_", "delete_"} {
		w.fails(batos.Denied, "without a decision", poker, sel)
	}
	w.want(target, "a", num(1))
	vouch = true
	w.done(poker, "poke_")
	w.want(target, "a", num(2))
	w.done(poker, "set_")
	w.want(target, "a", num(3))

	work := w.object("worker", "")
	w.def(work, batos.Persona, "def go(self):\n    poker_obj.set_()")
	w.fails(batos.Denied, "writes its receiver", work, "go")
}

// What the transaction held before the run is the caller's business.
func TestCallerMayWriteBefore(t *testing.T) {
	w := newWorld(t, exec.Config{})
	a, b := w.object("a", "n = 1"), w.object("b", "n = 1\ndef inc(self):\n    self.n += 1\n    return self.n")
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	if err := tx.SetSlot(a, "n", num(5)); err != nil {
		t.Fatal(err)
	}
	out := w.r.Run(context.Background(), tx, exec.Request{Message: message(b, "inc"), Lineage: exec.DefaultLineage})
	if out.Status != exec.Done {
		t.Errorf("%s: %v", out.Status, out.Err)
	}
}

func TestMarkers(t *testing.T) {
	w := newWorld(t, exec.Config{})
	w.r.Primitive("test.install", exec.Primitive{Receiver: "may_install", Fn: install})
	w.load(object.Protected, batos.Genesis, map[string]string{"kind": "parents = [ref(\"traits_obj\")]\nmay_install = True\ninstall_ = primitive(\"test.install\")"})
	if got := w.done(w.oid("kind"), "install_"); got != object.Value(object.Str("installed")) {
		t.Errorf("answer %s", show(got))
	}
	forger := w.object("forger", "may_install = True\ninstall_ = primitive(\"test.install\")")
	w.fails(batos.Refused, "is not made for", forger, "install_")
	missing := w.object("missing", "absent_ = primitive(\"test.absent\")")
	w.fails(batos.NotFound, "this release does not have", missing, "absent_")
}

func TestInstall(t *testing.T) {
	w := newWorld(t, exec.Config{})
	o := w.object("o", "")
	for range 3 {
		w.def(o, batos.Person, "def f(self):\n    return 1")
	}
	m, ok := w.slot(o, "f").(*object.Method)
	if !ok || m.Version != 3 || m.Author != batos.Person {
		t.Errorf("slot f holds %s", show(w.slot(o, "f")))
	}
	w.load(object.Sealed, batos.Genesis, map[string]string{"seal": "a = 1"})
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	err = exec.Install(tx, w.oid("seal"), &object.Method{Selector: "f", Source: "def f(self):\n    return 1"})
	if batos.CodeOf(err) != batos.Denied {
		t.Errorf("a sealed object: %v", err)
	}
	err = exec.Install(tx, o, &object.Method{Selector: "two words"})
	if batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a bad selector: %v", err)
	}
}
