package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"batos"
	"batos/image"
	"batos/image/store/rawlog"
	"batos/internal/door/access"
	"batos/internal/door/http"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// span is how long each load is kept up.
const span = time.Second

// messages measures durable messages: a method changes one slot, the answer
// comes after the commit. The limit is the raw log with the bytes that a
// message adds to the log, and the same number of writers.
func messages(ctx context.Context, dir string, emit func(Figure)) error {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	k, err := kernel.Start(ctx, kernel.Config{Image: im, Log: log, Release: "bench"})
	if err != nil {
		return err
	}
	defer k.Close(ctx)
	const receivers = 16
	for i := range receivers {
		name := fmt.Sprintf("counter%d", i)
		if _, err := k.New(ctx, kernel.Person{Name: "bench"}, name, batos.Ref{}, []object.Slot{{Name: "count", Value: object.NewInt(0)}}); err != nil {
			return err
		}
		source := "def increment_by(self, a):\n    self.count = self.count + a\n    self._p_changed = True\n    return self.count\n"
		if _, err := k.Def(ctx, kernel.Person{Name: "bench"}, batos.Ref{Name: name}, source); err != nil {
			return err
		}
	}
	send := func(receiver int) error {
		o, err := k.Send(ctx, kernel.Request{
			Target: batos.Ref{Name: fmt.Sprintf("counter%d", receiver)}, Selector: "increment_by",
			Args: []object.Value{object.NewInt(1)}, Sender: "bench", Authority: batos.Person,
		})
		if err == nil && o.Err != nil {
			err = o.Err
		}
		return err
	}
	before, n := im.Stats().LogBytes, 0
	for ; n < 200; n++ {
		if err := send(n % receivers); err != nil {
			return err
		}
	}
	bytes := int(im.Stats().LogBytes-before) / n
	emit(Figure{Name: "message.bytes", Value: float64(bytes), Unit: "B"})

	limit := func(writers int) func() (float64, error) {
		return func() (float64, error) {
			r, err := rawlog.Measure(dir, rawlog.Load{Writers: writers, Bytes: bytes, Duration: span})
			return r.PerSecond(), err
		}
	}
	hot := func(int) error { return send(0) }
	rates, err := inTurn(
		limit(1), func() (float64, error) { return load(1, hot) }, func() (float64, error) { return load(16, hot) },
		limit(16), func() (float64, error) { return load(16, send) },
	)
	if err != nil {
		return err
	}
	emit(Figure{Name: "message.durable.1", Value: rates[1], Unit: "msg/s", Against: rates[0], Bar: 0.5})
	emit(Figure{Name: "message.durable.16", Value: rates[4], Unit: "msg/s", Against: rates[3], Bar: 0.3})
	emit(Figure{Name: "message.hot.16", Value: rates[2], Unit: "msg/s", Against: rates[1], Bar: 1})

	keys, err := access.Open(dir, benchToken, "bench")
	if err != nil {
		return err
	}
	door, err := http.Listen("127.0.0.1:0", http.Config{Kernel: k, Image: im, Dir: dir, Keys: keys, Log: log})
	if err != nil {
		return err
	}
	go func() { _ = door.Serve() }() // ends with Close; the load below reports what fails
	defer door.Close(ctx)
	client, err := wire.NewClient(door.URL(), benchToken)
	if err != nil {
		return err
	}
	overHTTP := func(i int) error {
		_, err := client.Send(ctx, wire.Send{
			Target: fmt.Sprintf("counter%d", i), Selector: "increment_by", Args: []wire.Value{{Value: object.NewInt(1)}},
		})
		return err
	}
	for _, clients := range []int{1, 16} {
		rate, err := load(clients, overHTTP)
		if err != nil {
			return err
		}
		emit(Figure{Name: fmt.Sprintf("message.http.%d", clients), Value: rate, Unit: "msg/s"})
	}
	return nil
}

const benchToken = "bench-bench-bench-bench-bench-bench"

// rounds is how often loads that are compared take turns.
const rounds = 5

// inTurn runs the loads one after the other, round by round, so that what else
// the machine does falls on all of them, and gives the median rate of each.
func inTurn(loads ...func() (float64, error)) ([]float64, error) {
	all := make([][]float64, len(loads))
	for range rounds {
		for i, l := range loads {
			rate, err := l()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], rate)
		}
	}
	out := make([]float64, len(loads))
	for i := range all {
		slices.Sort(all[i])
		out[i] = all[i][rounds/2]
	}
	return out, nil
}

// load calls fn from that many clients for a span and gives calls per second.
func load(clients int, fn func(client int) error) (float64, error) {
	var n atomic.Int64
	var failure error
	var once sync.Once
	var wg sync.WaitGroup
	began := time.Now()
	until := began.Add(span)
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(until) {
				if err := fn(c); err != nil {
					once.Do(func() { failure = err })
					return
				}
				n.Add(1)
			}
		}()
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds(), failure
}
