//go:build linux

package quarantine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/method"
	"batos/internal/quarantine"
	"batos/internal/vfs"
	"batos/object"
)

// TestMain lets the test binary be the child, as the real binary is: it then
// has primitives that do to it what no method can.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == quarantine.Command {
		os.Exit(quarantine.ChildMain(register))
	}
	if len(os.Args) > 1 && os.Args[1] == "parent" {
		fosterChild()
	}
	os.Exit(m.Run())
}

// register adds primitives that misbehave, and two that ask for effects.
func register(r *exec.Runner) {
	add := func(name string, fn func(*exec.Call) (object.Value, error)) {
		r.Primitive("test."+name, exec.Primitive{Fn: fn})
	}
	add("hog", func(*exec.Call) (object.Value, error) {
		var all [][]byte
		for {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
			if len(all) > 1000 {
				return object.NewInt(int64(len(all))), nil
			}
		}
	})
	add("spin", func(*exec.Call) (object.Value, error) {
		for n := uint64(1); n != 0; n += 2 { // never 0
		}
		return nil, nil
	})
	add("hang", func(*exec.Call) (object.Value, error) { return hang() })
	add("exit", func(*exec.Call) (object.Value, error) { os.Exit(3); return nil, nil })
	add("panic", func(*exec.Call) (object.Value, error) {
		go panic("far from any recover")
		return hang()
	})
	add("babble", func(*exec.Call) (object.Value, error) {
		_, err := syscall.Write(3, []byte("\x00\x00\x00\x05Zabcd"))
		return object.None{}, err
	})
	add("shout", func(*exec.Call) (object.Value, error) {
		_, err := syscall.Write(3, []byte("\xff\xff\xff\xffZ"))
		return object.None{}, err
	})
	// escape tries what a process must not be able to, and lists what it could.
	add("escape", func(*exec.Call) (object.Value, error) {
		var could []object.Value
		try := func(what string, err error) {
			if err == nil {
				could = append(could, object.Str(what))
			}
		}
		_, err := os.Open("/etc/hostname")
		try("open a file", err)
		_, err = os.ReadDir("/")
		try("read a folder", err)
		_, err = os.Create(filepath.Join(os.TempDir(), "batos-escape"))
		try("make a file", err)
		_, err = net.Dial("tcp", "127.0.0.1:1")
		if !errors.Is(err, syscall.EMFILE) {
			try("make a socket", nil)
		}
		_, err = syscall.Dup(3)
		try("copy its socket", err)
		try("run a program", osexec.Command("/bin/true").Run())
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_DATA, &l); err != nil {
			return nil, err
		}
		l.Cur, l.Max = l.Max+1, l.Max+1
		if os.Getuid() != 0 { // root may raise its own limits
			try("raise its limits", syscall.Setrlimit(syscall.RLIMIT_DATA, &l))
		}
		if len(os.Environ()) > 0 {
			try("see the environment", nil)
		}
		return &object.List{Items: could}, nil
	})
	add("pid", func(*exec.Call) (object.Value, error) { return object.NewInt(int64(os.Getpid())), nil })
	add("infer", func(c *exec.Call) (object.Value, error) {
		return c.Effect(exec.EffectInfer, false, c.Args()[0])
	})
	add("post", func(c *exec.Call) (object.Value, error) {
		return c.Effect("post", true, c.Args()[0])
	})
}

var clock = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const traits = `
clone = primitive("object.clone")
new_ = primitive("object.new")
setSlot_value_ = primitive("object.set_slot")
doesNotUnderstand_ = primitive("kernel.does_not_understand")
hog = primitive("test.hog")
spin = primitive("test.spin")
hang = primitive("test.hang")
exit = primitive("test.exit")
panic = primitive("test.panic")
babble = primitive("test.babble")
shout = primitive("test.shout")
escape_ = primitive("test.escape")
pid_ = primitive("test.pid")
infer_ = primitive("test.infer")
post_ = primitive("test.post")
`

// world is an image in memory and the trials over it.
type world struct {
	testing.TB
	im     *image.Image
	trials *quarantine.Trials
	names  map[string]batos.OID
}

func newWorld(t testing.TB, c quarantine.Config) *world {
	t.Helper()
	im, err := image.Open(context.Background(), "img", image.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	trials, err := quarantine.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(trials.Close(), im.Close()); err != nil {
			t.Error(err)
		}
	})
	w := &world{TB: t, im: im, trials: trials, names: map[string]batos.OID{}}
	w.load("traits_obj", object.Protected, traits)
	w.load("counter", object.Open, `parents = [ref("traits_obj")]
count = 3
items = [1, [2]]
friend = ref("traits_obj")
def increment(self):
    self.count += 1
    self._p_changed = True
    return self.count
`)
	return w
}

// load makes one object of a .star source.
func (w *world) load(name string, p object.Protection, src string) {
	w.Helper()
	defs, err := method.ParseFile(name+".star", src)
	if err != nil {
		w.Fatal(err)
	}
	_, err = w.im.Update(context.Background(), func(tx *image.Tx) error {
		oid, err := tx.Create(object.NewState(object.Open, batos.Person))
		if err != nil {
			return err
		}
		w.names[name] = oid
		for _, d := range defs {
			var v object.Value
			switch d.Kind {
			case method.DefMethod:
				m := &object.Method{Selector: batos.Selector(d.Name), Source: d.Source, Author: batos.Person, AuthorName: "test"}
				if err := exec.Install(tx, oid, m); err != nil {
					return err
				}
				continue
			case method.DefRef:
				v = object.Ref(w.names[d.Refs[0]])
			case method.DefRefs:
				v = &object.List{Items: []object.Value{object.Ref(w.names[d.Refs[0]])}}
			default:
				v = d.Value
			}
			if err := tx.SetSlot(oid, d.Name, v); err != nil {
				return err
			}
		}
		return tx.SetProtection(oid, p)
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) snapshot() store.Snapshot {
	w.Helper()
	snap, err := w.im.Snapshot(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := snap.Close(); err != nil {
			w.Error(err)
		}
	})
	return snap
}

// request asks for a trial of source on counter.
func (w *world) request(source string, args ...object.Value) quarantine.Request {
	w.Helper()
	sel, _, err := method.Signature(source)
	if err != nil {
		w.Fatal(err)
	}
	oid := w.names["counter"]
	return quarantine.Request{
		Snapshot: w.snapshot(),
		Run: exec.Request{
			Message: batos.Message{
				ID: "m1", Lineage: "m1", Sender: "tester", Target: oid, Selector: sel,
				Args: codec.EncodeArgs(args, nil), Authority: batos.Person,
			},
			Lineage:   exec.DefaultLineage,
			Candidate: &exec.Candidate{OID: oid, Selector: sel, Source: source},
		},
		Clock: func() time.Time { return clock },
	}
}

func (w *world) try(req quarantine.Request) quarantine.Verdict {
	w.Helper()
	v, err := w.trials.Trial(context.Background(), req)
	if err != nil {
		w.Fatalf("the trial itself failed: %v", err)
	}
	return v
}

// stopped wants a verdict with code limit that names the wall.
func stopped(t testing.TB, v quarantine.Verdict, want quarantine.Stop) {
	t.Helper()
	if v.OK || v.Stopped != want || v.Err == nil || v.Err.Code != batos.Limit {
		t.Errorf("got OK %v, stopped %q, %v; want a limit verdict, stopped %q", v.OK, v.Stopped, v.Err, want)
	}
}

func refused(t testing.TB, v quarantine.Verdict, code batos.Code, text string) {
	t.Helper()
	if v.OK || v.Err == nil || v.Err.Code != code || !strings.Contains(v.Err.Text, text) {
		t.Errorf("got OK %v, %v; want code %s with %q", v.OK, v.Err, code, text)
	}
}

func TestVerdict(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	req := w.request(`def add(self, n):
    self.count += n
    self.items[1].append(n)
    twin = self.clone()
    twin.count = 100
    self.twin = twin
    self._p_changed = True
    return [self.count, self.increment(), twin]
`, object.NewInt(4))
	v := w.try(req)
	if !v.OK || v.Err != nil {
		t.Fatalf("%v", v.Err)
	}
	list, ok := v.Value.(*object.List)
	if !ok || !object.Equal(list.Items[0], object.NewInt(7)) || !object.Equal(list.Items[1], object.NewInt(8)) {
		t.Errorf("answer %v", v.Value)
	}
	if v.Snapshot != req.Snapshot.TID() || v.Bound != quarantine.Bind(req.Run.Candidate.Source, w.names["counter"], "add", "m1", v.Snapshot) {
		t.Error("the verdict is bound to something else")
	}
	if v.Usage.NewObjects != 1 || v.Usage.Steps == 0 || v.Usage.Sends == 0 {
		t.Errorf("usage %+v", v.Usage)
	}
	if len(v.Changes) != 2 || len(v.Diff) == 0 {
		t.Errorf("changes %+v", v.Changes)
	}
	if err := w.im.View(context.Background(), func(tx *image.Tx) error {
		n, _, err := tx.Slot(w.names["counter"], "count")
		if !object.Equal(n, object.NewInt(3)) {
			t.Errorf("the trial changed the image: count is %v", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSameAsLive carries the message out in the kernel's own process, with the
// method installed, and compares.
func TestSameAsLive(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	source := `def work(self, n):
    self.count += n
    self.items.append({"at": time.now(), "lot": random()})
    for i in range(n):
        self.setSlot_value_("s%d" % i, self.clone())
    self._p_changed = True
    return self.s0.count
`
	req := w.request(source, object.NewInt(3))
	v := w.try(req)
	if !v.OK {
		t.Fatal(v.Err)
	}
	if len(v.Effects) != 2 || v.Effects[0].Kind != exec.EffectTime || !object.Equal(v.Effects[0].Result, object.Time(clock.UnixMicro())) {
		t.Errorf("effects %+v", v.Effects)
	}

	counter := w.names["counter"]
	if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
		return exec.Install(tx, counter, &object.Method{Selector: "work", Source: source, Author: batos.Persona, AuthorName: "BRICK"})
	}); err != nil {
		t.Fatal(err)
	}
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Abort()
	r := exec.New(exec.Config{Clock: func() time.Time { return clock.Add(time.Hour) }}) // the journal wins
	live := req.Run
	live.Journal, live.Candidate = v.Effects, nil
	out := r.Run(context.Background(), tx, live)
	if out.Status != exec.Done {
		t.Fatalf("%s: %v", out.Status, out.Err)
	}
	changes, err := tx.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if tx.ReadDigest(image.Place{OID: counter, Slot: "work"}) != v.Reads {
		t.Error("the live run read something else")
	}
	fingerprint, err := quarantine.Fingerprint(changes, out.Outbox)
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint != v.Fingerprint {
		t.Errorf("the live run changed something else:\n%+v\n%+v", changes, v.Changes)
	}
	if !object.Equal(out.Value, v.Value) {
		t.Errorf("the live run answered %v, the trial %v", out.Value, v.Value)
	}
}

// TestSnapshot: the trial sees what the snapshot saw, whatever came later.
func TestSnapshot(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	req := w.request("def peek(self):\n    return self.count\n")
	if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
		return tx.SetSlot(w.names["counter"], "count", object.NewInt(50))
	}); err != nil {
		t.Fatal(err)
	}
	if v := w.try(req); !object.Equal(v.Value, object.NewInt(3)) {
		t.Errorf("%v %v", v.Value, v.Err)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	for _, c := range []struct {
		name, source string
		code         batos.Code
		text         string
	}{
		{"it raises", "def f(self):\n    fail(\"no way\")\n", batos.Raised, "f:2:"},
		{"a missing slot", "def f(self):\n    return self.nothing\n", batos.NoSlot, "nothing"},
		{"arity", "def f(self, a):\n    return a\n", batos.Arity, ""},
		{"a syntax error", "def f(self):\n    return (\n", batos.Invalid, ""},
		{"a protected object", "def f(self):\n    self.friend.owned = True\n", batos.Denied, ""},
		{"a protected object by setSlot_value_", "def f(self):\n    self.friend.setSlot_value_(\"owned\", True)\n", batos.Denied, ""},
		{"a volatile slot", "def f(self):\n    self._v_x = 1\n", batos.Denied, ""},
		{"a slot of the kernel", "def f(self):\n    self._p_oid = 1\n", "", ""},
		{"an effect on the world", "def f(self):\n    return self.post_(1)\n", batos.Refused, "world outside"},
		{"an effect nobody carries out", "def f(self):\n    return self.infer_(\"x\")\n", batos.Refused, "infer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := w.request("def f(self):\n    pass\n")
			req.Run.Candidate.Source = c.source
			v := w.try(req)
			if c.code == "" {
				if v.OK || v.Stopped != "" {
					t.Errorf("got OK %v, stopped %q, %v", v.OK, v.Stopped, v.Err)
				}
				return
			}
			refused(t, v, c.code, c.text)
		})
	}
	t.Run("nobody understands", func(t *testing.T) {
		v := w.try(w.request("def f(self):\n    return self.helper_(1, by=[2])\n"))
		refused(t, v, batos.DoesNotUnderstand, "helper_")
		if v.Missing == nil || v.Missing.Selector != "helper_" || v.Missing.Receiver != w.names["counter"] || len(v.Missing.Args) != 1 || len(v.Missing.Kwargs) != 1 {
			t.Errorf("missing: %+v", v.Missing)
		}
	})
}

// TestEscapes runs the programs that break out of an unmetered interpreter.
func TestEscapes(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	files, err := filepath.Glob("../method/testdata/escapes/*.star")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d escapes, %v", len(files), err)
	}
	before := memory()
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			v := w.try(w.request(string(src)))
			// The dialect's own limits are within the walls.
			if v.OK || v.Err == nil || v.Err.Code != batos.Limit || v.Stopped != "" {
				t.Errorf("OK %v, stopped %q, %v", v.OK, v.Stopped, v.Err)
			}
			if v.Elapsed > 3*time.Second {
				t.Errorf("it took %s", v.Elapsed)
			}
			t.Logf("%s: stopped %q, %v", v.Elapsed.Round(time.Millisecond), v.Stopped, v.Err)
		})
	}
	if grown := memory() - before; grown > 128<<20 {
		t.Errorf("this process grew by %d MiB", grown>>20)
	}
}

func memory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// TestWalls has the child do what no method could: the walls are there for the
// day that one can.
func TestWalls(t *testing.T) {
	body := func(sel string) string { return "def f(self):\n    return self." + sel + "()\n" }
	for _, c := range []struct {
		sel    string
		config quarantine.Config
		want   quarantine.Stop
	}{
		{"hog", quarantine.Config{}, quarantine.Memory},
		{"spin", quarantine.Config{CPU: time.Second, Wall: 30 * time.Second}, quarantine.CPU},
		{"hang", quarantine.Config{Wall: 300 * time.Millisecond}, quarantine.Wall},
		{"spin", quarantine.Config{Wall: 300 * time.Millisecond}, quarantine.Wall},
		{"exit", quarantine.Config{}, quarantine.Crash},
		{"panic", quarantine.Config{}, quarantine.Crash},
		{"babble", quarantine.Config{}, quarantine.Babble},
		{"shout", quarantine.Config{}, quarantine.Babble},
	} {
		t.Run(c.sel+" "+string(c.want), func(t *testing.T) {
			w := newWorld(t, c.config)
			v := w.try(w.request(body(c.sel)))
			stopped(t, v, c.want)
			t.Log(v.Err)
		})
	}
	t.Run("escape", func(t *testing.T) {
		w := newWorld(t, quarantine.Config{})
		v := w.try(w.request(body("escape_")))
		if !v.OK || !object.Equal(v.Value, &object.List{}) {
			t.Errorf("the child could %v (%v)", v.Value, v.Err)
		}
	})
	t.Run("a large answer", func(t *testing.T) {
		w := newWorld(t, quarantine.Config{Memory: 512 << 20})
		v := w.try(w.request("def f(self):\n    x = \"x\" * 3000000\n    for i in range(8):\n        self.setSlot_value_(\"s%d\" % i, x)\n    self._p_changed = True\n"))
		refused(t, v, batos.Limit, "16 MiB")
	})
	t.Run("read", func(t *testing.T) {
		w := newWorld(t, quarantine.Config{Read: 4 << 10})
		w.load("large", object.Open, "text = \""+strings.Repeat("x", 8<<10)+"\"")
		if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
			return tx.SetSlot(w.names["counter"], "friend", object.Ref(w.names["large"]))
		}); err != nil {
			t.Fatal(err)
		}
		stopped(t, w.try(w.request("def f(self):\n    return len(self.friend.text)\n")), quarantine.Read)
	})
}

func TestEffects(t *testing.T) {
	w := newWorld(t, quarantine.Config{})
	source := `def ask(self):
    a = self.infer_("one")
    self.count += 1
    b = self.infer_("two")
    self._p_changed = True
    return [a, b, self.count]
`
	want := &object.List{Items: []object.Value{object.Str("answer to one"), object.Str("answer to two"), object.NewInt(4)}}
	asked := 0
	answer := func(_ context.Context, w *exec.WantedEffect) (object.Value, error) {
		asked++
		return object.Str("answer to " + string(w.Args.(object.Str))), nil
	}

	req := w.request(source)
	req.Effect = answer
	v := w.try(req)
	if !v.OK || !object.Equal(v.Value, want) || asked != 2 || len(v.Effects) != 2 {
		t.Fatalf("asked %d times, effects %+v, answer %v, %v", asked, v.Effects, v.Value, v.Err)
	}

	t.Run("the journal is replayed", func(t *testing.T) {
		asked = 0
		req := w.request(source)
		req.Effect, req.Run.Journal = answer, v.Effects[:1]
		again := w.try(req)
		if !again.OK || !object.Equal(again.Value, want) || asked != 1 || !slices.EqualFunc(again.Effects, v.Effects, func(a, b exec.Effect) bool {
			return a.Key == b.Key && object.Equal(a.Result, b.Result)
		}) {
			t.Errorf("asked %d times, %v, %v", asked, again.Value, again.Err)
		}
	})
	t.Run("over the lineage's budget", func(t *testing.T) {
		asked = 0
		req := w.request(source)
		req.Effect, req.Run.Lineage.Inferences = answer, 1
		refused(t, w.try(req), batos.Limit, "inferences")
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("an effect that fails is met by the method", func(t *testing.T) {
		req := w.request(source)
		req.Effect = func(context.Context, *exec.WantedEffect) (object.Value, error) {
			return nil, batos.Errorf(batos.Offline, "the cognitive core is offline")
		}
		v := w.try(req)
		refused(t, v, batos.Offline, "offline")
		if len(v.Effects) != 1 || v.Effects[0].Err == nil || v.Effects[0].Err.Code != batos.Offline {
			t.Errorf("effects %+v", v.Effects)
		}
	})
	t.Run("an effect takes none of the child's time", func(t *testing.T) {
		slow := newWorld(t, quarantine.Config{Wall: 400 * time.Millisecond})
		req := slow.request("def f(self):\n    return self.infer_(\"x\")\n")
		req.Effect = func(ctx context.Context, _ *exec.WantedEffect) (object.Value, error) {
			timer := time.NewTimer(600 * time.Millisecond) // longer than the child may take
			defer timer.Stop()
			select {
			case <-timer.C:
				return object.Str("late"), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if v := slow.try(req); !v.OK {
			t.Errorf("%v, stopped %q", v.Err, v.Stopped)
		}
	})
}

// TestConcurrent runs trials side by side over one snapshot.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, quarantine.Config{Wall: 20 * time.Second, CPU: 20 * time.Second})
	req := w.request("def add(self, n):\n    self.count += n\n    self._p_changed = True\n    return self.count\n")
	failures := make(chan error)
	const trials = 6
	for i := range trials {
		go func() {
			r := req
			r.Run.Message.Args = codec.EncodeArgs([]object.Value{object.NewInt(int64(i))}, nil)
			v, err := w.trials.Trial(context.Background(), r)
			if err == nil && !object.Equal(v.Value, object.NewInt(int64(3+i))) {
				err = fmt.Errorf("trial %d answered %v: %v", i, v.Value, v.Err)
			}
			failures <- err
		}()
	}
	for range trials {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

func TestBind(t *testing.T) {
	type about struct {
		source   string
		receiver batos.OID
		selector batos.Selector
		message  batos.MessageID
		snapshot batos.TID
	}
	bind := func(a about) [32]byte {
		return quarantine.Bind(a.source, a.receiver, a.selector, a.message, a.snapshot)
	}
	one := about{"def f(self):\n    pass\n", 7, "f", "m1", 9}
	if again := one; bind(one) != bind(again) {
		t.Error("not a function of what it is about")
	}
	seen := map[[32]byte]about{bind(one): one}
	for _, other := range []about{
		{one.source + " ", 7, "f", "m1", 9}, {one.source, 8, "f", "m1", 9}, {one.source, 7, "g", "m1", 9}, {one.source, 7, "f", "m2", 9},
		{one.source, 7, "f", "m1", 10}, {one.source + "f", 7, "", "m1", 9}, {one.source, 7, "fm1", "", 9}, {"", 7, one.selector, "m1", 9},
	} {
		if same, ok := seen[bind(other)]; ok {
			t.Errorf("%+v and %+v are bound alike", same, other)
		}
		seen[bind(other)] = other
	}
}

// BenchmarkTrial is a whole trial of a small method: process, run, verdict.
func BenchmarkTrial(b *testing.B) {
	w := newWorld(b, quarantine.Config{})
	req := w.request("def add(self, n):\n    self.count += n\n    self._p_changed = True\n    return self.count\n", object.NewInt(1))
	for b.Loop() {
		if v := w.try(req); !v.OK {
			b.Fatal(v.Err)
		}
	}
}

// hang never answers. A timer keeps the runtime from calling it a deadlock,
// which it does in a program without cgo.
func hang() (object.Value, error) {
	for {
		<-time.After(time.Hour)
	}
}
