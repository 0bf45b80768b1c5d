package ggml

import "golang.org/x/sys/unix"

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

func closeFD(fd int) { _ = unix.Close(fd) } // only ever a memory file: nothing is lost
