//go:build linux

package quarantine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"batos"
	"batos/image/store"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/quarantine"
	"batos/object"
)

// TestParentErrors: what is not the candidate's doing is an error, not a
// verdict.
func TestParentErrors(t *testing.T) {
	w := newWorld(t, quarantine.Config{Wall: time.Minute, CPU: time.Minute})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		req := w.request("def f(self):\n    self.infer_(1)\n    return self.hang()\n")
		req.Effect = func(context.Context, *exec.WantedEffect) (object.Value, error) {
			cancel()
			return object.None{}, nil
		}
		if _, err := w.trials.Trial(ctx, req); batos.CodeOf(err) != batos.Cancelled {
			t.Errorf("%v", err)
		}
	})
	t.Run("the caller's time is over", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := w.trials.Trial(ctx, w.request("def f(self):\n    return self.hang()\n")); batos.CodeOf(err) != batos.Timeout {
			t.Errorf("%v", err)
		}
	})
	t.Run("the snapshot can't be read", func(t *testing.T) {
		req := w.request("def f(self):\n    return self.count\n")
		req.Snapshot = brokenSnapshot{req.Snapshot}
		if _, err := w.trials.Trial(context.Background(), req); batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("%v", err)
		}
	})
	t.Run("no candidate", func(t *testing.T) {
		req := w.request("def f(self):\n    return 1\n")
		req.Run.Candidate = nil
		if _, err := w.trials.Trial(context.Background(), req); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%v", err)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		none := newWorld(t, quarantine.Config{Program: "/nowhere/batos"})
		if _, err := none.trials.Trial(context.Background(), none.request("def f(self):\n    return 1\n")); batos.CodeOf(err) != batos.Busy {
			t.Errorf("%v", err)
		}
	})
	t.Run("the kernel stops", func(t *testing.T) {
		closing := newWorld(t, quarantine.Config{Wall: time.Minute, CPU: time.Minute})
		req := closing.request("def f(self):\n    self.infer_(1)\n    return self.hang()\n")
		req.Effect = func(context.Context, *exec.WantedEffect) (object.Value, error) {
			return object.None{}, closing.trials.Close()
		}
		if _, err := closing.trials.Trial(context.Background(), req); batos.CodeOf(err) != batos.Cancelled {
			t.Errorf("%v", err)
		}
	})
}

// fosterChild is the whole life of a parent that will be killed: it has a
// trial that never ends, and prints the process id of its child.
func fosterChild() {
	snap := lonelySnapshot{}
	trials, err := quarantine.Open(quarantine.Config{Wall: time.Hour, CPU: time.Hour})
	if err == nil {
		_, err = trials.Trial(context.Background(), quarantine.Request{
			Snapshot: snap,
			Run: exec.Request{
				Message:   batos.Message{ID: "m1", Target: 1, Selector: "f", Args: codec.EncodeArgs(nil, nil), Authority: batos.Person},
				Lineage:   exec.DefaultLineage,
				Candidate: &exec.Candidate{OID: 1, Selector: "f", Source: "def f(self):\n    self.infer_(self.pid_())\n    self.hang()\n"},
			},
			Effect: func(_ context.Context, w *exec.WantedEffect) (object.Value, error) {
				pid, _ := w.Args.(object.Int).Int64()
				fmt.Println(pid)
				return object.None{}, nil
			},
		})
	}
	fmt.Println(err)
	os.Exit(1)
}

// lonelySnapshot holds one object.
type lonelySnapshot struct{}

func (lonelySnapshot) TID() batos.TID { return 1 }
func (lonelySnapshot) Close() error   { return nil }
func (lonelySnapshot) Load(_ context.Context, oid batos.OID) (store.Revision, error) {
	if oid != 1 {
		return store.Revision{}, batos.Errorf(batos.NotFound, "%s is no object", oid)
	}
	s := object.NewState(object.Open, batos.Person,
		object.Slot{Name: "infer_", Value: object.Primitive("test.infer")},
		object.Slot{Name: "pid_", Value: object.Primitive("test.pid")},
		object.Slot{Name: "hang", Value: object.Primitive("test.hang")})
	return store.Revision{OID: oid, TID: 1, Data: codec.EncodeState(s)}, nil
}

// TestOrphan: a child does not outlive a parent that is killed.
func TestOrphan(t *testing.T) {
	parent := osexec.Command(os.Args[0], "parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanErr := fmt.Fscan(out, &pid)
	var child int
	if scanErr == nil {
		child, err = unix.PidfdOpen(pid, 0)
	}
	killErr := parent.Process.Kill()
	_ = parent.Wait() // it was killed
	if err := errors.Join(scanErr, err, killErr); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(child) }()
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}}, 10_000)
	if err != nil || ready != 1 {
		t.Errorf("the child %d lives on: %v", pid, err)
	}
}

type brokenSnapshot struct{ store.Snapshot }

func (brokenSnapshot) Load(context.Context, batos.OID) (store.Revision, error) {
	return store.Revision{}, batos.Errorf(batos.Corrupt, "a page is damaged")
}
