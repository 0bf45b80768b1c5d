package main

import (
	"runtime"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ cache, alive, want int64 }{
		{128, 0, 448},
		{128, 170, 448},   // the usual: cache and what a server needs besides
		{16, 40, 224},     //
		{128, 600, 900},   // a large catalog's vectors
		{1024, 900, 2240}, //
	} {
		if got := memoryLimit(c.cache*mib, c.alive*mib); got != c.want*mib {
			t.Errorf("a cache of %d MiB with %d alive has the limit %d, not %d", c.cache, c.alive, got/mib, c.want)
		}
	}
	held := make([]byte, 8*mib)
	runtime.GC()
	if n := alive(); n < 8*mib {
		t.Errorf("%d bytes are alive, of which 8 MiB are known", n)
	}
	runtime.KeepAlive(held)
}
