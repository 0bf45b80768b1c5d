package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"batos/internal/vfs"
)

// each runs a test on every filesystem that keeps what it is given.
func each(t *testing.T, run func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("os", func(t *testing.T) { run(t, vfs.OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) { run(t, vfs.NewMem(), "/") })
	t.Run("crash", func(t *testing.T) { run(t, vfs.NewCrash(1), "/") })
	t.Run("faulty", func(t *testing.T) { run(t, vfs.NewFaulty(vfs.NewMem()), "/") })
}

func create(t *testing.T, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f vfs.File, off int64, data string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(data), off); err != nil || n != len(data) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, fsys vfs.FS, name, want string) {
	t.Helper()
	b, err := vfs.ReadFile(fsys, name)
	if err != nil || string(b) != want {
		t.Fatalf("%s holds %q, %v; want %q", name, b, err, want)
	}
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		must(t, fsys.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
		must(t, fsys.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
		name := filepath.Join(dir, "a/b/one")
		if _, err := fsys.OpenFile(name, os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of nothing: %v", err)
		}
		f := create(t, fsys, name)
		if f.Name() != name {
			t.Fatalf("Name = %q", f.Name())
		}
		write(t, f, 0, "hello")
		write(t, f, 5000, "far")
		write(t, f, 4094, "page")
		must(t, f.Datasync())
		must(t, f.Sync())
		var b [8]byte
		if n, err := f.ReadAt(b[:], 4092); n != 8 || err != nil || string(b[:]) != "\x00\x00page\x00\x00" {
			t.Fatalf("ReadAt = %d, %v, %q", n, err, b)
		}
		if n, err := f.ReadAt(b[:], 5000); n != 3 || err != io.EOF {
			t.Fatalf("ReadAt at the end = %d, %v", n, err)
		}
		if n, err := f.ReadAt(b[:], 6000); n != 0 || err != io.EOF {
			t.Fatalf("ReadAt past the end = %d, %v", n, err)
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(6))
		wantContent(t, fsys, name, "hel\x00\x00\x00")
		must(t, f.Allocate(0, 3))
		wantContent(t, fsys, name, "hel\x00\x00\x00")
		must(t, f.Close())
		if _, err := f.ReadAt(b[:], 0); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("read of a closed file: %v", err)
		}
		if _, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("exclusive creation of what exists: %v", err)
		}
		r, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		must(t, err)
		if _, err := r.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("wrote through a read-only file")
		}
		must(t, r.Close())
		st, err := fsys.Stat(name)
		if err != nil || st.Size() != 6 || st.IsDir() {
			t.Fatalf("Stat = %v, %v", st, err)
		}
	})
}

func TestNames(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		at := func(n string) string { return filepath.Join(dir, n) }
		must(t, vfs.WriteFile(fsys, at("x"), []byte("X"), 0o600))
		must(t, vfs.WriteFile(fsys, at("y"), []byte("Y"), 0o600))
		must(t, vfs.WriteFile(fsys, at("y"), []byte("Z"), 0o600))
		wantContent(t, fsys, at("y"), "Z")
		must(t, fsys.Rename(at("x"), at("y")))
		must(t, fsys.MkdirAll(at("d"), 0o700))
		must(t, fsys.Rename(at("y"), at("d/y")))
		wantContent(t, fsys, at("d/y"), "X")
		must(t, vfs.WriteFile(fsys, at("b"), nil, 0o600))
		names, err := fsys.ReadDir(dir)
		if err != nil || !slices.Equal(names, []string{"b", "d"}) {
			t.Fatalf("ReadDir = %v, %v", names, err)
		}
		if err := fsys.Remove(at("d")); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Fatalf("removed a folder with a file: %v", err)
		}
		must(t, fsys.Remove(at("d/y")))
		must(t, fsys.Remove(at("d")))
		must(t, fsys.SyncDir(dir))
		for name, err := range map[string]error{"remove": fsys.Remove(at("d")), "rename": fsys.Rename(at("d"), at("e"))} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("%s of nothing: %v", name, err)
			}
		}
		if err := fsys.MkdirAll(at("b/c"), 0o700); !errors.Is(err, syscall.ENOTDIR) {
			t.Fatalf("folder below a file: %v", err)
		}
	})
}

func TestLock(t *testing.T) {
	each(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name, false)
		must(t, err)
		for _, shared := range []bool{true, false} {
			var held *vfs.HeldError
			if _, err := fsys.Lock(name, shared); !errors.As(err, &held) || held.Holder == "" {
				t.Fatalf("second lock: %v", err)
			}
		}
		must(t, l.Close())
		a, err := fsys.Lock(name, true)
		must(t, err)
		b, err := fsys.Lock(name, true)
		must(t, err)
		must(t, a.Close())
		if _, err := fsys.Lock(name, false); err == nil {
			t.Fatal("exclusive beside shared")
		}
		must(t, b.Close())
		l, err = fsys.Lock(name, false)
		must(t, err)
		must(t, l.Close())
	})
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	for seed := range uint64(300) {
		c := vfs.NewCrash(seed)
		f := create(t, c, "/kept")
		write(t, f, 0, "safe")
		must(t, f.Sync())
		must(t, c.SyncDir("/"))
		write(t, f, 4, "maybe")
		create(t, c, "/unnamed")
		c.Crash()
		b, err := vfs.ReadFile(c, "/kept")
		must(t, err)
		if !bytes.HasPrefix(b, []byte("safe")) || len(b) > len("safemaybe") {
			t.Fatalf("seed %d: %q", seed, b)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); err == nil {
			t.Fatal("a file outlived the power failure")
		}
	}
}

// TestCrashLosesEverythingItMay: over many seeds each thing that may happen
// to an unsynced byte does happen.
func TestCrashLosesEverythingItMay(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(500) {
		c := vfs.NewCrash(seed)
		f := create(t, c, "/f")
		must(t, c.SyncDir("/"))
		first, second := bytes.Repeat([]byte{1}, 1024), bytes.Repeat([]byte{2}, 1024)
		write(t, f, 0, string(first))
		write(t, f, 1024, string(second))
		create(t, c, "/g")
		c.Crash()
		b, err := vfs.ReadFile(c, "/f")
		must(t, err)
		hasFirst, hasSecond := bytes.HasPrefix(b, first), bytes.HasSuffix(b, second)
		switch {
		case len(b) == 0:
			seen["all lost"] = true
		case hasFirst && hasSecond:
			seen["all kept"] = true
		case hasSecond:
			seen["reordered"] = true
		case len(b)%512 != 0:
			seen["torn"] = true
		}
		if _, err := c.Stat("/g"); err == nil {
			seen["name kept"] = true
		} else {
			seen["name lost"] = true
		}
	}
	for _, what := range []string{"all lost", "all kept", "reordered", "torn", "name kept", "name lost"} {
		if !seen[what] {
			t.Errorf("never: %s", what)
		}
	}
}

func TestCrashStops(t *testing.T) {
	c := vfs.NewCrash(7)
	f := create(t, c, "/f")
	c.StopAt(c.Calls() + 2)
	write(t, f, 0, "one")
	if _, err := f.WriteAt([]byte("two"), 3); err == nil || !c.Stopped() {
		t.Fatalf("the power did not fail: %v", err)
	}
	if err := f.Sync(); err == nil {
		t.Fatal("synced without power")
	}
	if _, err := c.ReadDir("/"); err == nil {
		t.Fatal("read without power")
	}
	c.Crash()
	create(t, c, "/f")
}

func TestKillKeepsWhatIsInMemory(t *testing.T) {
	lost := false
	for seed := range uint64(50) {
		c := vfs.NewCrash(seed)
		f := create(t, c, "/f")
		must(t, c.SyncDir("/"))
		write(t, f, 0, "unsynced")
		c.Kill()
		wantContent(t, c, "/f", "unsynced")
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("a file outlived its process")
		}
		c.Crash()
		b, err := vfs.ReadFile(c, "/f")
		must(t, err)
		lost = lost || len(b) == 0
	}
	if !lost {
		t.Fatal("what was never synced always survives")
	}
}

func TestCrashIsRepeatable(t *testing.T) {
	run := func() string {
		c := vfs.NewCrash(42)
		f := create(t, c, "/f")
		must(t, c.SyncDir("/"))
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range 50 {
			write(t, f, rng.Int64N(9000), string(bytes.Repeat([]byte{byte(i)}, rng.IntN(3000))))
		}
		c.Crash()
		b, err := vfs.ReadFile(c, "/f")
		must(t, err)
		return string(b)
	}
	if first, second := run(), run(); first != second {
		t.Fatal("the same seed lost different bytes")
	}
}

func TestFaulty(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewMem())
	f := create(t, fsys, "/f")
	fsys.Fail(vfs.OpWrite, 2, false, syscall.EIO)
	write(t, f, 0, "abcd")
	if n, err := f.WriteAt([]byte("efgh"), 4); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	write(t, f, 6, "gh")
	wantContent(t, fsys, "/f", "abcdefgh")
	fsys.Fail(vfs.OpSync, 1, true, syscall.ENOSPC)
	for _, sync := range []func() error{f.Sync, f.Datasync, f.Sync} {
		if err := sync(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("sync: %v", err)
		}
	}
	fsys.Heal()
	must(t, f.Sync())
	if n := fsys.Calls(vfs.OpSync); n != 4 {
		t.Fatalf("Calls = %d", n)
	}
}
