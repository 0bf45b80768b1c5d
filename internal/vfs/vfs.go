// Package vfs is the small part of a filesystem that a store needs, with
// everything that decides durability in plain sight: data is safe after
// [File.Sync] or [File.Datasync], names are safe after [FS.SyncDir], and
// nothing is safe before.
//
// [OS] is the real thing. The other three exist to prove that a store keeps
// its promises: [NewMem] is quick, [NewCrash] forgets what was not synced when
// the power fails, and [NewFaulty] makes chosen calls fail.
//
// Errors are those of package os (fs.ErrNotExist, syscall.ENOSPC, …), so that
// errors.Is works the same on all four. A lock held elsewhere is a [HeldError].
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a filesystem. Names are paths with the separator of the machine. All
// methods are safe for concurrent use.
type FS interface {
	// OpenFile opens a file; flag is a combination of os.O_RDONLY, O_RDWR,
	// O_CREATE, O_EXCL and O_TRUNC. A created name is safe after SyncDir.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename gives a file another name, replacing what had it. Atomic, and
	// safe after SyncDir.
	Rename(from, to string) error
	// Remove deletes a file or an empty folder.
	Remove(name string) error
	// MkdirAll makes a folder and those above it.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists the names in a folder, sorted.
	ReadDir(name string) ([]string, error)
	// Stat describes a name.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a folder as durable as their files.
	SyncDir(name string) error
	// Lock takes the advisory lock that name stands for and writes into that
	// file who holds it. It does not wait: a lock that is taken is a
	// *HeldError. Many may hold it shared, for which the file need not be
	// writable. The lock goes with the closer, the process, or a crash.
	Lock(name string, shared bool) (io.Closer, error)
	// Path is where other programs find the file, or "" where there is none.
	Path(name string) string
}

// File is an open file. Safe for concurrent use, but Close ends it for all.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Name is the name it was opened by.
	Name() string
	Size() (int64, error)
	Truncate(size int64) error
	// Allocate reserves space for n bytes from off on, which read as zeros
	// until written. The file may grow by it or not. A filesystem that cannot
	// reserve does nothing.
	Allocate(off, n int64) error
	// Sync makes content and metadata durable. After an error nothing is
	// known of what was written since the Sync before it: do not try again.
	Sync() error
	// Datasync is Sync without the metadata that reading does not need.
	Datasync() error
	Close() error
}

// HeldError is the answer of [FS.Lock] when somebody else has the lock.
type HeldError struct {
	Name   string
	Holder string // what the lock file says: pid and since when; may be ""
}

func (e *HeldError) Error() string {
	if e.Holder == "" {
		return e.Name + " is locked"
	}
	return fmt.Sprintf("%s is locked by %s", e.Name, e.Holder)
}

// ReadFile gives the whole content of a file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// WriteFile replaces a file by data, durably and all or nothing: whatever
// happens, name holds the old content or the new.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	return Replace(fsys, name, perm, func(f File) error {
		_, err := f.WriteAt(data, 0)
		return err
	})
}

// Replace is WriteFile for content that write puts into an empty file.
func Replace(fsys FS, name string, perm fs.FileMode, write func(File) error) (err error) {
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
