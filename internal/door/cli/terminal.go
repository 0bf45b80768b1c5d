package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// keptLines is how many lines of history are kept.
const keptLines = 1000

// terminal is a conversation with a person: errors are told, and it goes on.
// Ctrl-C drops the line, or stops waiting for what runs; Ctrl-D ends it.
func (r *repl) terminal(ctx context.Context, f *os.File) error {
	fd := int(f.Fd())
	cooked, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	restore := func() { _ = term.Restore(fd, cooked) } // nothing can be done about a terminal that is gone
	defer restore()
	ctx = context.WithoutCancel(ctx) // an interrupt ends a line here, and not the program
	keys := &keyboard{in: f}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, r.app.Out}, "")
	file := filepath.Join(r.app.Image(), "repl_history")
	t.History = readHistory(file)
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return r.complete(ctx, line, pos)
	}
	out := r.app.Out
	r.app.Out = t // what is printed while the terminal is raw needs its line ends
	defer func() { r.app.Out = out }()
	fit := func() {
		if w, h, err := term.GetSize(fd); err == nil {
			_ = t.SetSize(w, h) // a wrong width only looks odd
		}
	}
	fit()
	interrupts, stop := r.signals(fit, restore)
	defer stop()
	var typed block
	for {
		t.SetPrompt(r.self + "> ")
		if typed.begun() {
			t.SetPrompt(strings.Repeat(" ", max(0, len(r.self)-3)) + "...> ")
		}
		line, err := t.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if line == "" && keys.interrupted {
			keys.interrupted, typed = false, block{}
			continue
		}
		if strings.TrimSpace(line) != "" {
			remember(file, line)
		}
		text, whole := typed.add(line)
		if !whole {
			continue
		}
		restore() // so that Ctrl-C is a signal while something runs
		err = r.interruptible(ctx, text, interrupts)
		if _, rawErr := term.MakeRaw(fd); rawErr != nil {
			return rawErr
		}
		if errors.Is(err, errQuit) {
			return nil
		}
		if err != nil {
			fmt.Fprintln(t, oneLine(err.Error()))
		}
	}
}

// interruptible does what was typed until it is done or interrupted.
func (r *repl) interruptible(ctx context.Context, text string, interrupts <-chan os.Signal) error {
	for len(interrupts) > 0 { // of before
		<-interrupts
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-done:
		}
	}()
	err := r.do(ctx, text)
	if err != nil && ctx.Err() != nil && !strings.HasPrefix(err.Error(), "interrupted") {
		return errors.New("interrupted")
	}
	return err
}

// signals hands interrupts to the conversation, fits the terminal to its window
// and gives it back before the program is ended from outside.
func (r *repl) signals(fit, restore func()) (interrupts <-chan os.Signal, stop func()) {
	ints, others := make(chan os.Signal, 1), make(chan os.Signal, 4)
	signal.Notify(ints, os.Interrupt)
	signal.Notify(others, syscall.SIGWINCH, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-others:
				if s == syscall.SIGWINCH {
					fit()
					continue
				}
				restore()
				signal.Reset(s)
				_ = syscall.Kill(os.Getpid(), s.(syscall.Signal)) // as if nobody had listened
			case <-done:
				return
			}
		}
	}()
	return ints, func() {
		signal.Stop(ints)
		signal.Stop(others)
		close(done)
	}
}

// keyboard is what is typed, with Ctrl-C as keys that empty the line and end it:
// go to its end, delete it, Enter.
type keyboard struct {
	in          io.Reader
	rest        []byte
	interrupted bool
}

const ctrlC = 3

func (k *keyboard) Read(p []byte) (int, error) {
	if len(k.rest) == 0 {
		buf := make([]byte, len(p))
		n, err := k.in.Read(buf)
		if n == 0 {
			return 0, err
		}
		k.rest = buf[:n]
		if at := bytes.IndexByte(k.rest, ctrlC); at >= 0 {
			k.interrupted = true
			k.rest = append(append([]byte{}, k.rest[:at]...), 5, 21, '\r') // what was typed after it goes as well
		}
	}
	n := copy(p, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}

// history is what Up and Down go through, the newest first.
type history struct{ lines []string }

func readHistory(file string) *history {
	h := &history{}
	b, err := os.ReadFile(file)
	if err != nil {
		return h // there is none yet
	}
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		h.Add(l)
	}
	return h
}

// Add implements [term.History]. What is blank or said again is no news.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.lines = h.lines[max(0, len(h.lines)-keptLines):]
}

// Len implements [term.History].
func (h *history) Len() int { return len(h.lines) }

// At implements [term.History].
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// remember keeps a line for the next conversation. That it cannot is no reason
// to stop this one.
func remember(file, line string) {
	h := readHistory(file)
	h.Add(line)
	_ = os.WriteFile(file, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
}
