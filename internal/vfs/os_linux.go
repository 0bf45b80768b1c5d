package vfs

import (
	"os"
	"syscall"
)

func datasync(f *os.File) error { return control(f, syscall.Fdatasync) }

func allocate(f *os.File, off, n int64) error {
	return control(f, func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}

// adviseHuge asks for large pages where there is room for them. It is no harm
// if there are none.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, 14) } // MADV_HUGEPAGE

func populate(b []byte) {
	if len(b) > 0 {
		_ = syscall.Madvise(b, 23) // MADV_POPULATE_WRITE, of Linux 5.14
	}
}
