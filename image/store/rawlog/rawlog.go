// Package rawlog is the yardstick for durable commits: the least that any
// store with one log file has to do on this disk. It keeps nothing that can be
// read again. Benchmarks run it beside a store, in the same run, with the same
// bytes and writers, and print the ratio.
//
// The least is: each writer puts its bytes into a shared buffer and waits; one
// of them writes the buffer with one pwrite into reserved space, syncs once
// with fdatasync, and lets the others go; meanwhile the next buffer fills.
package rawlog

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"batos/internal/vfs"
)

// Load says what to measure.
type Load struct {
	Writers  int           // goroutines that commit one after the other
	Bytes    int           // of one commit
	Duration time.Duration // how long
}

// Result is what the disk allowed.
type Result struct {
	Commits int
	Syncs   int
	Took    time.Duration
}

// PerSecond is the durable commits in a second.
func (r Result) PerSecond() float64 { return float64(r.Commits) / r.Took.Seconds() }

// reserve is how far ahead space is reserved, in bytes.
const reserve = 64 << 20

// Measure commits to a file in dir, which it removes in the end.
func Measure(dir string, load Load) (_ Result, err error) {
	name := filepath.Join(dir, "rawlog.tmp")
	f, err := vfs.OS().OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Result{}, err
	}
	l := &log{f: f, next: newBatch()}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	if err := l.allocate(); err != nil {
		return Result{}, err
	}
	if err := f.Sync(); err != nil {
		return Result{}, err
	}

	record := make([]byte, load.Bytes)
	for i := range record {
		record[i] = byte(i)
	}
	commits := make([]int, load.Writers)
	errs := make([]error, load.Writers)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range load.Writers {
		wg.Go(func() {
			for time.Since(begin) < load.Duration {
				if errs[w] = l.commit(record); errs[w] != nil {
					return
				}
				commits[w]++
			}
		})
	}
	wg.Wait()
	r := Result{Syncs: l.syncs, Took: time.Since(begin)}
	for _, n := range commits {
		r.Commits += n
	}
	return r, errors.Join(errs...)
}

// log is a file that is only ever appended to.
type log struct {
	f        vfs.File
	mu       sync.Mutex
	next     *batch
	flushing bool

	// Of whoever flushes.
	end, reserved int64
	syncs         int
}

type batch struct {
	buf  []byte
	lead chan struct{}
	done chan struct{}
	err  error
}

func newBatch() *batch {
	return &batch{lead: make(chan struct{}, 1), done: make(chan struct{})}
}

func (l *log) allocate() error {
	err := l.f.Allocate(l.reserved, reserve)
	l.reserved += reserve
	return err
}

func (l *log) commit(p []byte) error {
	l.mu.Lock()
	b := l.next
	b.buf = append(b.buf, p...)
	waits := l.flushing
	l.flushing = true
	l.mu.Unlock()
	if waits {
		select {
		case <-b.done:
			return b.err
		case <-b.lead:
		}
	}
	l.mu.Lock()
	l.next = newBatch()
	l.mu.Unlock()
	b.err = l.flush(b.buf)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(b.done)
	if l.flushing = len(l.next.buf) > 0; l.flushing {
		l.next.lead <- struct{}{}
	}
	return b.err
}

func (l *log) flush(p []byte) error {
	for l.end+int64(len(p)) > l.reserved {
		if err := l.allocate(); err != nil {
			return err
		}
	}
	if _, err := l.f.WriteAt(p, l.end); err != nil {
		return err
	}
	l.end += int64(len(p))
	l.syncs++
	return l.f.Datasync()
}
