package vfs

import (
	"os"
	"syscall"
)

func datasync(f *os.File) error { return control(f, syscall.Fdatasync) }

func allocate(f *os.File, off, n int64) error {
	return control(f, func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}

// adviseHuge asks for large pages where there is room for them: they make
// looking up places far apart much quicker. It is no harm if there are none.
func adviseHuge(b []byte) {
	if len(b) >= 4<<20 {
		_ = syscall.Madvise(b, 14) // MADV_HUGEPAGE
	}
}
