package kernel

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

// gated holds every answer of the model to a request for a method until open
// is closed, and tells when one has begun.
func gated(sources ...string) (script *mindtest.Script, began <-chan struct{}, open chan struct{}) {
	script = writing(sources...)
	reply, b, o := script.Reply, make(chan struct{}, 100), make(chan struct{})
	script.Reply = func(n int, r mind.Request) mindtest.Answer {
		a := reply(n, r)
		if !isPlan(r) {
			b <- struct{}{}
			a.Wait = o
		}
		return a
	}
	return script, b, o
}

func TestAPersonsMethodIsNotReplacedByTheMissionThatWasUnderWay(t *testing.T) {
	script, began, open := gated(incrementBy)
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(3)))
	id, err := w.submit(request("counter", "increment_by", num(4)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	w.def("counter", "def increment_by(self, n):\n    self.count += n * 100\n    return self.count\n")
	close(open)
	o, err := w.k.Wait(context.Background(), id)
	if err != nil || o.Err != nil || !object.Equal(o.Value, num(403)) {
		t.Fatalf("the message was answered by other code than the person's: %+v, %v", o, err)
	}
	in, err := w.k.Inspect(context.Background(), batos.Ref{Name: "counter"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := in.State.Slot("increment_by")
	if m, ok := v.(*object.Method); !ok || m.Author != batos.Person || m.Version != 1 {
		t.Errorf("the slot holds %#v", v)
	}
}

func TestTwoMissionsForOneSelectorInstallOneMethod(t *testing.T) {
	two := "def add(self, a, b):\n    return a + b\n"
	script, began, open := gated(two)
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(3)))
	first, err := w.submit(request("counter", "add", num(1), num(2)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	second, err := w.submit(request("counter", "add", num(1), num(2), num(3)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	close(open)
	if o, err := w.k.Wait(context.Background(), first); err != nil || o.Err != nil || !object.Equal(o.Value, num(3)) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := w.k.Wait(context.Background(), second); err != nil || o.Err == nil {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestWhoJoinsAMissionThatAwaitsAPersonIsTold(t *testing.T) {
	w := awakened(t, setup{script: writing("def shout(self):\n    return self.name.upper()\n")})
	ctx := context.Background()
	o, err := w.k.Send(ctx, request("genesis_obj", "shout"))
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending {
		t.Fatalf("%+v, %v", o, err)
	}
	_, late := w.send("genesis_obj", "shout")
	w.wantCode(late, batos.ApprovalPending)
	if err := w.k.Approve(ctx, Person{"tester"}, o.Mission); err != nil {
		t.Fatal(err)
	}
	if o, err = w.k.Wait(ctx, o.ID); err != nil || o.State != batos.Done {
		t.Fatalf("%+v, %v", o, err)
	}
}

func TestApprovalNeedsNoModel(t *testing.T) {
	s := setup{script: writing("def shout(self):\n    return self.name.upper()\n")}
	w := awakened(t, s)
	ctx := context.Background()
	o, err := w.k.Send(ctx, request("genesis_obj", "shout"))
	if err != nil || o.Err == nil || o.Err.Code != batos.ApprovalPending {
		t.Fatalf("%+v, %v", o, err)
	}
	w.close()
	s.offline = true
	w.start(s)
	if again, err := w.k.Wait(ctx, o.ID); err != nil || again.Err == nil || again.Err.Code != batos.ApprovalPending {
		t.Fatalf("after a restart: %+v, %v", again, err)
	}
	if err := w.k.Approve(ctx, Person{"tester"}, o.Mission); err != nil {
		t.Fatal(err)
	}
	if o, err = w.k.Wait(ctx, o.ID); err != nil || !object.Equal(o.Value, object.Str("BAT OS")) {
		t.Fatalf("%+v, %v", o, err)
	}
}

// However a cancellation falls among the steps of a mission, the mission ends
// and nobody waits for ever.
func TestACancellationIsNeverLost(t *testing.T) {
	for round := range 40 {
		func() {
			w := awakened(t, setup{script: writing(incrementBy)})
			defer w.close()
			w.new("counter", "", slot("count", num(0)))
			ctx := context.Background()
			id, err := w.submit(request("counter", "increment_by", num(1)))
			if err != nil {
				t.Fatal(err)
			}
			feed, stop := w.k.Events.Subscribe(0)
			defer stop()
			var cycle batos.OID
			for n := 0; n <= round%10; n++ {
				if e := <-feed; e.Mission != 0 {
					cycle = e.Mission
				}
			}
			err = w.k.Cancel(ctx, Person{"tester"}, cycle)
			o, werr := w.k.Wait(ctx, id)
			m, merr := w.k.Mission(ctx, cycle)
			if werr != nil || merr != nil {
				t.Fatal(werr, merr)
			}
			switch {
			case err == nil && m.Status == "cancelled" && o.State == batos.Ended:
			case batos.CodeOf(err) == batos.Conflict && m.Status == "complete" && o.State == batos.Done:
			default:
				t.Errorf("round %d: cancel said %v, the mission is %s, the message %+v", round, err, m.Status, o)
			}
		}()
	}
}

func TestACancellationNeedsNoWorkflowThatWorks(t *testing.T) {
	script, began, open := gated(incrementBy)
	defer close(open)
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(0)))
	w.def("CANCELLED_state", "def enter_(self, cycle):\n    fail(\"no way out\")\n")
	id, err := w.submit(request("counter", "increment_by", num(1)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	missions, err := w.k.Missions(context.Background())
	if err != nil || len(missions) != 1 {
		t.Fatal(missions, err)
	}
	if err := w.k.Cancel(context.Background(), Person{"tester"}, missions[0].OID); err != nil {
		t.Fatal(err)
	}
	if o, err := w.k.Wait(context.Background(), id); err != nil || o.State != batos.Ended {
		t.Errorf("%+v, %v", o, err)
	}
}

// A method that tells its trial by the numbers of new objects, and does
// something else in earnest, is turned down at its commit; and the next start
// does not take the message up again.
func TestAMethodThatKnowsItsTrialIsRefusedForGood(t *testing.T) {
	for name, evil := range map[string]string{
		"another change": "self.count = 1000",
		"a message":      "send_later(self, \"note_\", 1000)",
		"a tree key":     "self.book.set(1000, 1000)",
	} {
		t.Run(name, func(t *testing.T) {
			s := setup{script: writing("def attack(self):\n    w = self.clone()\n    self.count = 1\n    if \"0x40000000\" not in w.describe():\n        " + evil + "\n    self._p_changed = True\n    return 1\n")}
			w := awakened(t, s)
			w.new("mallory", "", slot("count", num(0)))
			w.def("mallory", "book = tree()\n\ndef note_(self, n):\n    self.count = n\n")
			r := request("mallory", "attack")
			r.ID = "the-attack"
			_, err := w.sendRequest(r)
			w.wantCode(err, batos.Refused)
			w.k.work.Wait()
			v, err := w.send("mallory", "count")
			w.want(v, err, num(0))
			w.close()
			w.start(s)
			if n := w.unfinished(); n != 0 {
				t.Errorf("%d messages go on after the restart", n)
			}
			_, err = w.sendRequest(r)
			w.wantCode(err, batos.Refused)
		})
	}
}

// unfinished is how many messages the image would resume.
func (w *world) unfinished() (n int64) {
	w.t.Helper()
	if err := w.im.View(context.Background(), func(tx *image.Tx) (err error) {
		n, err = tx.Tree(w.k.roots.live).Len()
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestAnErrorInBytesThatAreNoTextIsKept(t *testing.T) {
	s := setup{script: writing(incrementBy)}
	w := awakened(t, s)
	w.new("odd", "", slot("count", num(0)))
	w.def("odd", "def break_(self):\n    pLLM_obj.infer_(\"x\")\n    fail(\"\\u00e9\"[0:1] + \"x\" * 100000)\n")
	r := request("odd", "break_")
	r.ID = "odd-one"
	_, err := w.sendRequest(r)
	w.wantCode(err, batos.Raised)
	w.close()
	w.start(s)
	_, err = w.sendRequest(r)
	w.wantCode(err, batos.Raised)
	if len(err.Text) > 2*maxErrorText {
		t.Errorf("%d bytes of error are kept", len(err.Text))
	}
}

func TestWhatAModelSaysInBytesThatAreNoTextIsAnAttempt(t *testing.T) {
	w := awakened(t, setup{script: writing("\xff\xfe", incrementBy)})
	w.new("counter", "", slot("count", num(1)))
	v, err := w.send("counter", "increment_by", num(1))
	w.want(v, err, num(2))
}

// All that descends from one request draws on one account, also what runs at
// the same time.
func TestDescendantsShareOneBudget(t *testing.T) {
	const budget = 100
	w := awakened(t, setup{offline: true, change: func(c *Config) {
		c.Lineage = exec.DefaultLineage
		c.Lineage.NewObjects = budget
	}})
	made := func() (n int) {
		t.Helper()
		for i := range 20 {
			v, err := w.send(fmt.Sprintf("maker%d", i), "made")
			if err != nil {
				t.Fatal(err)
			}
			n += int(intOf(v))
		}
		return n
	}
	for i := range 20 {
		name := fmt.Sprintf("maker%d", i)
		w.new(name, "", slot("made", num(0)))
		w.def(name, "def make(self):\n    for i in range(40):\n        clone(self)\n    self.made += 40\n")
	}
	w.new("boss", "", slot("n", num(0)))
	var b strings.Builder
	b.WriteString("def go(self):\n")
	for i := range 20 {
		fmt.Fprintf(&b, "    send_later(root(\"maker%d\"), \"make\")\n", i)
	}
	w.def("boss", b.String())
	if _, err := w.send("boss", "go"); err != nil {
		t.Fatal(err)
	}
	w.k.work.Wait()
	if n := made(); n == 0 || n > budget {
		t.Errorf("%d objects were made; the budget is %d", n, budget)
	}
}

func TestAMessageThatSendsItselfForEverEnds(t *testing.T) {
	w := awakened(t, setup{script: writing("def tick(self):\n    self.count = self.count + 1\n    send_later(self, \"tick\")\n    self._p_changed = True\n    return self.count\n")})
	w.new("clock", "", slot("count", num(0)))
	if _, err := w.send("clock", "tick"); err != nil {
		t.Fatal(err)
	}
	w.k.work.Wait()
	v, err := w.send("clock", "count")
	if err != nil || intOf(v) > int64(exec.DefaultLineage.Hops)+1 || intOf(v) < 2 {
		t.Errorf("it ticked %s times, %v", object.Text(v, 20), err)
	}
	if n := w.unfinished(); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func TestAMessageThatNeedsEverMoreMethodsEnds(t *testing.T) {
	w := awakened(t, setup{script: &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		if isPlan(r) {
			return mindtest.Answer{Text: plan}
		}
		var text string
		for _, turn := range r.Chat {
			text += turn.Text
		}
		for i := range 20 {
			if name := fmt.Sprintf("need%d", i); strings.Contains(text, name+"(") || strings.Contains(text, name+"`") || strings.Contains(text, name+"\"") {
				return mindtest.Answer{Text: "def " + name + "(self):\n    return 1\n"}
			}
		}
		return mindtest.Answer{Text: "def nothing(self):\n    return 1\n"}
	}}})
	w.new("greedy", "", slot("count", num(0)))
	var b strings.Builder
	b.WriteString("def all_of_them(self):\n")
	for i := range 20 {
		fmt.Fprintf(&b, "    send_later(self, \"need%d\")\n", i)
	}
	w.def("greedy", b.String()+"    self.count = 20\n")
	v, err := w.send("greedy", "all_of_them")
	w.want(v, err, object.None{})
	w.k.work.Wait()
	missions, ierr := w.k.Missions(context.Background())
	if ierr != nil || len(missions) == 0 || len(missions) > exec.DefaultLineage.Missions {
		t.Errorf("%d missions, %v", len(missions), ierr)
	}
}

// Durable messages are not turned away because others stand in line.
func TestAFullLineDoesNotFailWhatWasAccepted(t *testing.T) {
	script, began, open := gated(incrementBy)
	w := awakened(t, setup{script: script, change: func(c *Config) { c.Queue = 4 }})
	oid := w.new("counter", "", slot("count", num(0)))
	other := w.new("other", "", slot("count", num(0)))
	id, err := w.submit(request("counter", "increment_by", num(1)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	leave, leaveOther := w.hold(oid), w.hold(other)
	var wg sync.WaitGroup
	full := false
	for !full {
		f, err := w.k.submit(context.Background(), request("other", "count"))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-f.done:
			full = true
		default:
			w.k.boxes.mu.Lock()
			full = w.k.boxes.waiting >= 4
			w.k.boxes.mu.Unlock()
		}
	}
	wg.Add(1)
	var o Outcome
	go func() {
		defer wg.Done()
		o, err = w.k.Wait(context.Background(), id)
	}()
	close(open)
	feed, stop := w.k.Events.Subscribe(0)
	defer stop()
	for e := range feed {
		if e.Kind == "installed" {
			break
		}
	}
	leave()
	leaveOther()
	wg.Wait()
	if err != nil || o.Err != nil || !object.Equal(o.Value, num(1)) {
		t.Errorf("%+v, %v", o, err)
	}
}

// A kernel that stops takes nothing more and starts nothing more, and loses
// nothing that was accepted.
func TestSubmittingWhileItStops(t *testing.T) {
	s := setup{offline: true}
	w := awakened(t, s)
	w.new("counter", "", slot("count", num(0)))
	w.def("counter", addSource)
	var mu sync.Mutex
	accepted := int64(0)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for c := range 4 {
		wg.Go(func() {
			<-start
			for i := range 200 {
				r := request("counter", "add", num(1))
				r.ID = batos.MessageID(fmt.Sprintf("c%d-%d", c, i))
				o, err := w.k.Submit(context.Background(), r)
				if err != nil || o.Err != nil {
					return
				}
				mu.Lock()
				accepted++
				mu.Unlock()
			}
		})
	}
	close(start)
	if err := w.k.Close(context.Background()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := w.im.Close(); err != nil {
		t.Error(err)
	}
	w.k = nil
	s.fs = w.fs
	w.start(s)
	w.k.work.Wait()
	v, err := w.send("counter", "count")
	if err != nil || intOf(v) < accepted {
		t.Errorf("%d were accepted, %s were carried out, %v", accepted, object.Text(v, 20), err)
	}
}

func TestAVerdictThatSaysNoInstallsNothing(t *testing.T) {
	bad := "def increment_by(self, a):\n    self.count = 1000\n    self._p_changed = True\n    fail(\"no\")\n"
	script, began, open := gated(bad, incrementBy)
	w := awakened(t, setup{script: script})
	w.new("counter", "", slot("count", num(0)))
	id, err := w.submit(request("counter", "increment_by", num(1)))
	if err != nil {
		t.Fatal(err)
	}
	<-began
	open <- struct{}{}
	<-began // the second attempt: the verdict on the first is the newest
	missions, err := w.k.Missions(context.Background())
	if err != nil || len(missions) != 1 {
		t.Fatal(missions, err)
	}
	cycle := missions[0].OID
	var d *docket
	if err := w.im.View(context.Background(), func(tx *image.Tx) (err error) {
		d, err = loadDocket(tx, docketOID(cycle))
		return err
	}); err != nil || len(d.Verdicts) != 1 {
		t.Fatal(d, err)
	}
	_, refused := w.send("VALIDATING_state", "install_", object.Ref(cycle), forged(bad, object.Ref(d.Verdicts[0])))
	w.wantCode(refused, batos.Denied)
	close(open)
	if o, err := w.k.Wait(context.Background(), id); err != nil || o.Err != nil || !object.Equal(o.Value, num(1)) {
		t.Errorf("%+v, %v", o, err)
	}
	// The verdict of an attempt that is over counts for nothing either.
	_, refused = w.send("VALIDATING_state", "install_", object.Ref(cycle), forged(bad, object.Ref(d.Verdicts[0])))
	w.wantCode(refused, batos.Denied)
}
