package exec_test

import (
	"context"
	"testing"

	"batos"
	"batos/internal/exec"
)

// bench runs a message b.N times, each in a transaction that is given up.
// What the method does inner times is also reported for one of them.
func bench(b *testing.B, body string, inner int) {
	w := newWorld(b, exec.Config{})
	w.object("parent", "def noop(self):\n    return None\n\ndef add(self, n):\n    return n")
	w.load(0, batos.Person, map[string]string{"o": "parents = [ref(\"parent\")]\nn = 0\nlog = [1, 2, 3]\n\ndef go(self, by):\n" + body})
	m := message(w.oid("o"), "go", num(1))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		tx, err := w.im.Begin(ctx)
		if err != nil {
			b.Fatal(err)
		}
		if out := w.r.Run(ctx, tx, exec.Request{Message: m, Lineage: exec.DefaultLineage}); out.Status != exec.Done {
			b.Fatal(out.Err)
		}
		tx.Abort()
	}
	if inner > 1 {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(inner), "ns/inner")
	}
}

// BenchmarkMessage is one message that changes one slot, without its commit.
func BenchmarkMessage(b *testing.B) { bench(b, "    self.n += by\n    return self.n", 1) }

// BenchmarkNestedChange is one message that changes a list in a slot.
func BenchmarkNestedChange(b *testing.B) { bench(b, "    self.log.append(by)", 1) }

const times = 1000

// BenchmarkSend is a send to a method of a parent, warm.
func BenchmarkSend(b *testing.B) {
	bench(b, "    for i in range(1000):\n        self.noop()", times)
}

// BenchmarkSlotRead is a read of an own slot, warm.
func BenchmarkSlotRead(b *testing.B) {
	bench(b, "    for i in range(1000):\n        self.n", times)
}

// BenchmarkSlotWrite is an assignment to an own slot.
func BenchmarkSlotWrite(b *testing.B) {
	bench(b, "    for i in range(1000):\n        self.n = i", times)
}

// BenchmarkLoop is the loop around the others.
func BenchmarkLoop(b *testing.B) { bench(b, "    for i in range(1000):\n        by", times) }
