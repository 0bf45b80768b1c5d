package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector runs when the heap has doubled. For a server whose cache is
// full that means twice the cache, which is explained; what is not is a burst,
// of large requests say, after which the heap has doubled from its highest. So
// the process has a soft limit: the cache twice, and so much for all else.
const beside = 192 << 20

// limitEvery is how often the limit is looked at.
const limitEvery = time.Minute

// memoryLimit is the soft limit of a server with a cache of so many bytes of
// which alive are reachable. When more is than was thought of (the vectors of a
// large catalog), it leaves room for half as much garbage: a collector that has
// none does nothing else.
func memoryLimit(cache, alive int64) int64 { return max(2*cache+beside, alive+alive/2) }

// limitMemory sets the collector's soft limit and adapts it until ctx ends. A
// limit that the user gave by GOMEMLIMIT is left alone.
func limitMemory(ctx context.Context, cache int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(memoryLimit(cache, 0))
	go func() {
		every := time.NewTicker(limitEvery)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				debug.SetMemoryLimit(memoryLimit(cache, alive()))
			case <-ctx.Done():
				return
			}
		}
	}()
}

// alive is how much of the heap was reachable when the collector ran last.
func alive() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s[0].Value.Uint64())
}
