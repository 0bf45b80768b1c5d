package kernel

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/internal/quarantine"
	"batos/internal/vfs"
	"batos/object"
)

// A crash run: clients send messages with ids of their own to counters whose
// method is not there yet, so that the first of each is a mission; at some
// call to the disk the power fails. After the restart every client asks for
// its messages again by id. In the end each counter has counted every message
// once, and what was answered before the crash is answered the same.
const (
	crashCounters = 2
	crashMessages = 4 // to each counter
)

// answers remembers what was acknowledged.
type answers struct {
	mu sync.Mutex
	by map[batos.MessageID]object.Value
}

func crashKernel(t *testing.T, fs vfs.FS, tr *quarantine.Trials) (*Kernel, *image.Image, error) {
	t.Helper()
	ctx := context.Background()
	im, err := image.Open(ctx, "live_image", image.Options{FS: fs})
	if err != nil {
		return nil, nil, err
	}
	script := writing(incrementBy)
	k, err := Start(ctx, Config{
		Image: im, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Release: "test", Profiles: []mind.Profile{mind.Covenant{}},
		Model: &ModelSource{ID: mindtest.ModelID, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("no weights")), nil }},
		Trial: tr, Mind: func(context.Context, Model) (mind.Engine, error) { return script, nil },
	})
	if err != nil {
		_ = im.Close() // the error that counts is Start's
		return nil, nil, err
	}
	return k, im, nil
}

// crashWork sends everything there is to send, and stops at the first failure
// of the machine. A wrong answer is an error of the test.
func crashWork(t *testing.T, k *Kernel, got *answers) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for c := range crashCounters {
		_, err := k.New(ctx, Person{"tester"}, fmt.Sprintf("counter%d", c), batos.Ref{}, []object.Slot{slot("count", num(0))})
		if err != nil && batos.CodeOf(err) != batos.Conflict {
			return err
		}
	}
	errs := make([]error, crashCounters)
	var wg sync.WaitGroup
	for c := range crashCounters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range crashMessages {
				r := request(fmt.Sprintf("counter%d", c), "increment_by", num(1))
				r.ID = batos.MessageID(fmt.Sprintf("c%d-%d", c, i))
				o, err := k.Send(ctx, r)
				if err == nil && o.Err != nil {
					err = o.Err
				}
				if err != nil {
					errs[c] = fmt.Errorf("%s: %w", r.ID, err)
					return
				}
				got.mu.Lock()
				if before, ok := got.by[r.ID]; ok && !object.Equal(before, o.Value) {
					t.Errorf("%s answered %s before the crash and %s after", r.ID, object.Text(before, 50), object.Text(o.Value, 50))
				}
				got.by[r.ID] = o.Value
				got.mu.Unlock()
			}
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func stopAll(k *Kernel, im *image.Image) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = k.Close(ctx) // the disk may be dead: that is the point
	_ = im.Close()
}

func TestNothingIsLostAndNothingIsDoneTwiceInACrash(t *testing.T) {
	tr := trials(t)
	whole := vfs.NewCrash(0)
	k, im, err := crashKernel(t, whole, tr)
	if err != nil {
		t.Fatal(err)
	}
	if err := crashWork(t, k, &answers{by: map[batos.MessageID]object.Value{}}); err != nil {
		t.Fatal(err)
	}
	calls := whole.Calls()
	stopAll(k, im)

	points := 200
	if testing.Short() {
		points = 25
	}
	if os.Getenv("BATOS_LONG") != "" {
		points = 1000
	}
	crashed := 0
	for i := range points {
		if crashAt(t, tr, uint64(i), 1+i*calls/points) {
			crashed++
		}
		if t.Failed() {
			t.Fatalf("at crash point %d of %d (seed %d)", i, points, i)
		}
	}
	t.Logf("%d crash points over %d calls to the disk; the power failed at work in %d", points, calls, crashed)
}

func crashAt(t *testing.T, tr *quarantine.Trials, seed uint64, call int) (crashed bool) {
	t.Helper()
	fs := vfs.NewCrash(seed)
	fs.StopAt(call)
	got := &answers{by: map[batos.MessageID]object.Value{}}
	k, im, err := crashKernel(t, fs, tr)
	if err == nil {
		err = crashWork(t, k, got)
		stopAll(k, im)
	}
	crashed = fs.Stopped()
	if !crashed && err != nil {
		t.Errorf("without a crash: %v", err)
		return crashed
	}
	fs.StopAt(0)
	fs.Crash()
	k, im, err = crashKernel(t, fs, tr)
	if err != nil {
		t.Errorf("after the crash: %v", err)
		return crashed
	}
	defer stopAll(k, im)
	if err := crashWork(t, k, got); err != nil {
		t.Errorf("after the crash: %v", err)
		return crashed
	}
	for c := range crashCounters {
		o, err := k.Send(context.Background(), request(fmt.Sprintf("counter%d", c), "count"))
		if err != nil || o.Err != nil || !object.Equal(o.Value, num(crashMessages)) {
			t.Errorf("counter%d counted %s, want %d (%v, %v)", c, object.Text(o.Value, 50), crashMessages, err, o.Err)
		}
	}
	return crashed
}
