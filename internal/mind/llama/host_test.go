package llama

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"batos"
	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
)

// adapterFile saves an adapter's bytes, positioned at their end, and gives
// their hash.
func adapterFile(t testing.TB, b []byte) (*os.File, string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "adapter.gguf"))
	if err == nil {
		_, err = f.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // perhaps closed already
	sum := sha256.Sum256(b)
	return f, hex.EncodeToString(sum[:])
}

func load(t testing.TB, e *Engine, b []byte) mind.HotAdapter {
	t.Helper()
	f, hash := adapterFile(t, b)
	hot, err := e.LoadAdapter(t.Context(), hash, f)
	if err != nil {
		t.Fatal(err)
	}
	return hot
}

func memoryIn(t testing.TB, e *Engine) mind.Memory {
	t.Helper()
	m, err := e.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAdapterHost(t *testing.T) {
	shape := gguftest.Shape{Context: 512}
	e := open(t, Config{ModelPath: gguftest.Model(t, shape), Contexts: 2})
	bare := what(generate(t, e, mind.Request{Text: "hello", MaxTokens: 8}))
	a, hashA := gguftest.Adapter(t, shape, 1)
	f, _ := adapterFile(t, a)
	before := memoryIn(t, e)
	if before.Model == 0 || before.KV == 0 || before.Compute <= 0 || before.Resident < before.KV || len(before.Adapters) != 0 {
		t.Errorf("before: %+v", before)
	}
	hot, err := e.LoadAdapter(t.Context(), hashA, f)
	if err != nil || hot.Hash != hashA || hot.Bytes < int64(len(a))*9/10 || hot.Bytes > 2*int64(len(a)) {
		t.Fatalf("%+v of %d bytes, %v", hot, len(a), err)
	}
	if again, err := e.LoadAdapter(t.Context(), hashA, f); err != nil || again != hot {
		t.Errorf("twice: %+v, %v", again, err)
	}
	if m := memoryIn(t, e); !reflect.DeepEqual(m.Adapters, []mind.HotAdapter{hot}) {
		t.Errorf("loaded: %+v", m)
	}
	if err := f.Close(); err != nil { // the engine has a handle of its own
		t.Fatal(err)
	}
	with := what(generate(t, e, mind.Request{Text: "hello", MaxTokens: 8, Adapter: hashA}))
	if with.AdapterHash != hashA || slices.Equal(with.Logprobs, bare.Logprobs) {
		t.Errorf("with the adapter: %+v", with)
	}
	e.child.kill()
	<-e.child.dead
	if got := what(generate(t, e, mind.Request{Text: "hello", MaxTokens: 8, Adapter: hashA})); !reflect.DeepEqual(got, with) {
		t.Errorf("after a restart: %+v, want %+v", got, with)
	}
	if got := what(generate(t, e, mind.Request{Text: "hello", MaxTokens: 8})); !reflect.DeepEqual(got, bare) {
		t.Errorf("the bare model beside it: %+v, want %+v", got, bare)
	}
	for range 2 {
		if err := e.UnloadAdapter(t.Context(), hashA); err != nil {
			t.Error(err)
		}
	}
	if m := memoryIn(t, e); len(m.Adapters) != 0 {
		t.Errorf("unloaded: %+v", m)
	}
	_, err = e.Generate(t.Context(), mind.Request{Text: "hello", Adapter: hashA})
	if batos.CodeOf(err) != batos.Invalid || !strings.Contains(err.Error(), "is not loaded") {
		t.Errorf("unloaded: %v", err)
	}
	for range 2 { // both contexts
		if got := what(generate(t, e, mind.Request{Text: "hello", MaxTokens: 8})); !reflect.DeepEqual(got, bare) {
			t.Errorf("without it: %+v, want %+v", got, bare)
		}
	}
}

func TestAdaptersThatAreRefused(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{})})
	other, _ := gguftest.Adapter(t, gguftest.Shape{Width: 128}, 1)
	zeros := strings.Repeat("0", 64)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	good, _ := gguftest.Adapter(t, gguftest.Shape{}, 1)
	file := func(b []byte) *os.File { f, _ := adapterFile(t, b); return f }
	for _, c := range []struct {
		name, hash string
		file       *os.File
		says       string
	}{
		{"of another shape", zeros, file(other), "does not fit"},
		{"not GGUF", zeros, file([]byte("this is no adapter at all")), "not a GGUF file"},
		{"empty", zeros, file(nil), "not a GGUF file"},
		{"cut off", zeros, file(good[:len(good)-64]), "truncated"},
		{"a model", zeros, file(gguftest.ModelBytes(t, gguftest.Shape{})), "general.type"},
		{"a folder", zeros, dir, "not a regular file"},
		{"a short hash", "feed", file(good), "no hash"},
	} {
		_, err := e.LoadAdapter(t.Context(), c.hash, c.file)
		if batos.CodeOf(err) != batos.Invalid || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if m := memoryIn(t, e); len(m.Adapters) != 0 {
		t.Errorf("%+v", m)
	}
	if hashes := e.hot.hashes(); len(hashes) != 0 {
		t.Errorf("remembered as hot: %v", hashes)
	}
}

// An adapter that a request uses goes when the request ends, and the unloading
// waits for it.
func TestUnloadWaitsForUsers(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, slow), Contexts: 2})
	a, hash := gguftest.Adapter(t, slow, 1)
	load(t, e, a)
	ctx, stop := context.WithCancel(t.Context())
	begun := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		r := endless(1)
		r.Adapter = hash
		_, err := e.Stream(ctx, r, func(string) { once.Do(func() { close(begun) }) })
		done <- err
	}()
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.UnloadAdapter(gone, hash); batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("unloading that is not waited for: %v", err)
	}
	if m := memoryIn(t, e); len(m.Adapters) != 1 {
		t.Errorf("while it is used: %+v", m)
	}
	unloaded := make(chan error, 1)
	go func() { unloaded <- e.UnloadAdapter(t.Context(), hash) }()
	stop()
	if err := <-done; batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("%v", err)
	}
	if err := <-unloaded; err != nil {
		t.Error(err)
	}
	if m := memoryIn(t, e); len(m.Adapters) != 0 {
		t.Errorf("afterwards: %+v", m)
	}
}

func TestStream(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 1024, Width: 128}), Contexts: 1})
	for _, r := range []mind.Request{
		{Text: "x", Grammar: `root ::= "aé漢🦇z"`},
		{Text: "x", Grammar: `root ::= "alpha beta gamma"`, Stop: []string{"zeta", "a gar", "mma"}},
		{Text: "x", Grammar: `root ::= "aé"`, MaxTokens: 2},
		{Text: "x", Temperature: 1, Seed: 3, MaxTokens: 60}, // random bytes, most of them no character
		{Text: "x", MaxTokens: 1},
	} {
		want := what(generate(t, e, r))
		var parts []string
		res, err := e.Stream(t.Context(), r, func(text string) { parts = append(parts, text) })
		if err != nil {
			t.Fatal(err)
		}
		if got := what(res); !reflect.DeepEqual(got, want) || strings.Join(parts, "") != res.Text {
			t.Errorf("%q: parts %q, want %q", r.Grammar, parts, want.Text)
		}
		for _, p := range parts {
			if p == "" || !utf8.ValidString(p) {
				t.Errorf("%q: part %q", r.Grammar, p)
			}
		}
		if len(res.Tokens) > 8 && len(parts) < 4 {
			t.Errorf("%d tokens came in %d parts", len(res.Tokens), len(parts))
		}
	}
	// A child that dies amid the stream costs nothing and repeats nothing.
	r := endless(4)
	r.MaxTokens = 100
	want := generate(t, e, r)
	var got strings.Builder
	killed := false
	res, err := e.Stream(t.Context(), r, func(text string) {
		if got.WriteString(text); !killed && got.Len() > 20 {
			killed = true
			e.child.kill()
		}
	})
	if err != nil || !killed || got.String() != res.Text || res.Text != want.Text {
		t.Errorf("%q after a crash, %q without, %v", got.String(), want.Text, err)
	}
}

func TestEmbed(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 64})})
	long := strings.Repeat("the cat sat on the mat ", 12) // more than four windows
	texts := []string{"the cat sat", "the cat sat", "a dog barks", long}
	for range 2 * maxEmbedded {
		texts = append(texts, "more")
	}
	v, err := e.Embed(t.Context(), texts)
	if err != nil || len(v) != len(texts) {
		t.Fatalf("%d vectors, %v", len(v), err)
	}
	for i, x := range v {
		if len(x) != 64 || math.Abs(dot(x, x)-1) > 1e-5 {
			t.Errorf("vector %d has %d numbers and the square %g", i, len(x), dot(x, x))
		}
	}
	if !slices.Equal(v[0], v[1]) || dot(v[0], v[2]) > 0.9999 {
		t.Errorf("equal texts: %t, others: %g", slices.Equal(v[0], v[1]), dot(v[0], v[2]))
	}
	if none, err := e.Embed(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("no texts: %v, %v", none, err)
	}
	if _, err := e.Embed(t.Context(), []string{""}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("an empty text: %v", err)
	}
	generate(t, e, mind.Request{Text: "x", MaxTokens: 3})
}

func dot(a, b []float32) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// Whatever runs side by side, every request gets what it gets alone.
func TestSideBySide(t *testing.T) {
	shape := gguftest.Shape{Context: 1024}
	e := open(t, Config{ModelPath: gguftest.Model(t, shape), Contexts: 3})
	hashes := []string{""}
	for seed := range uint64(3) {
		b, hash := gguftest.Adapter(t, shape, seed)
		load(t, e, b)
		hashes = append(hashes, hash)
	}
	long := strings.Repeat("All work and no play makes a dull day. ", 8)
	var requests []mind.Request
	for _, hash := range hashes {
		for i := range 3 {
			requests = append(requests, mind.Request{Text: long[:40+chunk*i] + "go", Adapter: hash, MaxTokens: 12, Temperature: 0.8, Seed: uint64(i)})
		}
	}
	want := make([]mind.Result, len(requests))
	for i, r := range requests {
		want[i] = what(generate(t, e, r))
	}
	r := rand.New(rand.NewPCG(1, 1))
	var wg sync.WaitGroup
	for range 60 {
		i := r.IntN(len(requests))
		wg.Go(func() {
			res, err := e.Generate(t.Context(), requests[i])
			if err != nil {
				t.Error(err)
			} else if got := what(res); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("request %d: %q %v, alone %q %v", i, got.Text, got.Logprobs, want[i].Text, want[i].Logprobs)
			}
		})
	}
	wg.Wait()
}

// Adapters that come and go leave nothing behind. BATOS_LONG=1 makes ten
// thousand rounds.
func TestMemoryComesBack(t *testing.T) {
	// The collector takes and gives back a few MiB as it likes; the smallest
	// loss of an adapter in each round would be more.
	settle, rounds, bound := 200, 300, func(before int64) int64 { return before + 8<<20 }
	if os.Getenv("BATOS_LONG") != "" {
		settle, rounds, bound = 1000, 10_000, func(before int64) int64 { return before + before/50 }
	}
	shape := gguftest.Shape{Context: 128, Width: 256, Hidden: 256}
	e := open(t, Config{ModelPath: gguftest.Model(t, shape), Contexts: 1})
	var files []*os.File
	var hashes []string
	for seed := range uint64(4) {
		b, hash := gguftest.Adapter(t, shape, seed)
		f, _ := adapterFile(t, b)
		files, hashes = append(files, f), append(hashes, hash)
	}
	round := func(i int) {
		k := i % len(files)
		if _, err := e.LoadAdapter(t.Context(), hashes[k], files[k]); err != nil {
			t.Fatal(err)
		}
		generate(t, e, mind.Request{Text: "x", Adapter: hashes[k], MaxTokens: 1})
		if err := e.UnloadAdapter(t.Context(), hashes[k]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range settle { // until the collector and the allocator have their room
		round(i)
	}
	before := memoryIn(t, e).Resident
	for i := range rounds {
		round(i)
	}
	after := memoryIn(t, e).Resident
	t.Logf("%d rounds: %d KiB resident before, %d after", rounds, before>>10, after>>10)
	if after > bound(before) {
		t.Errorf("%d bytes resident before %d rounds, %d after", before, rounds, after)
	}
}
