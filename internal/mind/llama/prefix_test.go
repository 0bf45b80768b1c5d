package llama

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf/gguftest"
	"batos/internal/mind"
)

// chatOf is a conversation with a system prompt of several pieces.
func chatOf(persona, question string) []mind.Turn {
	return []mind.Turn{
		{Role: mind.System, Text: persona + strings.Repeat(" weighs every word and wastes none.", 9)},
		{Role: mind.User, Text: question},
	}
}

func prefixesIn(t testing.TB, e *Engine) []mind.Prefix {
	t.Helper()
	p, err := e.Prefixes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The system prompt of each persona is computed once, whatever comes between.
func TestPrefixIsKept(t *testing.T) {
	shape := gguftest.Shape{Context: 1024}
	cfg := Config{ModelPath: gguftest.Model(t, shape), Contexts: 1}
	a, hashA := gguftest.Adapter(t, shape, 1)
	b, hashB := gguftest.Adapter(t, shape, 2)
	start := func() *Engine {
		e := open(t, cfg)
		load(t, e, a)
		load(t, e, b)
		return e
	}
	ask := func(e *Engine, adapter, question string) *mind.Result {
		return generate(t, e, mind.Request{Chat: chatOf("ROBIN", question), Adapter: adapter, MaxTokens: 8})
	}
	e := start()
	first := ask(e, hashA, "who?")
	if first.CachedTokens != 0 {
		t.Errorf("%d tokens of the first prompt were there", first.CachedTokens)
	}
	ask(e, hashB, "what?")
	again := ask(e, hashA, "who?")
	if again.CachedTokens < first.PromptTokens-40 || !reflect.DeepEqual(what(first), what(again)) {
		t.Errorf("%d of %d tokens reused, and the answer is the same: %t", again.CachedTokens, again.PromptTokens, reflect.DeepEqual(what(first), what(again)))
	}
	kept := prefixesIn(t, e)
	if len(kept) != 2 || kept[0].Adapter != hashA || kept[1].Adapter != hashB || kept[0].Tokens != again.CachedTokens || memoryIn(t, e).Prefixes != kept[0].Bytes+kept[1].Bytes {
		t.Errorf("kept %+v", kept)
	}

	// What was saved serves another engine, and only one with the same model.
	file := filepath.Join(t.TempDir(), "prefix")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := e.SavePrefix(t.Context(), kept[0].Key, f); err != nil {
		t.Fatal(err)
	}
	second := start()
	if got, err := second.RestorePrefix(t.Context(), f); err != nil || got != kept[0] {
		t.Errorf("restored %+v, %v", got, err)
	}
	if res := ask(second, hashA, "who?"); res.CachedTokens != again.CachedTokens || !reflect.DeepEqual(what(first), what(res)) {
		t.Errorf("from the saved state: %+v", res)
	}
	if res := ask(second, hashB, "who?"); res.CachedTokens != 0 {
		t.Errorf("another adapter reused %d tokens", res.CachedTokens)
	}
	other := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 1024, Seed: 9}), Contexts: 1})
	if _, err := other.RestorePrefix(t.Context(), f); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("another model: %v", err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3, 20, 100, 200, len(good) / 2, len(good) - 1} {
		bad, err := os.Create(file + "cut")
		if err != nil {
			t.Fatal(err)
		}
		defer bad.Close()
		if _, err := bad.Write(good[:n]); err != nil {
			t.Fatal(err)
		}
		if _, err := other.RestorePrefix(t.Context(), bad); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		if _, err := second.RestorePrefix(t.Context(), bad); batos.CodeOf(err) != batos.Invalid && batos.CodeOf(err) != batos.Corrupt {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	if err := e.SavePrefix(t.Context(), "feed", f); batos.CodeOf(err) != batos.NotFound {
		t.Errorf("an unknown prefix: %v", err)
	}
}

func TestPrefixesAreBounded(t *testing.T) {
	shape := gguftest.Shape{Context: 1024}
	path := gguftest.Model(t, shape)
	e := open(t, Config{ModelPath: path, Contexts: 1})
	generate(t, e, mind.Request{Chat: chatOf("BABS", "?"), MaxTokens: 1})
	one := prefixesIn(t, e)[0].Bytes
	e = open(t, Config{ModelPath: path, Contexts: 1, Prefixes: 2*one + one/2})
	for _, p := range []string{"BABS", "ROBIN", "BRICK", "ROBIN"} {
		generate(t, e, mind.Request{Chat: chatOf(p, "?"), MaxTokens: 1})
		if held := memoryIn(t, e).Prefixes; held > 2*one+one/2 {
			t.Errorf("%d bytes are kept", held)
		}
	}
	if res := generate(t, e, mind.Request{Chat: chatOf("BABS", "!"), MaxTokens: 1}); res.CachedTokens != 0 {
		t.Errorf("the oldest is kept still: %d tokens", res.CachedTokens)
	}
	none := open(t, Config{ModelPath: path, Contexts: 1, Prefixes: -1})
	generate(t, none, mind.Request{Chat: chatOf("BABS", "?"), MaxTokens: 1})
	if kept := prefixesIn(t, none); len(kept) != 0 {
		t.Errorf("kept %+v", kept)
	}
}

// A prompt that is no chat is kept when its beginning comes a second time.
func TestRepeatedTextIsKept(t *testing.T) {
	e := open(t, Config{ModelPath: gguftest.Model(t, gguftest.Shape{Context: 1024}), Contexts: 1})
	long := strings.Repeat("All work and no play makes a dull day. ", 10)
	var want []mind.Result
	for round := range 3 {
		for i, text := range []string{long + "One", "another " + long} {
			res := generate(t, e, mind.Request{Text: text, MaxTokens: 6})
			if round == 0 {
				want = append(want, what(res))
			} else if !reflect.DeepEqual(what(res), want[i]) {
				t.Errorf("round %d: %+v, want %+v", round, res, want[i])
			}
			if round == 2 && res.CachedTokens < 3*chunk {
				t.Errorf("round %d: %d tokens reused", round, res.CachedTokens)
			}
		}
	}
}

// A/B/A: whatever was in force between, with prefixes kept, engines killed and
// adapters unloaded and loaded again, every request gives what it gives to an
// engine that has just begun. BATOS_LONG=1 makes a thousand random switches.
func TestSwitchesChangeNothing(t *testing.T) {
	switches := 60
	if os.Getenv("BATOS_LONG") != "" {
		switches = 1000
	}
	shape := gguftest.Shape{Context: 1024}
	cfg := Config{ModelPath: gguftest.Model(t, shape), Contexts: 2}
	files := map[string][]byte{}
	hashes := []string{""}
	for seed := range uint64(4) {
		b, hash := gguftest.Adapter(t, shape, seed)
		files[hash] = b
		hashes = append(hashes, hash)
	}
	start := func() *Engine {
		e := open(t, cfg)
		for _, b := range files {
			load(t, e, b)
		}
		return e
	}
	var requests []mind.Request
	for i, hash := range hashes {
		for _, r := range []mind.Request{
			{Chat: chatOf("BRICK", "how?")}, {Chat: chatOf("ALFRED", "why?")}, {Text: strings.Repeat("once more ", 30)}, {Text: "short"},
		} {
			r.Adapter, r.MaxTokens, r.Temperature, r.Seed = hash, 5, 0.7, uint64(i)
			requests = append(requests, r)
		}
	}
	want := make([]mind.Result, len(requests))
	for i, r := range requests {
		c := cfg
		c.Prefixes, c.Contexts = -1, 1
		e := open(t, c)
		if r.Adapter != "" {
			load(t, e, files[r.Adapter])
		}
		want[i] = what(generate(t, e, r))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e := start()
	r := rand.New(rand.NewPCG(20, 26))
	reused, wrong := 0, 0
	for n := range switches {
		switch r.IntN(20) {
		case 0:
			e.child.kill()
			<-e.child.dead
		case 1:
			hash := hashes[1+r.IntN(4)]
			if err := e.UnloadAdapter(t.Context(), hash); err != nil {
				t.Fatal(err)
			}
			load(t, e, files[hash])
		}
		i := r.IntN(len(requests))
		res := generate(t, e, requests[i])
		reused += res.CachedTokens
		if got := what(res); !reflect.DeepEqual(got, want[i]) {
			wrong++
			t.Errorf("switch %d, request %d: %v, alone %v", n, i, got.Logprobs, want[i].Logprobs)
		}
	}
	t.Logf("%d switches, %d wrong, %d tokens reused", switches, wrong, reused)
	if reused == 0 {
		t.Error("nothing was ever reused")
	}
}
