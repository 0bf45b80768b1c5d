package forge

import (
	"fmt"
	"testing"
)

// BenchmarkStep measures one optimizer step of the shipped model's shape.
// tok/s counts positions, filled or not.
func BenchmarkStep(b *testing.B) {
	lib := library(b)
	for _, threads := range []int{1, 2} {
		for _, row := range []int{64, 128, 256, 512} {
			b.Run(fmt.Sprintf("threads=%d/row=%d", threads, row), func(b *testing.B) {
				c := Config{
					Arch:  Arch{Layers: 4, Dim: 192, Heads: 6, FF: 512, Ctx: 512, Vocab: 768, Tied: true},
					Steps: 1, BatchTokens: 512, RowTokens: row, LR: 1e-3, Threads: threads,
				}.withDefaults()
				net, err := newNetwork(lib, c, c.Arch.layout(), nil, nil, lowRank{}, optimizing)
				if err != nil {
					b.Fatal(err)
				}
				defer net.close()
				w, err := NewWeights(c.Arch, 1)
				if err != nil {
					b.Fatal(err)
				}
				net.load(w.tensors)
				batch := newBatch(c)
				next := 0
				for b.Loop() {
					if next, err = batch.fill(counting{1, 768}, next); err != nil {
						b.Fatal(err)
					}
					net.set(batch)
					net.setStep(c, 1)
					if _, err := net.run(batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(c.BatchTokens*b.N)/b.Elapsed().Seconds(), "tok/s")
				b.ReportMetric(float64(net.graph.Nodes()), "nodes")
				b.ReportMetric(float64(net.graph.Bytes())/(1<<20), "MiB")
			})
		}
	}
}
