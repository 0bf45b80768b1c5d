package llama

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

func TestFrames(t *testing.T) {
	var pipe bytes.Buffer
	calls := []call{
		{ID: 1, Op: opOpen, Open: &openArgs{LibDir: "/lib", ModelPath: "/m", Threads: 1, Context: 64}},
		{ID: 2, Op: opGenerate, Request: &mind.Request{Chat: []mind.Turn{{Role: mind.User, Text: "é"}}, Stop: []string{"x"}, StopTokens: []int32{-1}, Temperature: 0.5, Seed: 1 << 63}},
		{ID: 3, Op: opEmbed, Texts: []string{"a", "b"}},
	}
	for _, c := range calls {
		if err := writeFrame(&pipe, maxCall, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range calls {
		var got call
		if err := readFrame(&pipe, maxCall, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
	if err := readFrame(&pipe, maxCall, &call{}); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	if err := writeFrame(io.Discard, 100, call{Text: strings.Repeat("x", 200)}); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("too large to send: %v", err)
	}
}

func TestMalformedFrames(t *testing.T) {
	for name, b := range map[string]string{
		"empty":        "\x00\x00\x00\x00",
		"too large":    "\xff\xff\xff\xff",
		"no message":   "\x00\x00\x00\x01\xc1",
		"two messages": "\x00\x00\x00\x02\x80\x80",
		"other fields": "\x00\x00\x00\x05\x81\xa2Xx\x01",
	} {
		if err := readFrame(strings.NewReader(b), maxReply, &reply{}); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]string{"cut head": "\x00\x00", "cut body": "\x00\x00\x00\x09\x80"} {
		if err := readFrame(strings.NewReader(b), maxReply, &reply{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, r := range []reply{
		{ID: 1, More: true, Fraction: 0.5, Part: "x"},
		{ID: 2, Err: &fault{batos.Invalid, "no"}},
		{ID: 3, Result: &mind.Result{Text: "x", Tokens: []int32{1}, Logprobs: []float32{-1}, Stop: mind.StopEnd}},
		{ID: 4, Library: &Library{Dir: "/", Devices: []ggml.DeviceInfo{{Name: "CPU", Kind: ggml.Processor, Free: 1, Total: 2}}}},
	} {
		var b bytes.Buffer
		if err := writeFrame(&b, maxReply, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		for {
			var r reply
			if err := readFrame(in, 1<<16, &r); err != nil {
				return
			}
			var again bytes.Buffer
			if err := writeFrame(&again, maxReply, r); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A child that talks nonsense is ended, and its caller told.
func TestChildThatTalksNonsense(t *testing.T) {
	script := filepath.Join(t.TempDir(), "nonsense")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf 'never mind' >&3\nread x\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := start(script)
	if err != nil {
		t.Fatal(err)
	}
	var d *death
	if _, err := c.call(t.Context(), time.Second, call{Op: opCount}, nil); !errors.As(err, &d) || !strings.Contains(d.words, "malformed frame") {
		t.Errorf("%v", err)
	}
	<-c.dead
}

func TestServeIsNotForPeople(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(exe, "engine", "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is started by batos itself") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDelay(t *testing.T) {
	for deaths, want := range map[int]time.Duration{0: 0, 1: 0, 2: firstDelay, 3: 2 * firstDelay, 7: 32 * firstDelay, 8: maxDelay, 1000: maxDelay} {
		if got := delay(deaths); got != want {
			t.Errorf("after %d deaths %v, want %v", deaths, got, want)
		}
	}
}

func TestFindLibrary(t *testing.T) {
	work := t.TempDir()
	t.Chdir(work)
	t.Setenv(LibraryEnv, "")
	if _, err := FindLibrary(""); batos.CodeOf(err) != batos.Offline || !strings.Contains(err.Error(), "make engine") {
		t.Errorf("nowhere: %v", err)
	}
	local := ggml.Dir(work)
	if err := os.MkdirAll(local, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(local, ggml.MainFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := func(what, flag, dir string) {
		t.Helper()
		if got, err := FindLibrary(flag); got != dir || err != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	want("working folder", "", local)
	t.Setenv(LibraryEnv, "/from/environment")
	want("environment", "", "/from/environment")
	want("flag", "/from/flag", "/from/flag")
}
