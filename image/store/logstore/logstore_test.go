package logstore_test

import (
	"testing"

	"batos/image/store"
	"batos/image/store/logstore"
	"batos/image/store/storetest"
	"batos/internal/vfs"
)

func TestConformance(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS(), "mem": nil} {
		for size, o := range map[string]logstore.Options{
			"default": {},
			"small":   {SegmentBytes: 4 << 10, CheckpointBytes: 2 << 10}, // segments and checkpoints all the time
		} {
			t.Run(name+"/"+size, func(t *testing.T) {
				t.Parallel()
				storetest.Run(t, func(t *testing.T) storetest.Opener {
					place := fsys
					if place == nil {
						place = vfs.NewMem()
					}
					dir := t.TempDir()
					return func() (store.Store, error) { return logstore.Open(t.Context(), place, dir, o) }
				})
			})
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fsys vfs.FS, dir string, o logstore.Options) *logstore.Store {
	t.Helper()
	s, err := logstore.Open(t.Context(), fsys, dir, o)
	must(t, err)
	return s
}
