package kernel

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

// The programs of testdata/adversary are what a hostile model would write. One
// program is the body of a method attack(self, go, cycle); its first lines are
// comments that say what it attempts and the codes it may be refused with, one
// of which must come.
//
// Each is tried twice. As it is, the gate has to stop it before it is
// installed. As a sleeper, which does nothing in its trial, it is installed and
// must be stopped when it strikes. Either way nothing may be committed but the
// kernel's own books and the sleeper itself.
type program struct {
	name, attempt, body string
	codes               []batos.Code
	inTrial             bool // works only while its own mission is under way
	inEarnest           bool // works only once it is installed
}

func programs(t *testing.T) (out []program) {
	t.Helper()
	files, err := filepath.Glob("testdata/adversary/*.star")
	if err != nil || len(files) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split("\n"+string(text), "\n### ")[1:] {
			head, body, _ := strings.Cut(part, "\n")
			attempt, codes, ok := strings.Cut(head, " -> ")
			if !ok {
				t.Fatalf("%s: attack %d names no code", file, i)
			}
			p := program{name: fmt.Sprintf("%s/%d", strings.TrimSuffix(filepath.Base(file), ".star"), i+1), attempt: attempt, body: body}
			for _, c := range strings.Fields(codes) {
				switch c {
				case "(trial)":
					p.inTrial = true
				case "(earnest)":
					p.inEarnest = true
				default:
					p.codes = append(p.codes, batos.Code(c))
				}
			}
			out = append(out, p)
		}
	}
	return out
}

// source is the program as a method; a sleeper strikes only when told to.
func (p program) source(sleeper bool) string {
	var b strings.Builder
	b.WriteString("def attack(self, go, cycle):\n")
	if sleeper {
		b.WriteString("    if not go:\n        return 0\n")
	}
	for _, line := range strings.Split(strings.TrimRight(p.body, "\n"), "\n") {
		b.WriteString("    " + line + "\n")
	}
	b.WriteString("    self._p_changed = True\n    return 1\n")
	return b.String()
}

func (p program) expects(c batos.Code) bool {
	for _, want := range p.codes {
		if c == want {
			return true
		}
	}
	return false
}

// A battlefield has a mission that awaits a person, and objects of others.
type battlefield struct {
	*world
	cycle  batos.OID // of the mission that awaits a person, on genesis_obj
	source string    // of its method
	docket docket
}

// invade makes a battlefield on which the model writes these sources for the
// selectors that nobody understands; the last one again and again.
func invade(t *testing.T, sources ...string) *battlefield {
	t.Helper()
	shout := "def shout(self):\n    return self.name.upper()\n"
	w := awakened(t, setup{script: writing(append([]string{shout}, sources...)...)})
	victim := w.new("victim", "", slot("gold", num(100)), slot("names", strList([]string{"a", "b"})))
	w.def("victim", "def spend(self, n):\n    self.gold -= n\n    self._p_changed = True\n    return self.gold\n")
	w.new("mallory", "", slot("count", num(0)), slot("friend", object.Ref(victim)), slot("data", &object.Dict{}))
	w.def("mallory", "def step(self):\n    self.count += 1\n    self._p_changed = True\n    return self.count\n")
	o, err := w.k.Send(context.Background(), request("genesis_obj", "shout"))
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending {
		t.Fatalf("no mission awaits a person: %+v, %v", o, err)
	}
	f := &battlefield{world: w, cycle: o.Mission, source: shout}
	if err := w.im.View(context.Background(), func(tx *image.Tx) error {
		d, err := loadDocket(tx, docketOID(o.Mission))
		if err == nil {
			f.docket = *d
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// census is everything that no attack may change: all objects with a name but
// the attacker's method, the mission that awaits a person and its docket.
func (f *battlefield) census() map[string][]byte {
	f.t.Helper()
	out := map[string][]byte{}
	err := f.im.View(context.Background(), func(tx *image.Tx) error {
		keep := func(name string, oid batos.OID) error {
			s, err := tx.Load(oid)
			if err != nil {
				return err
			}
			for _, sl := range s.Slots() {
				if m, ok := sl.Value.(*object.Method); ok && m.Author == batos.Persona {
					continue
				}
				out[name+"."+sl.Name] = codec.EncodeValue(sl.Value)
			}
			out[name] = []byte{byte(s.Protection), byte(s.Creator)}
			return nil
		}
		for e, err := range tx.Tree(f.k.roots.labels).Range(nil, nil) {
			if err != nil {
				return err
			}
			if err := keep(strOf(e.Value), batos.OID(uint64(intOf(e.Key)))); err != nil {
				return err
			}
		}
		for e, err := range tx.Tree(f.k.roots.open).Range(nil, nil) {
			if err != nil {
				return err
			}
			out["open "+strOf(e.Key)] = codec.EncodeValue(e.Value)
		}
		if err := keep("cycle", f.cycle); err != nil {
			return err
		}
		return keep("docket", docketOID(f.cycle))
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *battlefield) unharmed(before map[string][]byte) {
	f.t.Helper()
	after := f.census()
	for name, v := range before {
		if !bytes.Equal(after[name], v) {
			f.t.Errorf("%s was changed: % x, and was % x", name, after[name], v)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			f.t.Errorf("%s came to be", name)
		}
	}
}

// gateCode is the code with which the gate turned down the last attempt of the
// newest mission.
func (f *battlefield) gateCode() (code batos.Code, text string) {
	f.t.Helper()
	missions, err := f.k.Missions(context.Background())
	if err != nil || len(missions) == 0 {
		f.t.Fatal(missions, err)
	}
	m := missions[len(missions)-1]
	attempts := fieldsOf(m.Data).list("attempts")
	if len(attempts) == 0 {
		return "", ""
	}
	last := fieldsOf(attempts[len(attempts)-1])
	return batos.Code(last.str("code")), last.str("error")
}

func (f *battlefield) strike(strikes bool) (object.Value, *batos.Error) {
	f.t.Helper()
	return f.send("mallory", "attack", object.Bool(strikes), object.Ref(f.cycle))
}

func TestNoGeneratedProgramGetsPastTheGate(t *testing.T) {
	attacks, stopped := 0, 0
	defer func() { t.Logf("%d attacks by generated programs, %d succeeded", attacks, attacks-stopped) }()
	long := os.Getenv("BATOS_LONG") != ""
	for i, p := range programs(t) {
		t.Run(p.name, func(t *testing.T) {
			attacks++
			defer func() {
				if !t.Failed() {
					stopped++
				}
			}()
			if !p.inEarnest {
				f := invade(t, p.source(false))
				before := f.census()
				v, err := f.strike(true)
				code, text := f.gateCode()
				if err == nil {
					t.Errorf("%s: succeeded with %s", p.attempt, object.Text(v, 100))
				} else if !p.expects(code) && !p.expects(err.Code) {
					t.Errorf("%s: the gate said %q (%s), the mission %s: %s", p.attempt, code, text, err.Code, err.Text)
				}
				f.unharmed(before)
				t.Logf("%-64s gate      %s", p.attempt, code)
			}
			if p.inTrial || !long && !p.inEarnest && i%2 > 0 {
				return // every second one sleeps by default; the long run has all
			}
			f := invade(t, p.source(true))
			before := f.census()
			if _, err := f.strike(false); err != nil { // not even as a sleeper
				if code, _ := f.gateCode(); !p.expects(code) {
					t.Errorf("%s: asleep, the gate said %q, the mission %v", p.attempt, code, err)
				}
				f.unharmed(before)
				return
			}
			v, err := f.strike(true)
			if err == nil {
				t.Errorf("%s: succeeded in earnest with %s", p.attempt, object.Text(v, 100))
			} else if !p.expects(err.Code) {
				t.Errorf("%s: in earnest: %s: %s", p.attempt, err.Code, err.Text)
			} else {
				t.Logf("%-64s in earnest %s", p.attempt, err.Code)
			}
			f.unharmed(before)
		})
	}
}

// forged builds an attempt as VALIDATING has it.
func forged(source string, verdict object.Value) *object.Dict {
	return new(dict).str("source", source).set("verdict", verdict).bool("ok", true).str("author", "person").value()
}

func TestNoMessageFromADoorGetsPastTheGate(t *testing.T) {
	attacks, stopped := 0, 0
	defer func() { t.Logf("%d attacks from doors, %d succeeded", attacks, attacks-stopped) }()
	evil := "def shout(self):\n    return \"evil\"\n"
	weak := func(r Request, a batos.Authority) Request {
		r.Authority, r.Synthesis = a, false
		return r
	}
	for _, c := range []struct {
		attempt string
		code    batos.Code
		request func(f *battlefield) Request
	}{
		{"install with a verdict that an object of one's own claims to be", batos.Denied, func(f *battlefield) Request {
			v := f.new("looks_sealed", "", slot("kind", object.Str("verdict")), slot("ok", object.Bool(true)), slot("docket", object.Ref(docketOID(f.cycle))),
				slot("message", object.Str(f.docket.Waiting[0])), slot("snapshot", object.Str(batos.TID(1).String())))
			return request("VALIDATING_state", "install_", object.Ref(f.cycle), forged(evil, object.Ref(v)))
		}},
		{"install with a copy of the true verdict", batos.Denied, func(f *battlefield) Request {
			v, err := f.k.Eval(context.Background(), Person{"tester"}, batos.Ref{OID: f.docket.Verdicts[0]}, "clone(self)")
			if err != nil {
				f.t.Fatal(err)
			}
			return request("VALIDATING_state", "install_", object.Ref(f.cycle), forged(f.source, v))
		}},
		{"install other source with the true verdict", batos.Denied, func(f *battlefield) Request {
			return request("VALIDATING_state", "install_", object.Ref(f.cycle), forged(evil, object.Ref(f.docket.Verdicts[0])))
		}},
		{"install without a verdict", batos.Denied, func(f *battlefield) Request {
			return request("VALIDATING_state", "install_", object.Ref(f.cycle), forged(evil, object.None{}))
		}},
		{"install with the verdict of another mission", batos.Denied, func(f *battlefield) Request {
			return request("VALIDATING_state", "install_", object.Ref(f.cycle), forged(incrementBy, object.Ref(f.finished().Verdicts[0])))
		}},
		{"install a second time in a mission that is over", batos.Denied, func(f *battlefield) Request {
			d := f.finished()
			return request("VALIDATING_state", "install_", object.Ref(d.Cycle), forged(incrementBy, object.Ref(d.Verdicts[0])))
		}},
		{"install for a cycle that is a copy of the mission's", batos.NotFound, func(f *battlefield) Request {
			v, err := f.k.Eval(context.Background(), Person{"tester"}, batos.Ref{OID: f.cycle}, "self.clone()")
			if err != nil {
				f.t.Fatal(err)
			}
			return request("VALIDATING_state", "install_", v, forged(f.source, object.Ref(f.docket.Verdicts[0])))
		}},
		{"approve past the gate, by the state itself, on weak authority", batos.Denied, func(f *battlefield) Request {
			return weak(request("AWAITING_APPROVAL_state", "approved_", object.Ref(f.cycle)), batos.Persona)
		}},
		{"have a method tried for a mission from outside", batos.Denied, func(f *battlefield) Request {
			return request("VALIDATING_state", "try_", object.Ref(f.cycle), object.Str(evil))
		}},
		{"end a mission as complete that installed nothing", batos.Denied, func(f *battlefield) Request {
			r := request("", "end_", object.Str("complete"), object.None{})
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"enter COMPLETE with nothing installed", batos.Denied, func(f *battlefield) Request {
			r := request("", "transitionTo_", object.Str("COMPLETE"))
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"end a mission under a name of one's own", batos.Invalid, func(f *battlefield) Request {
			r := request("", "end_", object.Str("open"), object.None{})
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"write a docket", batos.DoesNotUnderstand, func(f *battlefield) Request {
			r := request("", "setSlot_value_", object.Str("state"), object.Str("complete"))
			r.Target = batos.Ref{OID: docketOID(f.cycle)}
			return r
		}},
		{"write kernel_obj", batos.DoesNotUnderstand, func(*battlefield) Request {
			return request("kernel_obj", "setSlot_value_", object.Str("live"), object.None{})
		}},
		{"write a slot of the kernel's", batos.Refused, func(*battlefield) Request {
			return request("victim", "setSlot_value_", object.Str("_p_author"), object.Str("person"))
		}},
		{"begin a message with _ at a plain door", batos.Denied, func(f *battlefield) Request {
			r := request("", "_process_synthesis_", object.Ref(f.cycle))
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"begin a message with : at a plain door", batos.Denied, func(*battlefield) Request {
			return request("traits_obj", ":clone_persistent_")
		}},
		{"have a method with _ written at a plain door", batos.Denied, func(*battlefield) Request {
			return request("mallory", "doesNotUnderstand_", object.Str("_secret"), &object.List{}, &object.Dict{})
		}},
		{"the same by the other name", batos.Denied, func(*battlefield) Request {
			return request("mallory", "_doesNotUnderstand_", object.Str("_secret"), &object.List{}, &object.Dict{})
		}},
		{"write a protected object on weak authority", batos.Denied, func(*battlefield) Request {
			return weak(request("genesis_obj", "setSlot_value_", object.Str("awake"), object.Bool(false)), batos.Persona)
		}},
		{"write an open object on weak authority", batos.Denied, func(*battlefield) Request {
			return weak(request("victim", "setSlot_value_", object.Str("gold"), num(0)), batos.Imported)
		}},
		{"advance a mission on weak authority", batos.Denied, func(f *battlefield) Request {
			r := weak(request("", "transitionTo_", object.Str("CANCELLED")), batos.Persona)
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"call for a person's approval on weak authority", batos.Denied, func(f *battlefield) Request {
			return weak(request("VALIDATING_state", "needs_approval_", object.Ref(f.cycle)), batos.Persona)
		}},
		{"tell those who watch a story", batos.Denied, func(f *battlefield) Request {
			r := weak(request("", "note_", object.Str("installed"), &object.Dict{}), batos.Persona)
			r.Target = batos.Ref{OID: f.cycle}
			return r
		}},
		{"start a mission without leave", batos.DoesNotUnderstand, func(*battlefield) Request {
			return weak(request("mallory", "unheard_of"), batos.Persona)
		}},
		{"an id of the kernel's kind", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.ID = "victims-message/mission"
			return r
		}},
		{"an id that is not text", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.ID = "\xff\xfe"
			return r
		}},
		{"an id of two lines", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.ID = "a\nb"
			return r
		}},
		{"a sender that is not text", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.Sender = "\xff"
			return r
		}},
		{"an argument that is not text", batos.Invalid, func(*battlefield) Request {
			return request("mallory", "step", object.Str("\xff"))
		}},
		{"a primitive as an argument", batos.Invalid, func(*battlefield) Request {
			return request("mallory", "setSlot_value_", object.Str("x"), object.Primitive("gate.install"))
		}},
		{"a method as an argument", batos.Invalid, func(*battlefield) Request {
			return request("mallory", "setSlot_value_", object.Str("x"), &object.Method{Selector: "x", Source: evil, Author: batos.Genesis})
		}},
		{"a tree of the kernel as an argument", batos.Invalid, func(f *battlefield) Request {
			return request("mallory", "setSlot_value_", object.Str("x"), f.k.roots.live)
		}},
		{"a named argument that is no name", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.Kwargs = []object.Slot{{Name: "\xff", Value: num(1)}}
			return r
		}},
		{"a named argument that comes twice", batos.Invalid, func(*battlefield) Request {
			r := request("mallory", "step")
			r.Kwargs = []object.Slot{{Name: "a", Value: num(1)}, {Name: "a", Value: num(2)}}
			return r
		}},
	} {
		t.Run(c.attempt, func(t *testing.T) {
			attacks++
			defer func() {
				if !t.Failed() {
					stopped++
				}
			}()
			f := invade(t, incrementBy)
			r := c.request(f)
			before := f.census()
			v, err := f.sendRequest(r)
			if err == nil {
				t.Errorf("succeeded with %s", object.Text(v, 100))
			} else if err.Code != c.code {
				t.Errorf("want %s, got %s: %s", c.code, err.Code, err.Text)
			}
			f.unharmed(before)
			if err != nil {
				t.Logf("%-64s door      %s", c.attempt, err.Code)
			}
		})
	}
}

// finished has a mission of its own end well and gives its docket.
func (f *battlefield) finished() *docket {
	f.t.Helper()
	f.new("counter", "", slot("count", num(1)))
	v, err := f.send("counter", "increment_by", num(1))
	f.want(v, err, num(2))
	missions, ierr := f.k.Missions(context.Background())
	if ierr != nil {
		f.t.Fatal(ierr)
	}
	var d *docket
	if err := f.im.View(context.Background(), func(tx *image.Tx) (err error) {
		d, err = loadDocket(tx, docketOID(missions[len(missions)-1].OID))
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return d
}

// A model that loops, in the workflow or in what it writes, ends at the
// lineage's budget.
func TestAnInferenceLoopEndsAtTheBudget(t *testing.T) {
	w := awakened(t, setup{script: &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if isPlan(r) {
			return mindtest.Answer{Text: plan}
		}
		return mindtest.Answer{Text: "def think(self):\n    answer = \"\"\n    while True:\n        answer = pLLM_obj.infer_(answer + \"more\")\n    return answer\n"}
	}}})
	w.new("thinker", "", slot("count", num(0)))
	_, err := w.send("thinker", "think")
	w.wantCode(err, batos.Limit)
	if n := len(w.script.Asked()); n > w.k.config.Lineage.Inferences {
		t.Errorf("%d inferences; the budget is %d", n, w.k.config.Lineage.Inferences)
	}
}
