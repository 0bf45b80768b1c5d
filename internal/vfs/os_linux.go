package vfs

import (
	"os"
	"syscall"
)

func datasync(f *os.File) error { return control(f, syscall.Fdatasync) }

func allocate(f *os.File, off, n int64) error {
	return control(f, func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}
