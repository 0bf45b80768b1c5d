package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// pseudoTerminal makes a terminal: master is the person's side, slave the
// program's.
func pseudoTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

// screen is what a terminal has shown and nobody has looked at yet.
type screen struct {
	mu    sync.Mutex
	shown []byte
	more  chan struct{} // one is waiting after each change
	ended bool
}

func (s *screen) read(f *os.File) {
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		s.mu.Lock()
		s.shown = append(s.shown, buf[:n]...)
		s.ended = err != nil
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// see waits until what is shown matches, and looks at all up to the match's end.
func (s *screen) see(want *regexp.Regexp) error {
	late := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		at, ended := want.FindIndex(s.shown), s.ended
		if at != nil {
			s.shown = s.shown[at[1]:]
		}
		shown := string(s.shown)
		s.mu.Unlock()
		switch {
		case at != nil:
			return nil
		case ended:
			return fmt.Errorf("%s was not seen before the end, but %q", want, shown)
		}
		select {
		case <-s.more:
		case <-late:
			return fmt.Errorf("%s was not seen in time, but %q", want, shown)
		}
	}
}

// scriptTyped is the command typed; see TestScripts. Lines of FILE are
//
//	see REGEXP          wait for it in what the terminal shows
//	type TEXT           type it, as a string of Go without quotes
//	size WIDTH HEIGHT   change the window's size
//	signal NAME         HUP or TERM to the program
func scriptTyped(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: typed STATUS FILE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	master, slave, err := pseudoTerminal()
	ts.Check(err)
	defer master.Close()
	program, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(program, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "BATOS_IMAGE", "BATOS_SERVER", "GOCOVERDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	ts.Check(unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	ts.Check(cmd.Start())
	ts.Check(slave.Close())
	s := &screen{more: make(chan struct{}, 1)}
	go s.read(master)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	fail := func(format string, a ...any) {
		_ = cmd.Process.Kill() // or it is gone already
		ts.Fatalf(format, a...)
	}
	for n, line := range strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n") {
		what, rest, _ := strings.Cut(line, " ")
		var err error
		switch what {
		case "see":
			err = s.see(regexp.MustCompile(rest))
		case "type":
			var text string
			if text, err = strconv.Unquote(`"` + rest + `"`); err == nil {
				_, err = master.WriteString(text)
			}
		case "size":
			var size unix.Winsize
			if _, err = fmt.Sscan(rest, &size.Col, &size.Row); err == nil {
				err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &size)
			}
		case "signal":
			err = cmd.Process.Signal(map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}[rest])
		default:
			err = fmt.Errorf("there is no %q here", what)
		}
		if err != nil {
			fail("%s:%d: %v", args[1], n+1, err)
		}
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		fail("%s does not end: %q", args[2], bytes.TrimSpace(s.shown))
	}
	state := cmd.ProcessState.Sys().(syscall.WaitStatus)
	got := state.ExitStatus()
	if state.Signaled() {
		got = 128 + int(state.Signal())
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}
