package ggml

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile makes a file that exists only in memory, positioned at its start.
// Whoever closes the descriptor frees it.
func memoryFile(data []byte) (int, error) {
	fd, err := unix.MemfdCreate("batos-adapter", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for off := 0; off < len(data); {
		n, err := unix.Pwrite(fd, data[off:], int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			closeFD(fd)
			return -1, err
		}
		off += n
	}
	return fd, nil
}

// reopen gives a second descriptor of an open file, readable and positioned at
// its start, whatever has become of the file's name.
func reopen(f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, oerr := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, oerr = unix.Open(fmt.Sprintf("/proc/self/fd/%d", old), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err == nil {
		err = oerr
	}
	return fd, err
}

func closeFD(fd int) { _ = unix.Close(fd) } // only ever written in memory or read: nothing is lost
