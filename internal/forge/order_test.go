package forge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/ggml"
)

// TestMain lets the test binary be its own training process, as the real one
// is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "engine" && os.Args[2] == "train" {
		if err := ServeOrder(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// golden writes a file of examples: what follows a letter in the alphabet.
func golden(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for i := range 60 {
		c := 'a' + rune(i%20)
		fmt.Fprintf(&b, `{"instruction": "%c%d", "response": "%c%c%c"}`+"\n", c, i, c+1, c+2, c+3)
	}
	return save(t, []byte(b.String()))
}

func testOrder(t testing.TB) Order {
	t.Helper()
	a := small
	a.Tied = true
	return Order{
		Model: saveModel(t, spread(t, a), Meta{Name: "base"}), Library: ggml.Dir(repoRoot), Data: golden(t),
		Dir: t.TempDir(), Rank: 4, Steps: 30, LR: 3e-2, Seed: 3, Name: "brick_lora_v2",
	}
}

func mustExe(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// A training in a process of its own makes a better adapter, and one that was
// interrupted makes the same one.
func TestRunOrder(t *testing.T) {
	library(t)
	o := testOrder(t)
	steps := 0
	out, err := Run(t.Context(), mustExe(t), o, func(p Progress) { steps = p.Step })
	if err != nil {
		t.Fatal(err)
	}
	if steps != 30 || out.Steps != 30 || out.Examples+out.HeldOut != 60 || out.HeldOut < 3 || !out.Better || !(out.After < 0.9*out.Before) {
		t.Errorf("after %d steps: %+v", steps, out)
	}
	if filepath.Base(out.File) != "brick_lora_v2.gguf" {
		t.Errorf("the adapter is in %s", out.File)
	}
	file, err := os.ReadFile(out.File)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loadModel(t, o.Model).LoadAdapter(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Close(); err != nil {
		t.Error(err)
	}
	again := o
	again.Dir = t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	if _, err := Run(ctx, mustExe(t), again, func(Progress) { stop() }); batos.CodeOf(err) != batos.Cancelled {
		t.Fatalf("a stopped training: %v, want cancelled", err)
	}
	second, err := Run(t.Context(), mustExe(t), again, nil)
	if err != nil {
		t.Fatal(err)
	}
	if second.Hash != out.Hash {
		t.Errorf("interrupted: %+v; before: %+v", second, out)
	}

	// One that begins from another knows what that knew.
	o.Dir, o.Old, o.Steps, o.LR = t.TempDir(), out.File, 3, 1e-3
	third, err := Run(t.Context(), mustExe(t), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if third.Before < 0.99*out.After || third.Before > 1.01*out.After || third.After > 1.1*out.After {
		t.Errorf("begun from the first, %+v: %+v", out, third)
	}
}

func TestRunOrderRefuses(t *testing.T) {
	library(t)
	o := testOrder(t)
	for name, c := range map[string]struct {
		change func(*Order)
		code   batos.Code
		says   string
	}{
		"too little memory": {func(o *Order) { o.Memory = 4 << 20; o.Dir = t.TempDir() }, batos.Limit, "memory"},
		"no examples":       {func(o *Order) { o.Data = filepath.Join(t.TempDir(), "none") }, batos.NotFound, "none"},
		"no model":          {func(o *Order) { o.Model = o.Data }, batos.Invalid, "GGUF"},
		"a broken line":     {func(o *Order) { o.Data = save(t, []byte("{}\n")) }, batos.Invalid, "line 1"},
		"few examples":      {func(o *Order) { o.Data = save(t, []byte(`{"prompt": "a", "response": "b"}`)) }, batos.Invalid, "too few"},
		"a token that is not": {func(o *Order) { o.Data = save(t, []byte(`{"prompt_tokens": [900], "response": "b"}`)) },
			batos.Invalid, "no token 900"},
		"an adapter that is none": {func(o *Order) { o.Old = o.Data }, batos.Invalid, "adapter"},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			c.change(&o)
			if _, err := Run(t.Context(), mustExe(t), o, nil); batos.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s about %q", err, c.code, c.says)
			}
		})
	}
}

func FuzzReadLessons(f *testing.F) {
	f.Add(`{"instruction": "a", "response": "b"}` + "\n\n" + `{"prompt_tokens": [1], "response_tokens": [2]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadLessons(strings.NewReader(text))
		if err != nil && batos.CodeOf(err) != batos.Invalid || err == nil && len(got) > strings.Count(text, "\n")+1 {
			t.Errorf("%d examples, %v", len(got), err)
		}
	})
}
