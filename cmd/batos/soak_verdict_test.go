package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// probe is a thread that does nothing but ask to be woken, and notes how late
// it was: what the machine lets any process of this priority wait. Latency can
// be judged only where that is short.
type probe struct {
	mu   sync.Mutex
	late []time.Duration
	quit chan struct{}
	done chan struct{}
}

// probeEvery is how often it asks.
const probeEvery = 20 * time.Millisecond

func newProbe() *probe {
	p := &probe{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		for {
			asked := time.Now()
			select {
			case <-time.After(probeEvery):
			case <-p.quit:
				return
			}
			late := time.Since(asked) - probeEvery
			p.mu.Lock()
			p.late = append(p.late, late)
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *probe) stop() {
	close(p.quit)
	<-p.done
}

// take gives the slowest per cent since it was called last.
func (p *probe) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := quantile(p.late, 99)
	p.late = p.late[:0]
	return d
}

// ticks are processor times in hundredths of a second.
type ticks struct{ all, idle, own int64 }

// machine reads what all processors did, and what these processes did; zero
// where the system does not tell.
func machine(pids ...int) (t ticks) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t
	}
	first, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(first)[1:] {
		n, _ := strconv.ParseInt(f, 10, 64)
		if i < 8 { // guests are counted in user
			t.all += n
		}
		if i == 3 || i == 4 {
			t.idle += n
		}
	}
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // from the third on
		for _, i := range []int{11, 12} {
			if i < len(f) {
				n, _ := strconv.ParseInt(string(f[i]), 10, 64)
				t.own += n
			}
		}
	}
	return t
}

// others is the share of the processors that neither idled nor did the soak's
// work between two moments.
func (t ticks) others(since ticks) float64 {
	all := t.all - since.all
	if all <= 0 {
		return 0
	}
	return max(float64(all-(t.idle-since.idle)-max(t.own-since.own, 0))/float64(all), 0)
}

// flat is a figure that must not grow: its last quarter against its second,
// when all has been warmed up, by a factor or by so much.
type flat struct {
	name   string
	of     func(sample) float64
	factor float64
	plus   float64
	kind   flatKind
}

type flatKind int

const (
	counted flatKind = iota // at any load the same
	held                    // memory: judged by its trend, too, once the cache is full
	waited                  // time: judged in calm samples only
)

var flats = []flat{
	{"rss_kib", func(x sample) float64 { return float64(x.rss) }, 1.05, 4096, held},
	{"anon_kib", func(x sample) float64 { return float64(x.anonymous) }, 1.05, 4096, held}, // without the mapped log and the program
	{"engine_kib", func(x sample) float64 { return float64(x.engine) }, 1.05, 4096, held},
	{"fds", func(x sample) float64 { return float64(x.files) }, 1, 2, counted},
	{"goroutines", func(x sample) float64 { return float64(x.goroutines) }, 1, 4, counted},
	{"p50_ms", func(x sample) float64 { return milliseconds(x.p50) }, 1.5, 1, waited},
	{"p99_ms", func(x sample) float64 { return milliseconds(x.p99) }, 1.5, 5, waited},
}

// A sample is calm if the probe was woken in time and others left most of the
// processors alone. So many of a quarter's must be calm to judge by them.
const (
	calmDelay  = 3 * time.Millisecond
	calmOthers = 0.25
	calmShare  = 4 // one in
)

func (x sample) calm() bool { return x.delay <= calmDelay && x.others <= calmOthers }

// cacheGrew is by how much the cache's account may grow from one quarter to
// another in a soak that judges memory.
const cacheGrew = 1.1

// verdict has a line for each figure that must be flat, which ends with ok,
// short, or unjudged and why. Medians of the quarters count: a machine that does
// something else for a minute shows in neither.
func verdict(samples []sample) (lines []string) {
	quarter := len(samples) / 4
	for _, f := range flats {
		second, last := samples[quarter:2*quarter], samples[3*quarter:]
		why := ""
		if f.kind == waited {
			second, last, why = calm(second), calm(last), busy(second, last)
		}
		early, late := median(second, f.of), median(last, f.of)
		line := fmt.Sprintf("soak name=%s second_quarter=%.4g last_quarter=%.4g ratio=%.3f", f.name, early, late, late/max(early, 1e-9))
		is := late
		if f.kind == held {
			perHour := trend(samples[quarter:], f.of)
			is = max(late, early+perHour*hoursBetween(samples[quarter:])*5/6) // from the middle of the second quarter to the end
			line += fmt.Sprintf(" trend=%+.0f/h", perHour)
			account := func(x sample) float64 { return float64(x.cache) }
			if median(last, account) > cacheGrew*median(second, account) {
				why = "the cache was not full"
			}
		}
		line += fmt.Sprintf(" bar=<=%.3g,+%g ", f.factor, f.plus)
		switch {
		case why != "":
			line += "unjudged: " + why
		case is > max(early*f.factor, early+f.plus):
			line += "short"
		default:
			line += "ok"
		}
		lines = append(lines, line)
	}
	return lines
}

func calm(of []sample) []sample {
	return slices.DeleteFunc(slices.Clone(of), func(x sample) bool { return !x.calm() })
}

// busy says why latency cannot be judged, or nothing.
func busy(second, last []sample) string {
	for _, q := range []struct {
		name string
		of   []sample
	}{{"second", second}, {"last", last}} {
		if n := len(calm(q.of)); n == 0 || n*calmShare < len(q.of) {
			return fmt.Sprintf("the machine was calm in %d of %d samples of the %s quarter (others took %.2f of it, a wake-up was %.1f ms late)", n, len(q.of), q.name,
				median(q.of, func(x sample) float64 { return x.others }), median(q.of, func(x sample) float64 { return milliseconds(x.delay) }))
		}
	}
	return ""
}

func median(of []sample, fn func(sample) float64) float64 {
	var v []float64
	for _, x := range of {
		v = append(v, fn(x))
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// trend is the slope in an hour of the line through the samples: the median of
// those between all pairs, which a few samples far off (an engine that has just
// been started anew) do not turn.
func trend(of []sample, fn func(sample) float64) float64 {
	var slopes []float64
	for i := range of {
		for j := range i {
			if hours := of[i].at.Sub(of[j].at).Hours(); hours > 0 {
				slopes = append(slopes, (fn(of[i])-fn(of[j]))/hours)
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

func hoursBetween(of []sample) float64 {
	if len(of) == 0 {
		return 0
	}
	return of[len(of)-1].at.Sub(of[0].at).Hours()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func TestVerdictOfASoak(t *testing.T) {
	begin := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	soak := func(change func(i int, x *sample)) map[string]string {
		samples := make([]sample, 40)
		for i := range samples {
			samples[i] = sample{at: begin.Add(time.Duration(i) * time.Minute), rss: 90000, cache: 16000, files: 20, goroutines: 30, p50: time.Millisecond, p99: 5 * time.Millisecond}
			change(i, &samples[i])
		}
		words := map[string]string{}
		for _, line := range verdict(samples) {
			_, name, _ := strings.Cut(line, "name=")
			name, _, _ = strings.Cut(name, " ")
			_, word, _ := strings.Cut(line, "bar=")
			_, word, _ = strings.Cut(word, " ")
			words[name], _, _ = strings.Cut(word, ":")
		}
		return words
	}
	for _, c := range []struct {
		name   string
		change func(i int, x *sample)
		want   map[string]string // of those that are not ok
	}{
		{"a server that stays as it is", func(int, *sample) {}, nil},
		{"one that warms up", func(i int, x *sample) { x.rss -= int64(max(0, 10-i)) * 5000 }, nil},
		{"one that grows", func(i int, x *sample) { x.rss += int64(i) * 500; x.files += i / 5 }, map[string]string{"rss_kib": "short", "fds": "short"}},
		{"one that grows to the end of its last quarter", func(i int, x *sample) { x.rss += int64(i) * 200 }, map[string]string{"rss_kib": "short"}},
		{"a sawtooth", func(i int, x *sample) { x.rss += int64(i%4) * 4000 }, nil},
		{"a cache that fills", func(i int, x *sample) { x.rss += int64(i) * 500; x.cache += int64(i) * 400 }, map[string]string{"rss_kib": "unjudged", "anon_kib": "unjudged", "engine_kib": "unjudged"}},
		{"an engine that is killed early", func(i int, x *sample) {
			x.engine = 75000
			if i < 20 && i%3 == 0 {
				x.engine = 22000
			}
		}, nil},
		{"one that gets slow", func(i int, x *sample) { x.p99 += time.Duration(i) * time.Millisecond }, map[string]string{"p99_ms": "short"}},
		{"a machine that gets busy", func(i int, x *sample) {
			if i >= 20 {
				x.p99, x.delay = 50*time.Millisecond, 20*time.Millisecond
			}
		}, map[string]string{"p50_ms": "unjudged", "p99_ms": "unjudged"}},
		{"a machine that is busy now and then", func(i int, x *sample) {
			if i%2 == 0 {
				x.p99, x.others = 50*time.Millisecond, 0.9
			}
		}, nil},
	} {
		got := soak(c.change)
		for _, f := range flats {
			want := c.want[f.name]
			if want == "" {
				want = "ok"
			}
			if got[f.name] != want {
				t.Errorf("%s: %s is %s, not %s", c.name, f.name, got[f.name], want)
			}
		}
	}
}

func TestOthersShare(t *testing.T) {
	if n := (ticks{1000, 300, 200}).others(ticks{0, 100, 100}); n != 0.7 {
		t.Errorf("%v of the processors is others', not 0.7", n)
	}
	if now := machine(os.Getpid()); now.all > 0 && now.all < now.idle {
		t.Errorf("%+v", now)
	}
}
