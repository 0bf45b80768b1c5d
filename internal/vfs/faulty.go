package vfs

import (
	"io"
	"io/fs"
	"sync"
)

// Op is a kind of call that [Faulty] can make fail.
type Op string

// The kinds of calls.
const (
	OpOpen     Op = "open"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync" // Sync and Datasync
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpMkdir    Op = "mkdir"
	OpSyncDir  Op = "syncdir"
	OpLock     Op = "lock"
	OpStat     Op = "stat" // Stat, and the size of an open file
	OpReadDir  Op = "readdir"
)

// Ops lists the kinds of calls.
func Ops() []Op {
	return []Op{OpOpen, OpRead, OpWrite, OpSync, OpTruncate, OpAllocate, OpRename, OpRemove, OpMkdir, OpSyncDir, OpLock, OpStat, OpReadDir}
}

// Faulty passes calls on to another filesystem and makes chosen ones fail. A
// write that fails has written half of its bytes; every other call that fails
// has done nothing.
type Faulty struct {
	inner FS

	mu     sync.Mutex
	calls  map[Op]int
	faults map[Op]fault
}

type fault struct {
	first int
	keeps bool
	err   error
}

var _ FS = (*Faulty)(nil)

// NewFaulty makes a Faulty in which nothing fails yet.
func NewFaulty(inner FS) *Faulty {
	return &Faulty{inner: inner, calls: map[Op]int{}, faults: map[Op]fault{}}
}

// Calls counts the calls of a kind so far, those that failed too.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Fail makes the n-th call of a kind from now on fail with err, n from 1; if
// keeps, all later ones too.
func (f *Faulty) Fail(op Op, n int, keeps bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[op] = fault{f.calls[op] + n, keeps, err}
}

// Heal takes all faults back.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.faults)
}

// call counts one call and gives the error it has to fail with, or nil.
func (f *Faulty) call(op Op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	x := f.faults[op]
	if x.err == nil || f.calls[op] < x.first || f.calls[op] > x.first && !x.keeps {
		return nil
	}
	return pathError(string(op), name, x.err)
}

func (f *Faulty) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := f.call(OpOpen, name); err != nil {
		return nil, err
	}
	inner, err := f.inner.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{inner, f}, nil
}

func (f *Faulty) Rename(from, to string) error {
	if err := f.call(OpRename, from); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

func (f *Faulty) Remove(name string) error {
	if err := f.call(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

func (f *Faulty) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.call(OpMkdir, name); err != nil {
		return err
	}
	return f.inner.MkdirAll(name, perm)
}

func (f *Faulty) ReadDir(name string) ([]string, error) {
	if err := f.call(OpReadDir, name); err != nil {
		return nil, err
	}
	return f.inner.ReadDir(name)
}

func (f *Faulty) Stat(name string) (fs.FileInfo, error) {
	if err := f.call(OpStat, name); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

func (f *Faulty) Path(name string) string { return f.inner.Path(name) }

func (f *Faulty) SyncDir(name string) error {
	if err := f.call(OpSyncDir, name); err != nil {
		return err
	}
	return f.inner.SyncDir(name)
}

func (f *Faulty) Lock(name string, shared bool) (io.Closer, error) {
	if err := f.call(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name, shared)
}

// faultyFile is a file of a Faulty.
type faultyFile struct {
	File
	f *Faulty
}

func (x *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := x.f.call(OpRead, x.Name()); err != nil {
		return 0, err
	}
	return x.File.ReadAt(p, off)
}

func (x *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := x.f.call(OpWrite, x.Name()); err != nil {
		n, _ := x.File.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return x.File.WriteAt(p, off)
}

func (x *faultyFile) Size() (int64, error) {
	if err := x.f.call(OpStat, x.Name()); err != nil {
		return 0, err
	}
	return x.File.Size()
}

func (x *faultyFile) Truncate(size int64) error {
	if err := x.f.call(OpTruncate, x.Name()); err != nil {
		return err
	}
	return x.File.Truncate(size)
}

func (x *faultyFile) Allocate(off, n int64) error {
	if err := x.f.call(OpAllocate, x.Name()); err != nil {
		return err
	}
	return x.File.Allocate(off, n)
}

func (x *faultyFile) Sync() error {
	if err := x.f.call(OpSync, x.Name()); err != nil {
		return err
	}
	return x.File.Sync()
}

func (x *faultyFile) Datasync() error {
	if err := x.f.call(OpSync, x.Name()); err != nil {
		return err
	}
	return x.File.Datasync()
}
