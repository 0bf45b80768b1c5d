package kernel

import (
	"context"
	"strings"
	"sync"
	"testing"

	"batos"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

// What a message spent that has ended stays spent for its siblings, also after
// a restart.
func TestASiblingsSpendingOutlivesARestart(t *testing.T) {
	slow := make(chan struct{}, 1)
	fast := make(chan struct{})
	forever := make(chan struct{})
	var mu sync.Mutex
	asked := 0
	restarted := false
	script := &mindtest.Script{Reply: func(_ int, r mind.Request) mindtest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(r.Text, "slow") && !restarted {
			slow <- struct{}{}
			return mindtest.Answer{Text: "never", Wait: forever}
		}
		asked++
		if strings.Contains(r.Text, "fast") && asked == 1 {
			return mindtest.Answer{Text: "well", Wait: fast}
		}
		return mindtest.Answer{Text: "well"}
	}}
	s := setup{script: script, change: func(c *Config) {
		c.Lineage.Inferences = 4
		c.Lineage.Tokens, c.Lineage.SendLater, c.Lineage.Hops, c.Lineage.Missions = 100_000, 10, 10, 1
		c.Lineage.NewObjects, c.Lineage.Written = 100, 1<<20
	}}
	w := awakened(t, s)
	think := "def think(self, n):\n    for i in range(n):\n        self.last = pLLM_obj.infer_(self.speed + str(i))\n    return n\n"
	for _, name := range []string{"slow", "fast"} {
		w.new(name, "", slot("speed", object.Str(name)), slot("last", object.None{}))
		w.def(name, think)
	}
	w.new("both", "")
	w.def("both", "def go(self):\n    send_later(root(\"slow\"), \"think\", 3)\n    send_later(root(\"fast\"), \"think\", 2)\n")
	v, err := w.send("both", "go")
	w.want(v, err, object.None{})
	<-slow      // it is kept as waiting, before anything was spent
	close(fast) // two inferences
	w.until("fast", "last", object.Str("well"))
	w.close()
	mu.Lock()
	restarted = true
	before := asked
	mu.Unlock()
	s.script = &mindtest.Script{Reply: script.Reply} // the first one was closed with its kernel
	w.start(s)
	w.settled()
	mu.Lock()
	defer mu.Unlock()
	if n := asked - before; n != 2 {
		t.Errorf("the slow message asked %d times after the restart; 4 are allowed to both, and its sibling asked twice", n)
	}
}

// until waits until a slot holds a value; the tests' time limit ends it.
func (w *world) until(target, name string, want object.Value) {
	w.t.Helper()
	for {
		if _, v, _ := w.slotOf(target, name); object.Equal(v, want) {
			return
		}
		if _, err := w.send(target, name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// settled waits until no message is in flight.
func (w *world) settled() {
	w.t.Helper()
	for {
		w.k.mu.Lock()
		var any *flight
		for _, f := range w.k.flights {
			any = f
		}
		w.k.mu.Unlock()
		if any == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := w.k.Wait(ctx, any.id)
		cancel()
		if err != nil && batos.CodeOf(err) != batos.NotFound {
			w.t.Fatal(err)
		}
	}
}
