package kernel

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"batos"
	"batos/internal/vfs"
	"batos/object"
)

const addSource = "def add(self, a):\n    self.count = self.count + a\n    self._p_changed = True\n    return self.count\n"

// hold takes the first place in a receiver's line; the result gives it up.
func (w *world) hold(oid batos.OID) (leave func()) {
	w.t.Helper()
	if err := w.k.boxes.await(context.Background(), oid, false); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if next := w.k.boxes.leave(oid); next != nil {
			go w.k.process(next)
		}
	}
}

func TestMessagesOfOneSenderRunInTheOrderInWhichTheyCame(t *testing.T) {
	w := awakened(t, setup{offline: true})
	oid := w.new("log", "", slot("lines", &object.List{}))
	w.def("log", "def note(self, a):\n    self.lines = self.lines + [a]\n    self._p_changed = True\n")
	const n = 100
	leave := w.hold(oid)
	want := &object.List{}
	for i := range n {
		if _, err := w.submit(request("log", "note", num(int64(i)))); err != nil {
			t.Fatal(err)
		}
		want.Items = append(want.Items, num(int64(i)))
	}
	leave()
	v, err := w.send("log", "lines") // is last in line
	w.want(v, err, want)
}

func TestAnIdSentManyTimesAtOnceIsAppliedOnce(t *testing.T) {
	w := awakened(t, setup{offline: true})
	w.new("counter", "", slot("count", num(0)))
	w.def("counter", addSource)
	for round := range 50 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r := request("counter", "add", num(1))
				r.ID = batos.MessageID(fmt.Sprintf("round-%d", round))
				v, err := w.sendRequest(r)
				if err != nil || !object.Equal(v, num(int64(round+1))) {
					t.Errorf("round %d: %v, %v", round, v, err)
				}
			})
		}
		wg.Wait()
	}
}

func TestAnAcceptedMessageSurvivesACrash(t *testing.T) {
	ways := map[string]func(*world, Request) error{
		"accepted": func(w *world, r Request) error {
			_, err := w.k.Submit(context.Background(), r)
			return err
		},
		"not waited for": func(w *world, r Request) error {
			f, err := w.k.submit(context.Background(), r)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			o, err := w.k.wait(ctx, f)
			if err == nil || batos.CodeOf(err) != batos.Timeout || o.State.Final() {
				return fmt.Errorf("a message held back answered %+v, %w", o, err)
			}
			return nil
		},
	}
	for name, accept := range ways {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrash(1)
			w := awakened(t, setup{offline: true, fs: fs})
			oid := w.new("counter", "", slot("count", num(0)))
			w.def("counter", addSource)
			w.hold(oid)
			r := request("counter", "add", num(5))
			r.ID = "kept"
			if err := accept(w, r); err != nil {
				t.Fatal(err)
			}
			fs.StopAt(1)
			stopAll(w.k, w.im)
			fs.StopAt(0)
			fs.Crash()
			w.start(setup{offline: true, fs: fs})
			v, err := w.sendRequest(r)
			w.want(v, err, num(5))
			v, err = w.send("counter", "count")
			w.want(v, err, num(5))
		})
	}
}

// A message that only reads leaves no record, not even when it was retained
// and ended at the same moment.
func TestARetainedMessageThatOnlyReadIsNotKeptForEver(t *testing.T) {
	w := awakened(t, setup{offline: true})
	w.new("counter", "", slot("count", num(7)))
	for i := range 200 {
		r := request("counter", "count")
		r.ID = batos.MessageID(fmt.Sprintf("read-%d", i))
		if _, err := w.k.Submit(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		v, err := w.sendRequest(r)
		w.want(v, err, num(7))
	}
	w.close()
	w.start(setup{offline: true, fs: w.fs})
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if n := len(w.k.flights); n > 0 {
		t.Errorf("%d messages that were answered go on after a restart", n)
	}
}

// Whoever waits by Then is called in the order of the line, and also by a
// kernel that stops while the line does not move.
func TestThenIsCalledWhenAMessageEnds(t *testing.T) {
	w := awakened(t, setup{offline: true})
	oid := w.new("counter", "", slot("count", num(0)))
	w.def("counter", addSource)
	ends := make(chan Outcome, 8)
	hand := func() Handed {
		t.Helper()
		h, err := w.k.Hand(context.Background(), request("counter", "add", num(1)))
		if err != nil {
			t.Fatal(err)
		}
		h.Then(func(o Outcome) { ends <- o })
		return h
	}
	leave := w.hold(oid)
	var last Handed
	for range 3 {
		last = hand()
	}
	if len(ends) != 0 {
		t.Fatal("a message ended before its turn")
	}
	leave()
	for want := int64(1); want <= 3; want++ {
		if o := <-ends; o.Err != nil || !object.Equal(o.Value, num(want)) {
			t.Errorf("%+v, want %d", o, want)
		}
	}
	last.Then(func(o Outcome) { ends <- o }) // it is over
	if o := <-ends; !object.Equal(o.Value, num(3)) {
		t.Errorf("%+v", o)
	}

	leave = w.hold(oid)
	defer leave()
	hand()
	if err := w.k.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if o := <-ends; o.Err == nil || o.Err.Code != batos.Busy {
		t.Errorf("after the stop: %+v", o)
	}
}
