package kernel

import (
	"context"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

// writing answers plans with a plan and methods with the given sources in turn.
func writing(sources ...string) *mindtest.Script {
	var mu sync.Mutex
	return &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if isPlan(r) {
			return mindtest.Answer{Text: plan}
		}
		s := sources[0]
		if len(sources) > 1 {
			sources = sources[1:]
		}
		return mindtest.Answer{Text: s}
	}}
}

func isPlan(r mind.Request) bool {
	return len(r.Chat) > 0 && strings.Contains(r.Chat[0].Text, "JSON object")
}

func methodRequests(s *mindtest.Script) (out []mind.Request) {
	for _, r := range s.Asked() {
		if !isPlan(r) {
			out = append(out, r)
		}
	}
	return out
}

func TestAMissingMethodIsWrittenAndTheMessageGoesOn(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	v, err = w.send("counter", "increment_by", num(1))
	w.want(v, err, num(8))
	if n := len(methodRequests(w.script)); n != 1 {
		t.Fatalf("%d inferences for one method", n)
	}
	in, ierr := w.k.Inspect(context.Background(), batos.Ref{Name: "counter"}, 0)
	if ierr != nil {
		t.Fatal(ierr)
	}
	m, ok := in.State.Slot("increment_by")
	method, isMethod := m.(*object.Method)
	if !ok || !isMethod || method.Author != batos.Persona || method.Source != incrementBy || method.Version != 1 {
		t.Fatalf("the method slot holds %#v", m)
	}
	p := in.Provenance["increment_by"]
	if p == nil || p.Protection != object.Sealed {
		t.Fatal("the method has no sealed provenance")
	}
	for _, name := range []string{"mission", "model", "model_hash", "prompt", "verdicts", "source_hash", "snapshot"} {
		if _, ok := p.Slot(name); !ok {
			t.Errorf("the provenance lacks %s", name)
		}
	}
	missions, ierr := w.k.Missions(context.Background())
	if ierr != nil || len(missions) != 1 || missions[0].State != "COMPLETE" || missions[0].Status != "complete" {
		t.Fatalf("missions: %+v, %v", missions, ierr)
	}
}

func TestARealErrorGoesBackToTheModel(t *testing.T) {
	w := awakened(t, setup{script: writing(
		"def increment_by(self, a):\n    self.count = self.count + a\n    return self.count\n",                             // no covenant
		"def increment_by(self, a):\n    self.count = self.cuont + a\n    self._p_changed = True\n    return self.count\n", // no such slot
		incrementBy,
	)})
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	asked := methodRequests(w.script)
	if len(asked) != 3 {
		t.Fatalf("%d attempts, want 3", len(asked))
	}
	told := func(r mind.Request) string {
		var b strings.Builder
		for _, turn := range r.Chat {
			b.WriteString(turn.Text)
		}
		return b.String()
	}
	if s := told(asked[1]); !strings.Contains(s, "_p_changed") {
		t.Error("the second attempt was not told of the covenant")
	}
	if s := told(asked[2]); !strings.Contains(s, "cuont") {
		t.Error("the third attempt was not told of the slot that is not there")
	}
}

func TestThreeAttemptsThenTheMissionFails(t *testing.T) {
	w := awakened(t, setup{script: writing("def increment_by(self, a):\n    fail(\"never\")\n")})
	w.new("counter", "", slot("count", num(3)))
	_, err := w.send("counter", "increment_by", num(4))
	w.wantCode(err, batos.MissionFailed)
	if n := len(methodRequests(w.script)); n != 3 {
		t.Fatalf("%d attempts, want 3", n)
	}
	v, err := w.send("counter", "count")
	w.want(v, err, num(3))
	_, ierr := w.k.Inspect(context.Background(), batos.Ref{Name: "counter.increment_by"}, 0)
	if batos.CodeOf(ierr) != batos.NoSlot {
		t.Fatalf("something was installed: %v", ierr)
	}
}

func TestEqualMissionsAreJoined(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("count", num(0)))
	const n = 8
	var wg sync.WaitGroup
	errs := make([]*batos.Error, n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, errs[i] = w.send("counter", "increment_by", num(1))
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	v, err := w.send("counter", "count")
	w.want(v, err, num(n))
	if asked := len(methodRequests(w.script)); asked != 1 {
		t.Errorf("%d inferences for one method", asked)
	}
}

func TestAJoinedMessageThatFailsItsTrialGetsItsOwnError(t *testing.T) {
	hold := make(chan struct{})
	script := writing(incrementBy)
	reply := script.Reply
	script.Reply = func(n int, r mind.Request) mindtest.Answer {
		a := reply(n, r)
		a.Wait = hold
		return a
	}
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(1)))
	ctx := context.Background()
	good, err := w.submit(request("counter", "increment_by", num(2)))
	if err != nil {
		t.Fatal(err)
	}
	parked(t, w, good)
	bad, err := w.submit(request("counter", "increment_by", object.Str("two")))
	if err != nil {
		t.Fatal(err)
	}
	parked(t, w, bad)
	close(hold)
	if o, err := w.k.Wait(ctx, good); err != nil || o.Err != nil || !object.Equal(o.Value, num(3)) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := w.k.Wait(ctx, bad); err != nil || o.Err == nil || o.Err.Code == batos.MissionFailed {
		t.Errorf("%+v, %v", o, err)
	}
}

// parked waits until a message waits for its mission.
func parked(t *testing.T, w *world, id batos.MessageID) {
	t.Helper()
	feed, stop := w.k.Events.Subscribe(0)
	defer stop()
	for e := range feed {
		if e.Kind == "mission" && e.Message == id {
			return
		}
	}
}

func TestOfflineSaysSo(t *testing.T) {
	w := awakened(t, setup{offline: true})
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "count")
	w.want(v, err, num(3))
	_, err = w.send("counter", "increment_by", num(1))
	w.wantCode(err, batos.Offline)
	for _, part := range []string{"does not understand", "cognitive core is offline"} {
		if !strings.Contains(err.Text, part) {
			t.Errorf("%q does not say %q", err.Text, part)
		}
	}
}

func TestARestartDuringAnInferenceGoesOn(t *testing.T) {
	script := writing(incrementBy)
	reply := script.Reply
	started := make(chan struct{}, 1)
	forever := make(chan struct{})
	script.Reply = func(n int, r mind.Request) mindtest.Answer {
		if isPlan(r) {
			return reply(n, r)
		}
		select {
		case started <- struct{}{}:
		default:
		}
		return mindtest.Answer{Wait: forever, Text: "never"}
	}
	s := setup{script: script}
	w := awakened(t, s)
	w.new("counter", "", slot("count", num(3)))
	r := request("counter", "increment_by", num(4))
	r.ID = "the-one"
	if _, err := w.k.Submit(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	<-started
	w.close()
	close(forever)
	w.script = writing(incrementBy)
	s.script = w.script
	w.start(s)
	v, err := w.sendRequest(r) // the client asks again, by the id
	w.want(v, err, num(7))
	v, err = w.sendRequest(r)
	w.want(v, err, num(7))
	v, err = w.send("counter", "count")
	w.want(v, err, num(7))
}

func TestAPersonApprovesMethodsOnProtectedObjects(t *testing.T) {
	source := "def shout(self):\n    return self.name.upper()\n"
	w := awakened(t, setup{script: writing(source)})
	ctx := context.Background()
	id, err := w.submit(request("genesis_obj", "shout"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.k.Wait(ctx, id)
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending || o.State != batos.Parked {
		t.Fatalf("%+v, %v", o, err)
	}
	if err := w.k.Approve(ctx, Person{"tester"}, o.Mission); err != nil {
		t.Fatal(err)
	}
	v, ferr := w.send("genesis_obj", "shout")
	w.want(v, ferr, object.Str("BAT OS"))
	if o, err = w.k.Wait(ctx, id); err != nil || o.State != batos.Done {
		t.Fatalf("%+v, %v", o, err)
	}
}

func TestARejectedMethodIsACorrection(t *testing.T) {
	w := awakened(t, setup{script: writing("def shout(self):\n    return self.name.upper()\n")})
	ctx := context.Background()
	id, err := w.submit(request("genesis_obj", "shout"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.k.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.k.Reject(ctx, Person{"tester"}, o.Mission); err != nil {
		t.Fatal(err)
	}
	if o, err = w.k.Wait(ctx, id); err != nil || o.State != batos.Ended {
		t.Fatalf("%+v, %v", o, err)
	}
	if n := w.corrections(); n != 1 {
		t.Fatalf("%d corrections, want 1", n)
	}
}

func (w *world) corrections() (n int64) {
	w.t.Helper()
	tx, err := w.im.Begin(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	defer tx.Abort()
	if n, err = tx.Tree(w.k.roots.corrections).Len(); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestDefOverGeneratedCodeIsACorrection(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("count", num(3)))
	w.send("counter", "increment_by", num(4))
	w.def("counter", "def increment_by(self, n):\n    self.count += n * 2\n    return self.count\n")
	if n := w.corrections(); n != 1 {
		t.Fatalf("%d corrections, want 1", n)
	}
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(15))
}

func TestACancelledMissionEndsItsMessages(t *testing.T) {
	script := writing(incrementBy)
	started := make(chan struct{}, 1)
	reply := script.Reply
	script.Reply = func(n int, r mind.Request) mindtest.Answer {
		if isPlan(r) {
			return reply(n, r)
		}
		started <- struct{}{}
		return mindtest.Answer{Wait: make(chan struct{})}
	}
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(3)))
	ctx := context.Background()
	id, err := w.submit(request("counter", "increment_by", num(4)))
	if err != nil {
		t.Fatal(err)
	}
	<-started
	missions, err := w.k.Missions(ctx)
	if err != nil || len(missions) != 1 {
		t.Fatal(missions, err)
	}
	if err := w.k.Cancel(ctx, Person{"tester"}, missions[0].OID); err != nil {
		t.Fatal(err)
	}
	o, err := w.k.Wait(ctx, id)
	if err != nil || o.State != batos.Ended || o.Err == nil || o.Err.Code != batos.Cancelled {
		t.Fatalf("%+v, %v", o, err)
	}
}

func TestAStateChangedInARunningImageChangesTheNextMission(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.def("IDLE_state", "def _process_synthesis_(self, cycle):\n    cycle._tmp_synthesis_data = {}\n    return cycle.fail_({\"code\": \"refused\", \"text\": \"closed on Sundays\"})\n")
	w.new("counter", "", slot("count", num(3)))
	_, err := w.send("counter", "increment_by", num(4))
	w.wantCode(err, batos.Refused)
	if err.Text != "closed on Sundays" {
		t.Errorf("the state's own words were lost: %q", err.Text)
	}
}

func TestABrokenStateFailsTheMissionByName(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.def("DELEGATING_state", "def _process_synthesis_(self, cycle):\n    return 1 // 0\n")
	w.new("counter", "", slot("count", num(3)))
	_, err := w.send("counter", "increment_by", num(4))
	w.wantCode(err, batos.MissionFailed)
	if !strings.Contains(err.Text, "division") {
		t.Errorf("%q does not say what broke", err.Text)
	}
}

func TestOneMessageMayNeedTwoMethods(t *testing.T) {
	sources := map[string]string{
		"increment_by": incrementBy,
		"double":       "def double(self):\n    self.count = self.count * 2\n    self._p_changed = True\n    return self.count\n",
	}
	var mu sync.Mutex
	script := &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if isPlan(r) {
			return mindtest.Answer{Text: plan}
		}
		for sel, source := range sources {
			if strings.Contains(r.Chat[1].Text, "def "+sel+"(") {
				return mindtest.Answer{Text: source}
			}
		}
		return mindtest.Answer{Text: "no idea"}
	}}
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(3)))
	w.def("counter", "def grow(self, n):\n    self.increment_by(n)\n    return self.double()\n")
	v, err := w.send("counter", "grow", num(4))
	w.want(v, err, num(14))
	v, err = w.send("counter", "count")
	w.want(v, err, num(14))

	// The steps of the two missions are messages of their own: one that took
	// the id of another could be lost while that one ends.
	ms, merr := w.k.Missions(t.Context())
	if merr != nil || len(ms) != 2 {
		t.Fatalf("%d missions, %v", len(ms), merr)
	}
	steps := map[batos.OID]int{}
	oids, oerr := w.im.Objects(t.Context())
	if oerr != nil {
		t.Fatal(oerr)
	}
	if err := w.im.View(t.Context(), func(tx *image.Tx) error {
		for _, oid := range oids {
			sel, _, err := tx.Slot(oid, "selector")
			if err != nil {
				return err
			}
			if strOf(sel) != "advance" {
				continue
			}
			to, _, err := tx.Slot(oid, "target")
			if err != nil {
				return err
			}
			steps[refOf(to)]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if a, b := steps[ms[0].OID], steps[ms[1].OID]; a == 0 || a != b {
		t.Errorf("the missions left the records of %d and %d steps", a, b)
	}
}
