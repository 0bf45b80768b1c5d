//go:build unix

package vfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"batos/internal/vfs"
)

func TestMapping(t *testing.T) {
	f, err := vfs.OS().OpenFile(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := f.(vfs.Mapper).Map(1 << 20) // beyond the end of the file
	if err != nil {
		t.Skip(err)
	}
	write := func(b string, off int64) {
		t.Helper()
		if _, err := f.WriteAt([]byte(b), off); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 5)
	if m.ReadAt(got, 0) {
		t.Error("an empty file has bytes")
	}
	for _, off := range []int64{0, 4093, 300_000} {
		write("hello", off)
		if !m.ReadAt(got, off) || !bytes.Equal(got, []byte("hello")) {
			t.Errorf("%q at %d", got, off)
		}
	}
	for _, off := range []int64{-1, 1<<20 - 4, 1 << 20, 1 << 40} {
		if m.ReadAt(got, off) {
			t.Errorf("the mapping has bytes at %d", off)
		}
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if m.ReadAt(got, 300_000) {
		t.Error("what was cut off can be read")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !m.ReadAt(got, 0) {
		t.Error("the mapping ended with the file")
	}
	runtime.GC() // keeps what is used
	if !m.ReadAt(got, 0) {
		t.Error("the mapping ended with a collection")
	}
}

func TestMemoryIsZero(t *testing.T) {
	m := vfs.NewMemory(1 << 16)
	for i := range m.Bytes {
		if m.Bytes[i] != 0 {
			t.Fatal("it is not zero")
		}
		m.Bytes[i] = 1
	}
	runtime.KeepAlive(m)
}
