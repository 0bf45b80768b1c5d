package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// soakEnv is how long TestSoak lasts ("2h"); without it each kind of work is
// done a few times. soakFileEnv names a file that takes the samples as they
// come, soakProgramEnv the program to look at if it is not the test's own.
const (
	soakEnv        = "BATOS_SOAK"
	soakFileEnv    = "BATOS_SOAK_FILE"
	soakProgramEnv = "BATOS_SOAK_PROGRAM"
)

// A soak's load: so many workers, and the mean pause of each between two pieces
// of work.
const (
	soakWorkers = 3
	soakPause   = 60 * time.Millisecond
	soakSamples = 120
)

// soakCache is the server's cache in MiB: one that is full in the first
// quarter, so that what grows afterwards is something else.
const soakCache = "16"

// TestSoak keeps a real server at moderate work through all its doors: known
// messages that read and write, malformed ones, missions that are taken back,
// the catalog, inspections, undos, packs, clients that come and go. Every
// answer is checked. In the short form nothing is judged by the clock: file
// descriptors and goroutines must be as before when the clients are gone. In
// the long one memory, file descriptors and the slowest per cent of the last
// quarter must be those of the second; what the machine itself does is measured
// beside, and time is not judged where it was busy (see verdict).
func TestSoak(t *testing.T) {
	with, isModel := engineHere(t)
	with = cmp.Or(os.Getenv(soakProgramEnv), with)
	m := newMortal(t, with, "--zmq", "tcp://127.0.0.1:0", "--cache", soakCache)
	s := &soak{mortal: m, isModel: isModel}
	s.prepare(t)
	if os.Getenv(soakEnv) == "" {
		s.short(t)
	} else {
		s.long(t)
	}
	s.agree(t)
	m.stop(syscall.SIGINT)
}

// short does each kind of work a few times.
func (s *soak) short(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	round := func() {
		w := &soaker{soak: s, rng: rand.New(rand.NewPCG(7, 0)), packs: true}
		for _, work := range allWorks {
			w.do(t, work)
		}
		w.leave()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	}
	round() // what is made once is made
	before := s.settled(t, func(sample) bool { return true })
	for range rounds {
		round()
	}
	after := s.settled(t, func(x sample) bool { return x.files <= before.files && x.goroutines <= before.goroutines })
	t.Logf("\n       %s\nbefore %s\nafter  %s", sampleHead, before, after)
}

// settled samples until a sample is as it must be.
func (s *soak) settled(t *testing.T, good func(sample) bool) sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		x := s.sample(t)
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if good(x) {
			return x
		}
		if pause(ctx) != nil {
			t.Fatalf("it does not come to rest:\n%s\n%s", sampleHead, x)
		}
	}
}

// long works for as long as it is asked to, and judges.
func (s *soak) long(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(soakEnv))
	if err != nil {
		t.Fatalf("%s: %v", soakEnv, err)
	}
	out := io.Discard
	if name := os.Getenv(soakFileEnv); name != "" {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = f
	}
	tell := func(line string) {
		t.Log(line)
		if _, err := fmt.Fprintln(out, line); err != nil {
			t.Error(err)
		}
	}
	tell(sampleHead)
	s.probe = newProbe()
	defer s.probe.stop()
	s.before = machine()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for n := range soakWorkers {
		wg.Go(func() {
			w := &soaker{soak: s, n: n, rng: rand.New(rand.NewPCG(7, uint64(n))), packs: n == 0}
			defer w.leave()
			for {
				w.do(t, w.pick())
				rest := time.NewTimer(time.Duration(w.rng.Int64N(int64(2 * soakPause))))
				select {
				case <-rest.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	var samples []sample
	every := time.NewTicker(length / soakSamples)
	defer every.Stop()
	for ctx.Err() == nil {
		select {
		case <-every.C:
			x := s.sample(t)
			samples = append(samples, x)
			tell(x.String())
			if n := len(samples); n == soakSamples/4 || n == soakSamples-1 {
				s.saveHeap(t, n)
			}
		case <-ctx.Done():
		}
	}
	wg.Wait()
	for _, line := range verdict(samples) {
		tell(line)
		if strings.HasSuffix(line, "short") {
			t.Error(line)
		}
	}
}

// saveHeap puts a profile of the server's heap beside the samples: one from
// after the warm-up, one from the end. What grew is what is between them:
// go tool pprof -top -diff_base FILE.heap30 FILE.heap119.
func (s *soak) saveHeap(t *testing.T, n int) {
	t.Helper()
	if name := os.Getenv(soakFileEnv); name != "" {
		if err := os.WriteFile(fmt.Sprintf("%s.heap%d", name, n), s.get(t, "/debug/pprof/heap?gc=1"), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// sample is how a server is at one moment, and what its clients saw since the
// sample before.
type sample struct {
	at                   time.Time
	rss, anonymous       int64 // of the server, KiB; anonymous is what is no file's
	engine               int64 // resident, of its child, KiB
	files, goroutines    int   // files without those of the log
	segments             int   // of the log, each a file that is open; a pack begins a new one
	objects, logBytes    int64
	done, missions       int
	p50, p99, missionP50 time.Duration
	heap, cache          int64         // of the server's collector, in use, and of the image's cache, KiB
	delay                time.Duration // how late the slowest per cent of wake-ups was
	others               float64       // share of the processors that is not the soak's
}

const sampleHead = "time     rss_kib anon_kib heap_kib cache_kib engine_kib fds segments goroutines objects log_kib works missions p50_ms p99_ms mission_p50_ms late_ms others"

func (x sample) String() string {
	return fmt.Sprintf("%s %7d %8d %8d %9d %10d %3d %8d %10d %7d %7d %5d %8d %6.2f %6.2f %14.1f %7.2f %6.2f", x.at.Format(time.TimeOnly), x.rss, x.anonymous, x.heap, x.cache, x.engine,
		x.files, x.segments, x.goroutines, x.objects, x.logBytes>>10, x.done, x.missions, milliseconds(x.p50), milliseconds(x.p99), milliseconds(x.missionP50), milliseconds(x.delay), x.others)
}

// sample looks at the server's process, asks it for its metrics and takes what
// the clients measured.
func (s *soak) sample(t *testing.T) sample {
	t.Helper()
	pid := s.cmd.Process.Pid
	x := sample{at: time.Now(), rss: statusOf(pid, "VmRSS"), anonymous: statusOf(pid, "RssAnon")}
	own := []int{pid, os.Getpid()}
	for _, child := range s.engines() {
		x.engine += statusOf(child, "VmRSS")
		own = append(own, child)
	}
	if s.probe != nil {
		x.delay = s.probe.take()
	}
	now := machine(own...)
	x.others = now.others(s.before)
	s.before = now
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // none where the system lists none
	for _, name := range open {
		if to, err := os.Readlink(name); err == nil && strings.HasSuffix(strings.TrimSuffix(to, " (deleted)"), ".seg") {
			x.segments++
		} else {
			x.files++
		}
	}
	metrics := s.metrics(t)
	x.goroutines = int(metrics["go_goroutines"])
	x.heap, x.cache = int64(metrics["go_memstats_heap_inuse_bytes"])>>10, int64(metrics["batos_image_cache_bytes"])>>10
	x.objects, x.logBytes = int64(metrics["batos_image_objects"]), int64(metrics["batos_image_log_bytes"])
	s.mu.Lock()
	defer s.mu.Unlock()
	x.done, x.missions = len(s.took), len(s.tookMission)
	x.p50, x.p99, x.missionP50 = quantile(s.took, 50), quantile(s.took, 99), quantile(s.tookMission, 50)
	s.took, s.tookMission = nil, nil
	return x
}

// statusOf reads a figure in KiB from what the system tells of a process; 0
// where it tells nothing.
func statusOf(pid int, name string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n
		}
	}
	return 0
}

// engines are the server's engine children.
func (m *mortal) engines() (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", m.cmd.Process.Pid)) // none where the system lists none
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(b)) {
			line, err := os.ReadFile("/proc/" + child + "/cmdline")
			if err != nil || !bytes.Contains(line, []byte("engine\x00serve")) {
				continue
			}
			if id, err := strconv.Atoi(child); err == nil {
				pids = append(pids, id)
			}
		}
	}
	return pids
}

// metrics are the server's, those without labels.
func (s *soak) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(s.get(t, "/metrics")))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	if out["go_goroutines"] == 0 {
		t.Error("the metrics count no goroutines")
	}
	return out
}

func quantile(d []time.Duration, percent int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)*percent/100]
}
