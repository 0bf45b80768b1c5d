//go:build unix

package vfs

import (
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
)

// Mapper is a [File] that can be read without a call to the system.
type Mapper interface {
	// Map gives the first n bytes of the file for reading; it may be shorter
	// or longer. What is written to the file shows, and what is cut off fails.
	Map(n int64) (*Mapping, error)
}

// Mapping is bytes of a file. They are given back to the system some time
// after nobody refers to it any more, whether the file is closed or not.
// Safe for concurrent use.
type Mapping struct{ b []byte }

// Map implements [Mapper].
func (f *osFile) Map(n int64) (*Mapping, error) {
	if strconv.IntSize < 64 {
		return nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: syscall.ENOTSUP} // addresses are scarce
	}
	var b []byte
	err := control(f.File, func(fd int) (err error) {
		b, err = syscall.Mmap(fd, 0, int(n), syscall.PROT_READ, syscall.MAP_SHARED)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	m := &Mapping{b}
	runtime.AddCleanup(m, unmap, b)
	return m, nil
}

func unmap(b []byte) { _ = syscall.Munmap(b) } // what stays mapped costs addresses only

// Len is how many bytes are mapped, of which the file may have fewer.
func (m *Mapping) Len() int64 { return int64(len(m.b)) }

// ReadAt copies bytes from off on into p, all of them or none: false says that
// the mapping or the file ends before, or that the disk did not give them. Ask
// File.ReadAt what it was.
func (m *Mapping) ReadAt(p []byte, off int64) (ok bool) {
	if off < 0 || off+int64(len(p)) > int64(len(m.b)) {
		return false
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if !ok {
			r := recover()
			if _, fault := r.(interface{ Addr() uintptr }); r != nil && !fault {
				panic(r)
			}
		}
	}()
	copy(p, m.b[off:])
	runtime.KeepAlive(m)
	return true
}

// Memory is zeroed bytes that the collector does not know: it neither scans
// them nor lets them decide when to run. Like a [Mapping], it goes some time
// after nobody refers to it; so whoever keeps Bytes has to keep it as well.
type Memory struct{ Bytes []byte }

// Memory from manyBytes on is asked for in large pages: they are given, and
// found at places far apart, much quicker.
// What is left of the last one is wasted, which is too much to waste of very many.
const (
	manyBytes     = 1 << 20
	veryManyBytes = 64 << 20
	hugePage      = 2 << 20
)

// NewMemory gives n bytes. They cost nothing until they are used.
func NewMemory(n int) *Memory {
	size := n
	if n >= manyBytes {
		size += 2*hugePage - 1 // whole pages of this size, wherever they begin
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil { // the limit is reached: let the collector have them
		return &Memory{make([]byte, n)}
	}
	m := &Memory{b[:n]}
	if n >= manyBytes {
		at := -int(reflect.ValueOf(b).Pointer()) & (hugePage - 1)
		m.Bytes = b[at : at+n]
		huge := n
		if n < veryManyBytes {
			huge += hugePage - 1
		}
		adviseHuge(b[at : at+huge&^(hugePage-1)])
	}
	runtime.AddCleanup(m, unmap, b)
	return m
}

// Populate has the system give the memory of b, which begins where a page of a
// [Memory] does, all at once: this is several times quicker than page by page,
// at the first byte that is written to each. It is no harm if it does nothing.
func Populate(b []byte) { populate(b) }
