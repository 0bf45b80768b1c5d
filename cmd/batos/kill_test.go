package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"batos"
	"batos/internal/door/bridge"
	"batos/internal/ggml"
	"batos/internal/mind/llama"
	"batos/internal/wire"
	"batos/object"
	"batos/seedmind"
)

// mortal is a real server in a process of its own that is killed and started
// again on the same image and address.
type mortal struct {
	t       *testing.T
	with    string // the program
	dir     string
	address string
	flags   []string // of batos up beside --image and --http
	token   string
	client  *wire.Client

	cmd    *exec.Cmd
	ended  chan error
	report *bytes.Buffer // its stderr; to be read after ended
	zmq    string        // address of its bridge, if it has one
}

// engineHere is the program to test with: the shipped model if this build has
// it and the engine's libraries are there, else the scripted engine.
func engineHere(t *testing.T) (with string, isModel bool) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	lib := ggml.Dir(root)
	if _, err := os.Stat(filepath.Join(lib, ggml.MainFile)); err != nil {
		return scripted, false
	}
	weights, err := seedmind.Open()
	if err != nil {
		return scripted, false
	}
	if err := weights.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv(llama.LibraryEnv, lib)
	return program, true
}

// newMortal starts one, without a bridge if flags do not say otherwise.
func newMortal(t *testing.T, with string, flags ...string) *mortal {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mortal{t: t, with: with, dir: filepath.Join(t.TempDir(), "live_image"), address: l.Addr().String(), flags: append([]string{"--zmq", "none"}, flags...)}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.cmd != nil {
			m.kill()
		}
	})
	m.start()
	if m.token, err = wire.ReadToken(m.dir); err != nil {
		t.Fatal(err)
	}
	if m.client, err = wire.NewClient("http://"+m.address, m.token); err != nil {
		t.Fatal(err)
	}
	return m
}

// start brings the server up and waits until it says that it is ready.
func (m *mortal) start() {
	m.t.Helper()
	ready := m.launch()
	select {
	case <-ready:
	case err := <-m.ended:
		m.cmd = nil
		m.t.Fatalf("the server ended before it was ready: %v\n%s", err, m.report)
	}
}

// launch brings the server up; the result is closed when it is ready.
func (m *mortal) launch() (ready <-chan struct{}) {
	m.t.Helper()
	cmd := exec.Command(m.with, append([]string{"--image", m.dir, "up", "--http", m.address}, m.flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	m.report = new(bytes.Buffer)
	cmd.Stderr = m.report
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.cmd, m.ended = cmd, make(chan error, 1)
	up := make(chan struct{})
	ended := m.ended
	go func() {
		ready, told := false, false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			ready = ready || strings.HasPrefix(lines.Text(), "ready at ")
			if zmq, ok := strings.CutPrefix(lines.Text(), "ZeroMQ at tcp://"); ok {
				m.zmq = zmq
			}
			if ready && !told && (m.zmq != "" || !m.bridged()) {
				told = true
				close(up)
			}
		}
		ended <- cmd.Wait()
	}()
	return up
}

// bridged reports whether the server has a bridge.
func (m *mortal) bridged() bool {
	return slices.ContainsFunc(m.flags, func(f string) bool { return strings.HasPrefix(f, bridge.Scheme) })
}

func (m *mortal) kill() {
	m.t.Helper()
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Fatal(err)
	}
	<-m.ended
	m.cmd = nil
}

// stop asks the server to end and checks that it does, well and in time.
func (m *mortal) stop(sig os.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Fatal(err)
	}
	select {
	case err := <-m.ended:
		m.cmd = nil
		if err != nil {
			m.t.Errorf("the server ended with %v after %v\n%s", err, sig, m.report)
		}
	case <-time.After(stopsWithin):
		m.t.Fatalf("the server did not stop within %s after %v", stopsWithin, sig)
	}
}

// insist does one request until a server has answered it.
func (m *mortal) insist(ctx context.Context, method, path string, in, out any) error {
	for {
		err := m.client.Do(ctx, method, path, in, out)
		if !errors.Is(err, wire.ErrNoServer) && batos.CodeOf(err) != batos.Busy {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause is between attempts to reach a server that is down.
func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send sends through whatever happens to the server.
func (m *mortal) send(ctx context.Context, id, target, selector string, args ...int64) (object.Value, error) {
	s := wire.Send{ID: id, Target: target, Selector: selector}
	for _, a := range args {
		s.Args = append(s.Args, wire.Value{Value: object.NewInt(a)})
	}
	for {
		o, err := m.client.Send(ctx, s)
		switch {
		case errors.Is(err, wire.ErrNoServer): // it is down before it was ever reached
			if pause(ctx) == nil {
				continue
			}
			return nil, err
		case err != nil:
			return nil, err
		case o.Error != nil:
			return nil, o.Error.Err()
		case o.Value == nil:
			return object.None{}, nil
		}
		return o.Value.Value, nil
	}
}

// ledger is what one client was told, in order.
type ledger struct {
	counter string
	answers []object.Value // to message i of the counter
}

func (l *ledger) id(i int) string { return fmt.Sprintf("%s-%d", l.counter, i) }

const killClients = 3

// client makes counters one after the other and counts on each; the first
// message to each is a mission. Every answer must be the next number, which
// it is only if each message before was applied, and applied once.
func (m *mortal) work(ctx context.Context, client int, enough *atomic.Bool, books *[]*ledger) error {
	const messages = 6
	for n := 0; !enough.Load(); n++ {
		l := &ledger{counter: fmt.Sprintf("counter_%d_%d", client, n)}
		in := wire.New{Name: l.counter, Slots: wire.Value{Value: &object.Dict{Entries: []object.Entry{{Key: object.Str("count"), Value: object.NewInt(0)}}}}}
		if err := m.insist(ctx, http.MethodPost, "/objects", in, nil); err != nil && batos.CodeOf(err) != batos.Conflict {
			return fmt.Errorf("new %s: %w", l.counter, err) // a conflict: it was made, and the answer was lost
		}
		for i := range messages {
			v, err := m.send(ctx, l.id(i), l.counter, "increment_by", 1)
			if err != nil {
				return fmt.Errorf("%s: %w", l.id(i), err)
			}
			if !object.Equal(v, object.NewInt(int64(i+1))) {
				return fmt.Errorf("%s answered %s, want %d", l.id(i), object.Text(v, 40), i+1)
			}
			l.answers = append(l.answers, v)
		}
		*books = append(*books, l)
	}
	return nil
}

// audit checks that the image agrees with what the clients were told.
func (m *mortal) audit(ctx context.Context, books []*ledger) {
	m.t.Helper()
	for _, l := range books {
		for i, want := range l.answers {
			v, err := m.send(ctx, l.id(i), l.counter, "increment_by", 1)
			if err != nil || !object.Equal(v, want) {
				m.t.Errorf("%s answered %s before and %s (%v) when it is sent again", l.id(i), object.Text(want, 40), object.Text(v, 40), err)
			}
		}
		v, err := m.send(ctx, "", l.counter, "count")
		if err != nil || !object.Equal(v, object.NewInt(int64(len(l.answers)))) {
			m.t.Errorf("%s stands at %s (%v), and %d messages were answered", l.counter, object.Text(v, 40), err, len(l.answers))
		}
	}
}

func TestNothingIsLostAndNothingIsDoneTwiceWhenTheServerIsKilled(t *testing.T) {
	with, isModel := engineHere(t)
	kills, missions := 30, 1 // at least so many missions
	switch {
	case os.Getenv("BATOS_LONG") != "":
		kills, missions = 200, 200
	case testing.Short():
		kills = 6
	case isModel:
		kills = 12
	}
	const seed = 20261123
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%d kills of %s, seed %d", kills, with, seed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills+missions)*20*time.Second)
	defer cancel()
	m := newMortal(t, with)

	var enough atomic.Bool
	books := make([][]*ledger, killClients)
	failed := make(chan error, killClients)
	var wg sync.WaitGroup
	for c := range killClients {
		wg.Go(func() { failed <- m.work(ctx, c, &enough, &books[c]) })
	}
	atWork, engines := 0, 0
	for kill := 0; kill < kills || m.missions(ctx) < missions; kill++ {
		moment := time.NewTimer(time.Duration(rng.IntN(600)) * time.Millisecond)
		select {
		case <-moment.C:
		case err := <-failed:
			t.Fatalf("a client gave up before kill %d: %v", kill, err)
		}
		if isModel && kill%3 == 2 {
			engines += m.killEngine()
			continue
		}
		if m.missionOpen(ctx) {
			atWork++
		}
		m.kill()
		if kill%4 == 3 { // and once more while it starts
			moment := time.NewTimer(time.Duration(rng.IntN(60)) * time.Millisecond)
			ready := m.launch()
			select {
			case <-moment.C:
			case <-ready:
			}
			m.kill()
		}
		m.start()
	}
	enough.Store(true)
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
	var all []*ledger
	for _, b := range books {
		all = append(all, b...)
	}
	m.audit(ctx, all)
	m.stop(syscall.SIGTERM)
	m.start()
	m.audit(ctx, all)
	t.Logf("%d objects learned to count; a mission was open at %d of the kills, the engine alone was killed %d times", len(all), atWork, engines)
	if len(all) == 0 {
		t.Error("no client came to the end of anything")
	}
}

// missions is how many missions there have been.
func (m *mortal) missions(ctx context.Context) int {
	var all wire.Missions
	if err := m.insist(ctx, http.MethodGet, "/missions", nil, &all); err != nil {
		m.t.Fatal(err)
	}
	return len(all.Missions)
}

// missionOpen reports whether a mission is on its way.
func (m *mortal) missionOpen(ctx context.Context) bool {
	var all wire.Missions
	if err := m.client.Do(ctx, http.MethodGet, "/missions", nil, &all); err != nil {
		m.t.Error(err)
	}
	for _, ms := range all.Missions {
		if ms.Ended == nil {
			return true
		}
	}
	return false
}

// killEngine kills the server's engine children, and tells how many.
func (m *mortal) killEngine() (killed int) {
	m.t.Helper()
	for _, pid := range m.engines() {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}

// Whoever waits gets the answer through a graceful stop too, with the mission
// going on in the next process.
func TestAWaitingSendOutlivesAGracefulStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Setenv(holdEnv, "increment_by")
			m := newMortal(t, scripted)
			ctx := t.Context()
			in := wire.New{Name: "counter", Slots: wire.Value{Value: &object.Dict{Entries: []object.Entry{{Key: object.Str("count"), Value: object.NewInt(3)}}}}}
			if err := m.client.Do(ctx, http.MethodPost, "/objects", in, nil); err != nil {
				t.Fatal(err)
			}
			mission := make(chan struct{})
			watch, unwatch := context.WithCancel(ctx)
			defer unwatch()
			go func() {
				_ = m.client.Events(watch, 0, func(e wire.Event) error { // ends with the server
					if e.Kind == "mission" {
						close(mission)
						return io.EOF
					}
					return nil
				})
			}()
			type answer struct {
				v   object.Value
				err error
			}
			got := make(chan answer, 1)
			go func() {
				v, err := m.send(ctx, "waits", "counter", "increment_by", 4)
				got <- answer{v, err}
			}()
			<-mission
			m.stop(sig)
			t.Setenv(holdEnv, "")
			m.start()
			if a := <-got; a.err != nil || !object.Equal(a.v, object.NewInt(7)) {
				t.Errorf("answered %s, %v", object.Text(a.v, 40), a.err)
			}
			m.stop(sig)
		})
	}
}

// An awakening that is killed leaves a folder that the next start awakens.
func TestAnAwakeningThatIsKilledBeginsAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		m := &mortal{t: t, with: scripted, dir: filepath.Join(t.TempDir(), "live_image"), address: "127.0.0.1:0", flags: []string{"--zmq", "none"}}
		moment := time.NewTimer(time.Duration(rng.IntN(50)) * time.Millisecond)
		ready := m.launch()
		select {
		case <-moment.C:
		case <-ready:
		}
		m.kill()
		m.start()
		m.stop(syscall.SIGTERM)
	}
}
