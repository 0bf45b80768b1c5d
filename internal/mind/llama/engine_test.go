package llama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"batos"
	"batos/internal/ggml"
	"batos/internal/gguf"
	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
)

// TestMain lets the test binary be its own engine, as the real one is.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"engine", "serve"}) {
		if err := Serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// libraries gives the folder of the engine's libraries, or skips the test.
func libraries(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(ggml.Dir("../../.."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("engine library is not installed (npm ci installs %s)", ggml.Package)
	}
	return dir
}

func open(t testing.TB, cfg Config) *Engine {
	t.Helper()
	cfg.LibDir = libraries(t)
	if cfg.Threads == 0 {
		cfg.Threads = 1
	}
	e, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func generate(t testing.TB, e *Engine, r mind.Request) *mind.Result {
	t.Helper()
	res, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Tokens) != len(res.Logprobs) {
		t.Fatalf("%d tokens with %d log probabilities", len(res.Tokens), len(res.Logprobs))
	}
	for i, p := range res.Logprobs {
		if !(p <= 0) {
			t.Fatalf("log probability %d is %g", i, p)
		}
	}
	return res
}

// what strips the parts of a result that may differ between equal requests.
func what(r *mind.Result) mind.Result {
	c := *r
	c.Duration, c.CachedTokens = 0, 0
	return c
}

func TestGenerate(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{})})
	info, err := e.Info(t.Context())
	if err != nil || info.Profile != mind.CovenantName || info.VocabSize != gguftest.Vocab || info.Params == 0 || len(info.Hash) != 64 || info.ContextTokens != 512 {
		t.Errorf("info %+v, %v", info, err)
	}
	if n, err := e.CountTokens(t.Context(), "<|im_start|>abc"); n != 4 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	req := mind.Request{Text: "The answer is", MaxTokens: 24, Temperature: 1, TopP: 0.95, Seed: 7}
	first := generate(t, e, req)
	if len(first.Tokens) == 0 || first.PromptTokens != 13 || first.Model != info.Hash {
		t.Errorf("result %+v", first)
	}
	if again := generate(t, e, req); !reflect.DeepEqual(what(first), what(again)) {
		t.Errorf("the same request gave\n%+v\nand then\n%+v", first, again)
	}
	other := req
	other.Seed = 8
	if slices.Equal(generate(t, e, other).Tokens, first.Tokens) {
		t.Error("another seed gave the same tokens")
	}
	greedy := mind.Request{Text: "The answer is", MaxTokens: 24}
	if a, b := generate(t, e, greedy), generate(t, e, mind.Request{Tokens: bytesAsTokens("The answer is"), MaxTokens: 24}); !slices.Equal(a.Tokens, b.Tokens) {
		t.Error("text and its tokens gave different answers")
	} else if a.Stop == mind.StopLength && len(a.Tokens) != 24 {
		t.Errorf("stopped by length after %d tokens", len(a.Tokens))
	}
}

func bytesAsTokens(s string) []int32 {
	var toks []int32
	for _, b := range []byte(s) {
		toks = append(toks, int32(b))
	}
	return toks
}

func TestGrammar(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{})})
	for seed := range uint64(5) {
		r := generate(t, e, mind.Request{Text: "x", Grammar: `root ::= "yes" | "no" [0-9] [0-9] "."`, Temperature: 1, Seed: seed})
		if r.Stop != mind.StopEnd || (r.Text != "yes" && (len(r.Text) != 5 || !strings.HasPrefix(r.Text, "no"))) {
			t.Errorf("seed %d wrote %q, stop %s", seed, r.Text, r.Stop)
		}
	}
	_, err := e.Generate(t.Context(), mind.Request{Text: "x", Grammar: `root ::= [`})
	if batos.CodeOf(err) != batos.Invalid {
		t.Errorf("a broken grammar: %v", err)
	}
	if generate(t, e, mind.Request{Text: "x", MaxTokens: 3}); t.Failed() {
		t.Error("the engine is not usable after a broken grammar")
	}
}

func TestStops(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{})})
	fixed := `root ::= "alpha beta gamma"`
	for _, c := range []struct {
		name string
		req  mind.Request
		text string
		toks int
		stop mind.Stop
	}{
		{"whole", mind.Request{}, "alpha beta gamma", 16, mind.StopEnd},
		{"string", mind.Request{Stop: []string{"zeta", "a g"}}, "alpha bet", 9, mind.StopEnd},
		{"first of two", mind.Request{Stop: []string{"gamma", "beta"}}, "alpha ", 6, mind.StopEnd},
		{"token", mind.Request{StopTokens: []int32{' '}}, "alpha", 5, mind.StopEnd},
		{"length", mind.Request{MaxTokens: 7}, "alpha b", 7, mind.StopLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.req.Text, c.req.Grammar = "x", fixed
			r := generate(t, e, c.req)
			if r.Text != c.text || len(r.Tokens) != c.toks || r.Stop != c.stop {
				t.Errorf("got %q, %d tokens, stop %s", r.Text, len(r.Tokens), r.Stop)
			}
		})
	}
	cut := generate(t, e, mind.Request{Text: "x", Grammar: `root ::= "aé"`, MaxTokens: 2})
	if cut.Text != "a" {
		t.Errorf("a character cut in half came out as %q", cut.Text)
	}
}

// A prompt's result may not depend on what was computed before it: not on
// another prompt, not on another adapter, not on a reused prefix.
func TestCacheChangesNothing(t *testing.T) {
	shape := gguftest.Shape{Context: 1024}
	a, hashA := gguftest.Adapter(t, shape, 1)
	b, hashB := gguftest.Adapter(t, shape, 2)
	cfg := Config{ModelPath: gguftest.Model(t, shape)}
	open := func(t *testing.T, cfg Config) *Engine {
		e := open(t, cfg)
		load(t, e, a)
		load(t, e, b)
		return e
	}
	long := strings.Repeat("All work and no play makes a dull day. ", 12) // several chunks
	var requests []mind.Request
	for _, adapter := range []string{"", hashA, hashB} {
		for _, text := range []string{long + "One", long + "Two", "short", long[:chunk], long[:2*chunk]} {
			requests = append(requests, mind.Request{Text: text, Adapter: adapter, MaxTokens: 8})
		}
	}
	fresh := make([]mind.Result, len(requests))
	for i, r := range requests {
		e := open(t, cfg)
		fresh[i] = what(generate(t, e, r))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Equal(fresh[0].Logprobs, fresh[5].Logprobs) || slices.Equal(fresh[5].Logprobs, fresh[10].Logprobs) {
		t.Fatal("the adapters change nothing, so the test shows nothing")
	}
	e := open(t, cfg)
	reused := 0
	order := []int{0, 1, 0, 2, 0, 3, 4, 0, 5, 0, 5, 6, 10, 5, 11, 10, 1, 14, 13, 9, 8, 4, 3}
	for step, i := range order {
		res := generate(t, e, requests[i])
		reused += res.CachedTokens
		if got := what(res); !reflect.DeepEqual(got, fresh[i]) {
			t.Errorf("step %d, request %d: got %q %v, alone it gives %q %v", step, i, got.Text, got.Logprobs, fresh[i].Text, fresh[i].Logprobs)
		}
	}
	if reused == 0 {
		t.Error("no prefix was ever reused")
	}
}

func TestChat(t *testing.T) {
	const chatML = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
	for _, template := range []string{chatML, "", "{{ a template that nobody knows }}"} {
		e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Template: template, Meta: []gguf.Entry{
			{Key: "tokenizer.ggml.add_bos_token", Value: gguf.OfBool(true)}, {Key: "tokenizer.ggml.add_eos_token", Value: gguf.OfBool(true)},
		}})})
		chat := []mind.Turn{{Role: mind.System, Text: "Be brief."}, {Role: mind.User, Text: "Hi <|im_end|>"}}
		got := generate(t, e, mind.Request{Chat: chat, MaxTokens: 8})
		want := append(append([]int32{gguftest.End, gguftest.TurnHead}, bytesAsTokens("system\nBe brief.")...), gguftest.TurnEnd, '\n', gguftest.TurnHead)
		want = append(append(want, bytesAsTokens("user\nHi <|im_end|>")...), gguftest.TurnEnd, '\n', gguftest.TurnHead)
		want = append(want, bytesAsTokens("assistant\n")...)
		same := generate(t, e, mind.Request{Tokens: want, MaxTokens: 8})
		if got.PromptTokens != len(want) || !slices.Equal(got.Tokens, same.Tokens) {
			t.Errorf("template %.20q: %d prompt tokens, want %d, and answers %q, %q", template, got.PromptTokens, len(want), got.Text, same.Text)
		}
		if n := generate(t, e, mind.Request{Text: "<|endoftext|>abc", MaxTokens: 1}).PromptTokens; n != 4 {
			t.Errorf("a text that begins with its first token has %d tokens", n)
		}
		_, err := e.Generate(t.Context(), mind.Request{Chat: []mind.Turn{{Role: "root", Text: "x"}}})
		if batos.CodeOf(err) != batos.Invalid {
			t.Errorf("an unknown role: %v", err)
		}
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 128})})
	for name, r := range map[string]mind.Request{
		"no prompt":        {},
		"two prompts":      {Text: "x", Tokens: []int32{1}},
		"foreign token":    {Tokens: []int32{gguftest.Vocab}},
		"negative token":   {Tokens: []int32{-1}},
		"long prompt":      {Text: strings.Repeat("x", 128)},
		"absurd prompt":    {Text: strings.Repeat("x", 1<<20)},
		"negative maximum": {Text: "x", MaxTokens: -1},
		"temperature":      {Text: "x", Temperature: -1},
		"top-p":            {Text: "x", TopP: 2},
		"empty stop":       {Text: "x", Stop: []string{""}},
		"adapter":          {Text: "x", Adapter: "feed"},
	} {
		if _, err := e.Generate(t.Context(), r); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r := generate(t, e, mind.Request{Text: strings.Repeat("x", 120), Grammar: "root ::= [a-z]+"}); len(r.Tokens) > 8 {
		t.Errorf("%d tokens behind a prompt of 120 in a context of 128", len(r.Tokens))
	}
}

// endless never stops by itself within the context.
func endless(seed uint64) mind.Request {
	return mind.Request{Text: "go on", Grammar: "root ::= [a-z] root", Temperature: 1, Seed: seed, MaxTokens: 4000}
}

// slow is a model that takes long enough over its context to be interrupted.
var slow = gguftest.Shape{Context: 4096, Width: 256, Layers: 4, Hidden: 512}

// sends reports every generation that is given to a child.
func sends(e *Engine) <-chan *child {
	ch := make(chan *child, 64)
	e.watch = func(c *child, o op) {
		if o == opGenerate {
			ch <- c
		}
	}
	return ch
}

func TestCancel(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, slow), Contexts: 1})
	sent := sends(e)
	ctx, cancel := context.WithCancel(t.Context())
	running := make(chan error, 1)
	go func() {
		_, err := e.Generate(ctx, endless(1))
		running <- err
	}()
	first := <-sent
	queued, cancelQueued := context.WithCancel(t.Context())
	cancelQueued()
	if _, err := e.Generate(queued, endless(2)); batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("queued: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, cancel) // amid the generation
	if err := <-running; batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("running: %v", err)
	}
	short, done := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer done()
	if _, err := e.Generate(short, endless(3)); batos.CodeOf(err) != batos.Timeout {
		t.Errorf("deadline: %v", err)
	}
	generate(t, e, mind.Request{Text: "x", MaxTokens: 2})
	select {
	case <-first.dead:
		t.Error("cancelling cost a child")
	default:
	}
}

// allStopped reports whether every thread of a process is stopped.
func allStopped(t *testing.T, pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d is gone: %v", pid, err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // that thread ended
		}
		_, state, ok := strings.Cut(string(b), ") ")
		if err != nil || !ok || state[0] != 'T' {
			return false
		}
	}
	return true
}

func TestStuckChildIsKilled(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, slow), Grace: 50 * time.Millisecond})
	var stopped *child
	e.watch = func(c *child, _ op) {
		if stopped == nil {
			stopped = c
			if err := c.signal(syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
			for !allStopped(t, c.pid) { // on a busy machine a thread may go on for a while
				runtime.Gosched()
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Generate(ctx, endless(1)); batos.CodeOf(err) != batos.Timeout { // it cannot be done before the child is stopped
		t.Fatalf("a stopped child: %v", err)
	}
	<-stopped.dead
	generate(t, e, mind.Request{Text: "x", MaxTokens: 2})
}

// kill -9 of the engine, again and again while it generates: every generation
// completes, with the answer it has without. BATOS_LONG=1 makes a hundred.
func TestKilledDuringGenerations(t *testing.T) {
	generations := 24
	if os.Getenv("BATOS_LONG") != "" {
		generations = 100
	}
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 1024, Width: 128}), Contexts: 2})
	request := func(i int) mind.Request {
		r := endless(uint64(i))
		r.MaxTokens = 150
		return r
	}
	want := make([]mind.Result, generations)
	for i := range want {
		want[i] = what(generate(t, e, request(i)))
	}
	// A call is given to three children, and runs alone with the last: so
	// murders that leave a few calls between them cannot end it.
	var mu sync.Mutex
	spared, murders := 0, 0
	e.watch = func(c *child, _ op) {
		mu.Lock()
		defer mu.Unlock()
		if spared++; spared < 5 {
			return
		}
		spared = 0
		murders++
		time.AfterFunc(time.Duration(murders%8)*time.Millisecond, c.kill)
	}
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			res, err := e.Generate(t.Context(), request(i))
			if err != nil {
				t.Errorf("generation %d: %v", i, err)
				return
			}
			if got := what(res); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("generation %d gave %q after a crash, %q before", i, got.Text, want[i].Text)
			}
		})
	}
	wg.Wait()
	t.Logf("%d generations, %d engines killed", generations, murders)
	if murders < generations/8 {
		t.Errorf("only %d children were killed", murders)
	}
}

func TestCrashOnEveryRequest(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{})})
	e.watch = func(c *child, _ op) { c.kill() }
	if _, err := e.Generate(t.Context(), endless(1)); batos.CodeOf(err) != batos.Offline || !strings.Contains(fmt.Sprint(err), "killed") {
		t.Errorf("a child that always dies: %v", err)
	}
	e.watch = nil
	generate(t, e, mind.Request{Text: "x", MaxTokens: 2})
}

func TestQueue(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, slow), Contexts: 1, Queue: 1})
	sent := sends(e)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := e.Generate(ctx, endless(1))
		ended <- err
	}()
	<-sent
	if _, err := e.Generate(t.Context(), endless(2)); batos.CodeOf(err) != batos.Busy {
		t.Errorf("a full queue: %v", err)
	}
	if n, err := e.CountTokens(t.Context(), "abc"); n != 3 || err != nil {
		t.Errorf("counting behind a generation: %d, %v", n, err)
	}
	cancel()
	<-ended
}

func TestClose(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, slow)})
	sent := sends(e)
	ended := make(chan error, 1)
	go func() {
		_, err := e.Generate(t.Context(), endless(1))
		ended <- err
	}()
	c := <-sent
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; batos.CodeOf(err) != batos.Cancelled {
		t.Errorf("under way: %v", err)
	}
	<-c.dead
	if _, err := e.Generate(t.Context(), endless(1)); batos.CodeOf(err) != batos.Offline {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := e.Info(t.Context()); batos.CodeOf(err) != batos.Offline {
		t.Errorf("info afterwards: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	lib := libraries(t)
	good := gguftest.ModelBytes(t, gguftest.Shape{})
	file := func(b []byte) string {
		p := filepath.Join(t.TempDir(), "model.gguf")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	adapter, _ := gguftest.Adapter(t, gguftest.Shape{}, 1)
	for _, c := range []struct {
		name string
		cfg  Config
		code batos.Code
		says string
	}{
		{"missing model", Config{ModelPath: "/nowhere/model.gguf"}, batos.NotFound, "/nowhere/model.gguf does not exist"},
		{"folder", Config{ModelPath: t.TempDir()}, batos.Invalid, "not a regular file"},
		{"not GGUF", Config{ModelPath: file([]byte("this is certainly not a model file"))}, batos.Invalid, `not a GGUF file: it begins with "this"`},
		{"empty", Config{ModelPath: file(nil)}, batos.Invalid, "not a GGUF file"},
		{"truncated", Config{ModelPath: file(good[:len(good)-100])}, batos.Invalid, "truncated"},
		{"truncated header", Config{ModelPath: file(good[:1000])}, batos.Invalid, "truncated"},
		{"adapter", Config{ModelPath: file(adapter)}, batos.Invalid, `"adapter", want "model"`},
		{"context", Config{ModelPath: file(good), Context: 100000}, batos.Invalid, "trained for 512"},
		{"no library", Config{ModelPath: file(good), LibDir: "/nowhere"}, batos.Offline, "npm ci"},
		{"no binary", Config{ModelPath: file(good), Exe: "/nowhere/batos"}, batos.Offline, "cannot be started"},
		{"wrong binary", Config{ModelPath: file(good), Exe: "/bin/false"}, batos.Offline, "does not stay alive"},
		{"unknown architecture", Config{ModelPath: gguftest.Model(t, gguftest.Shape{Meta: []gguf.Entry{{Key: "general.architecture", Value: gguf.OfText("mamma")},
			{Key: "mamma.block_count", Value: gguf.OfUint32(1)}, {Key: "mamma.embedding_length", Value: gguf.OfUint32(64)}, {Key: "mamma.context_length", Value: gguf.OfUint32(64)}}})}, batos.Invalid, "unknown model architecture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.LibDir == "" {
				c.cfg.LibDir = lib
			}
			_, err := Open(t.Context(), c.cfg)
			if batos.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) || strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("%v (%s)", err, batos.CodeOf(err))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Config{ModelPath: file(good), LibDir: lib}); !errors.Is(err, &batos.Error{Code: batos.Cancelled}) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProbe(t *testing.T) {
	lib := libraries(t)
	r := Probe(t.Context(), Config{LibDir: lib, ModelPath: gguftest.Model(t, gguftest.Shape{})})
	if !r.OK() || r.Library == nil || !r.HashOK || r.Library.Version != ggml.Version || !strings.HasPrefix(r.Library.CPU, "libggml-cpu-") || !strings.HasPrefix(r.ModelInfo, "tiny random: llama") || !strings.Contains(r.Plan, "of 512 tokens") || len(r.Library.Devices) == 0 {
		t.Errorf("%+v", r)
	}
	r = Probe(t.Context(), Config{LibDir: t.TempDir(), ModelPath: "/nowhere.gguf"})
	if r.OK() || r.Library != nil || r.HashOK || len(r.Advice) != 2 {
		t.Errorf("%+v", r)
	}
}

// The grammars of the covenant profile are what the library understands, and
// hold a model that knows nothing to the right form.
func TestCovenantGrammars(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 8192})})
	task := mind.Task{
		Kind: mind.Method, Selector: "raise_by", Rules: "Write one method.",
		Args:   []mind.Shape{{Kind: mind.IntShape}},
		Kwargs: []mind.NamedShape{{Name: "step", Shape: mind.Shape{Kind: mind.FloatShape}}},
		Slots:  []mind.NamedShape{{Name: "count", Shape: mind.Shape{Kind: mind.IntShape}}, {Name: `a "b" \c`, Shape: mind.Shape{Kind: mind.StrShape}}},
	}
	ask := func(kind mind.Kind, seed uint64) (mind.Answer, error) {
		task.Kind = kind
		r, err := mind.Covenant{}.Compose(task, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Temperature, r.Seed = 1, seed
		switch kind {
		case mind.Method:
			r.MaxTokens = 150
		case mind.Plan:
			r.MaxTokens = 2000 // random letters take the longest way through the grammar
		}
		return mind.Covenant{}.Read(task, nil, generate(t, e, r))
	}
	whole := 0
	for seed := range uint64(2) {
		a, err := ask(mind.Method, seed)
		if !strings.HasPrefix(a.Source, "def raise_by(self, value, step):\n") || err != nil && batos.CodeOf(err) != batos.Invalid {
			t.Errorf("method: %q, %v", a.Source, err)
		}
		if a, err = ask(mind.Plan, seed); err == nil {
			whole++
			var plan struct {
				Purpose               string
				Reads, Changes, Steps []string
			}
			if err := json.Unmarshal([]byte(a.Source), &plan); err != nil {
				t.Errorf("plan: %v: %q", err, a.Source)
			}
		} else if !strings.HasPrefix(a.Source, `{"purpose": "`) {
			t.Errorf("plan: %q, %v", a.Source, err)
		}
		if a, err = ask(mind.Describe, seed); strings.Contains(a.Source, "\n") {
			t.Errorf("description: %q, %v", a.Source, err)
		}
	}
	if whole == 0 {
		t.Error("no plan came to an end")
	}
}
