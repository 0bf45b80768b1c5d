package ggml

import (
	"strings"
	"sync"

	"github.com/ebitengine/purego"
)

const (
	logLevelWarn     = 3
	logLevelError    = 4
	logLevelContinue = 5

	logKeep    = 64   // lines
	logMaxLine = 1024 // bytes of one line
)

// logTail keeps the last warnings and errors that the library wrote. The
// library writes from any thread.
type logTail struct {
	mu    sync.Mutex
	tail  []string
	total int  // lines ever started
	open  bool // the last line has not ended
	keep  bool // the last message was a warning or an error, so a continuation belongs to it
}

// callback makes the C function that feeds the tail. It is never released:
// one Library lives as long as its process.
func (t *logTail) callback() uintptr {
	return purego.NewCallback(func(level int32, text *byte, _ uintptr) uintptr {
		t.add(level, goString(text))
		return 0
	})
}

func (t *logTail) add(level int32, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch level {
	case logLevelContinue:
		if !t.keep {
			return
		}
	case logLevelWarn, logLevelError:
		t.keep, t.open = true, false
	default:
		t.keep = false
		return
	}
	for line := range strings.Lines(text) {
		whole := strings.HasSuffix(line, "\n")
		line = strings.TrimSpace(line)
		if t.open && len(t.tail) > 0 {
			last := &t.tail[len(t.tail)-1]
			if len(*last)+len(line) < logMaxLine {
				*last += line
			}
		} else if line != "" {
			t.total++
			t.tail = append(t.tail, line[:min(len(line), logMaxLine)])
			if len(t.tail) > logKeep {
				t.tail = t.tail[1:]
			}
		}
		t.open = !whole
	}
}

// mark is the point to ask lines from.
func (t *logTail) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// lines gives what was kept of the lines since mark.
func (t *logTail) lines(mark int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(t.total-mark, len(t.tail))
	return append([]string(nil), t.tail[len(t.tail)-n:]...)
}
