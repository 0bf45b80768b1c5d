package quarantine

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownBinary is the file of the running binary, whatever has become of its
// path.
const ownBinary = "/proc/self/exe"

func supported() error { return nil }

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// socketPair makes two connected ends that no other child inherits.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, nil, os.NewSyscallError("setnonblock", errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1])))
	}
	return os.NewFile(uintptr(fds[0]), "trial"), os.NewFile(uintptr(fds[1]), "trial"), nil
}

// inheritedFD is where the child finds its socket.
const inheritedFD = 3

// rawSocket reads and writes without the runtime's poller, which would need
// files of its own.
type rawSocket int

func inherited() (io.ReadWriter, error) {
	kind, err := unix.GetsockoptInt(inheritedFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, errors.Join(err, errors.New("file 3 is not a stream socket"))
	}
	return rawSocket(inheritedFD), nil
}

func (s rawSocket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("read", err)
		}
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
}

func (s rawSocket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(s), p[done:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, os.NewSyscallError("write", err)
		}
		done += n
	}
	return done, nil
}

// spareTasks is how many tasks may be added to the machine's while a trial
// runs, before the child's runtime could not make a thread. The limit counts
// all tasks of the user; what matters is that it is finite.
const spareTasks = 256

// confine puts up the walls, for good. The limit on data is the one that
// counts for memory, since the runtime reserves far more addresses than it
// uses; memory is what may come on top of what the runtime has mapped so far.
func confine(memory, cpu int64) error {
	base, err := dataMapped()
	if err != nil {
		return err
	}
	// The first timer makes the runtime open the files of its poller; one with
	// a function is added at once, one with a channel only when it is waited for.
	time.AfterFunc(time.Hour, func() {}).Stop()
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	for _, l := range []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_DATA, uint64(base + memory)},
		{unix.RLIMIT_CPU, uint64(cpu)},
		{unix.RLIMIT_FSIZE, 0},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NPROC, uint64(info.Procs) + spareTasks},
		{unix.RLIMIT_NOFILE, 0},
	} {
		// Through the package that knows of the runtime's own wish for files.
		if err := syscall.Setrlimit(l.resource, &syscall.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	return nil
}

// dataMapped is the private writable memory of this process, in bytes.
func dataMapped() (int64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	const dataField = 5 // pages of data and stack
	fields := strings.Fields(string(b))
	if len(fields) <= dataField {
		return 0, errors.New("/proc/self/statm has an unknown form")
	}
	pages, err := strconv.ParseInt(fields[dataField], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// overCPU reports whether the kernel ended the process for taking more than
// limit of processor time. The two clocks differ a little.
func overCPU(s *os.ProcessState, limit time.Duration) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL && ws.Signal() != syscall.SIGXCPU {
		return false
	}
	return s.UserTime()+s.SystemTime() >= limit*3/4
}
