package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"batos/internal/ggml"
	"batos/internal/mind"
	"batos/internal/mind/llama"
	"batos/internal/mind/openai"
	"batos/internal/wire"
)

// TestScripts runs the scripts of testdata/script: each is a person at a
// terminal, with real processes. Beside testscript's own commands they have
//
//	serve [-with PROGRAM] IMAGE [FLAG…]   batos up on a free port; waits for ready and sets BATOS_IMAGE, BATOS_SERVER and BATOS_ADDRESS
//	down [SIGNAL [SAID]]                  end that server (TERM, INT or KILL) and check that it ended well and what it said on stderr
//	exits STATUS COMMAND…                 run a command; a failure must be one line on stderr, or JSON with --json
//	answers STATUS METHOD PATH [NAME:VALUE…] [BODY]   a raw HTTP request; the answer is in the file "answer"
//	tid NAME                              set NAME to the first tid of the last command's output, $before to the tid right before it
//	typed STATUS FILE COMMAND…   run a command at a terminal and do what FILE says there (see scriptTyped); under the condition [terminal]
//	token [FILE]                          use the token in that file from now on, or the image's again
//	big FILE MEGABYTES                    a file of that size
//	clip FILE BYTES                       cut a file's end off
//	poke FILE OFFSET HEX                  overwrite bytes
//	seedfile FILE                         the shipped model as a file
//	noise FILE KILOBYTES                  a file of that size that compresses badly
//	disk FOLDER SIZE [ro]                 a small disk of its own, or another size or mode for it; under the condition [disk]
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("USER", "tester")
			e.Setenv(llama.LibraryEnv, engineLibrary(t))
			e.Setenv("NOTUTF8", "\xff\xfe")
			web := httptest.NewServer(http.HandlerFunc(speakOpenAI))
			e.Defer(web.Close)
			e.Setenv("REMOTE", web.URL)
			e.Values[serverKey{}] = new(scriptServer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe, "down": scriptDown, "exits": scriptExits, "answers": scriptAnswers, "tid": scriptTID,
			"big": scriptBig, "noise": scriptNoise, "clip": scriptClip, "poke": scriptPoke, "disk": scriptDisk, "token": scriptToken, "peft": scriptPeft, "seedfile": scriptSeedFile,
			"typed": scriptTyped,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "engine" {
				_, err := os.Stat(filepath.Join(engineLibrary(t), ggml.MainFile))
				return err == nil, nil
			}
			if cond == "terminal" {
				master, slave, err := pseudoTerminal()
				if err != nil {
					return false, nil
				}
				return true, errors.Join(slave.Close(), master.Close())
			}
			if cond != "disk" {
				return false, fmt.Errorf("no such condition")
			}
			dir := t.TempDir()
			if mount(dir, "64k") != nil {
				return false, nil
			}
			return true, unmount(dir)
		},
		RequireUniqueNames: true,
	})
}

// remoteKey is the key that the remote mind of the scripts wants to see.
const remoteKey = "sk-scripted"

// speakOpenAI is a server of OpenAI's protocol whose model is the scripted
// one.
func speakOpenAI(w http.ResponseWriter, q *http.Request) {
	answer := func(status int, v any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // a client that is gone
	}
	if q.Header.Get("Authorization") != "Bearer "+remoteKey {
		answer(401, map[string]any{"error": map[string]any{"message": "Incorrect API key provided"}})
		return
	}
	switch q.URL.Path {
	case "/v1/models":
		answer(200, map[string]any{"data": []map[string]any{{"id": "scripted-8b", "owned_by": "system"}}})
	case "/v1/chat/completions":
		var in struct {
			Messages []struct{ Role, Content string }
		}
		if err := json.NewDecoder(q.Body).Decode(&in); err != nil {
			answer(400, map[string]any{"error": err.Error()})
			return
		}
		var r mind.Request
		for _, m := range in.Messages {
			r.Chat = append(r.Chat, mind.Turn{Role: mind.Role(m.Role), Text: m.Content})
		}
		a := reply(0, r)
		if a.Err != nil {
			answer(400, map[string]any{"error": a.Err.Error()})
			return
		}
		answer(200, map[string]any{"model": "scripted-8b", "choices": []map[string]any{
			{"message": map[string]any{"content": "```python\n" + a.Text + "```"}, "finish_reason": "stop"},
		}, "usage": map[string]any{"prompt_tokens": 10, "completion_tokens": 20}})
	default:
		http.NotFound(w, q)
	}
}

func scriptToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: token [FILE]")
	}
	token := ""
	if len(args) == 1 {
		token = strings.TrimSpace(ts.ReadFile(args[0]))
	}
	ts.Setenv("BATOS_TOKEN", token)
}

// engineLibrary is the folder where make engine puts the engine's libraries.
func engineLibrary(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return ggml.Dir(root)
}

type serverKey struct{}

// scriptServer is the server of a script, if it runs.
type scriptServer struct {
	cmd    *exec.Cmd
	ended  chan error
	stderr *bytes.Buffer // to be read after ended
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	with := program
	if len(args) > 1 && args[0] == "-with" {
		with, args = args[1], args[2:]
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve [-with PROGRAM] IMAGE [FLAG…]")
	}
	s := ts.Value(serverKey{}).(*scriptServer)
	if s.cmd != nil {
		ts.Fatalf("a server runs already")
	}
	cmd := exec.Command(with, append([]string{"--image", args[0], "up", "--zmq", "none", "--http", "127.0.0.1:0"}, args[1:]...)...)
	path, err := exec.LookPath(with)
	ts.Check(err)
	cmd.Path, cmd.Dir = path, ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "USER", "TMPDIR", holdEnv, openai.KeyEnv, llama.LibraryEnv} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	s.cmd, s.ended, s.stderr = cmd, make(chan error, 1), new(bytes.Buffer)
	cmd.Stderr = s.stderr
	ts.Check(cmd.Start())
	ts.Defer(func() {
		if s.cmd == cmd {
			_ = cmd.Process.Kill() // it may be gone
			<-s.ended
		}
	})
	ready := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready at "); ok {
				url, _, _ = strings.Cut(url, ",")
				ready <- url
			}
		}
		s.ended <- cmd.Wait()
	}()
	select {
	case url := <-ready:
		ts.Setenv("BATOS_SERVER", url)
		ts.Setenv("BATOS_ADDRESS", strings.TrimPrefix(url, "http://"))
		ts.Setenv("BATOS_IMAGE", ts.MkAbs(args[0]))
	case err := <-s.ended:
		s.cmd = nil
		ts.Fatalf("the server ended before it was ready: %v\n%s", err, s.stderr)
	}
}

// stopsWithin is what a person waits at most after Ctrl-C.
const stopsWithin = 5 * time.Second

func scriptDown(ts *testscript.TestScript, neg bool, args []string) {
	sig := syscall.SIGTERM
	if len(args) > 0 {
		sig = map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[args[0]]
	}
	s := ts.Value(serverKey{}).(*scriptServer)
	if neg || len(args) > 2 || sig == 0 || s.cmd == nil {
		ts.Fatalf("usage: down [TERM|INT|KILL [SAID]], after serve")
	}
	said := "^$"
	if len(args) == 2 {
		said = args[1]
	}
	ts.Check(s.cmd.Process.Signal(sig))
	select {
	case err := <-s.ended:
		s.cmd = nil
		if sig != syscall.SIGKILL && (err != nil || !regexp.MustCompile(said).Match(s.stderr.Bytes())) {
			ts.Fatalf("the server ended with %v and said: %s", err, s.stderr)
		}
	case <-time.After(stopsWithin):
		ts.Fatalf("the server did not stop within %s", stopsWithin)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	stdout, stderr := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	if got != want {
		ts.Fatalf("exit status %d, want %d\n%s%s", got, want, stdout, stderr)
	}
	isJSON := false
	for _, a := range args {
		isJSON = isJSON || a == "--json"
	}
	switch {
	case want == 0:
		if stderr != "" {
			ts.Fatalf("it went well, and said on stderr: %s", stderr)
		}
	case isJSON:
		var o struct{ Error wire.Error }
		if err := json.Unmarshal([]byte(stdout), &o); err != nil || o.Error.Code == "" || o.Error.Message == "" || stderr != "" {
			ts.Fatalf("a failure with --json printed %q and %q (%v)", stdout, stderr, err)
		}
	case stdout != "" || !strings.HasPrefix(stderr, "batos: ") || strings.Count(stderr, "\n") != 1 || len(stderr) > 600:
		ts.Fatalf("a failure is one line on stderr, not %q and %q", stdout, stderr)
	}
}

func scriptAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: answers STATUS METHOD PATH [NAME:VALUE…] [BODY]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	headers, body := args[3:], io.Reader(nil)
	if n := len(headers); n > 0 && strings.HasPrefix(headers[n-1], "@") {
		f, err := os.Open(ts.MkAbs(headers[n-1][1:]))
		ts.Check(err)
		defer f.Close()
		headers, body = headers[:n-1], f
	}
	r, err := http.NewRequest(args[1], ts.Getenv("BATOS_SERVER")+args[2], body)
	ts.Check(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token, err := wire.ReadToken(ts.Getenv("BATOS_IMAGE")); err == nil {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			ts.Fatalf("%q is not NAME:VALUE", h)
		}
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(r)
	ts.Check(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("answer"), b, 0o644))
	if res.StatusCode != want {
		ts.Fatalf("status %d, want %d: %s", res.StatusCode, want, b)
	}
	if want/100 != 2 {
		var p wire.Problem
		if err := json.Unmarshal(b, &p); err != nil || p.Error.Code == "" || p.Error.Message == "" || strings.Contains(p.Error.Message, "\n") {
			ts.Fatalf("a failure is JSON with a code and a line, not %s (%v)", b, err)
		}
	}
}

func scriptBig(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: big FILE MEGABYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range n {
		_, err := f.Write(line)
		ts.Check(err)
	}
	ts.Check(f.Close())
}

func scriptNoise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: noise FILE KILOBYTES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, n*512)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("n"+hex.EncodeToString(b)), 0o644))
}

func scriptClip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: clip FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()-n))
}

func scriptPoke(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: poke FILE OFFSET HEX")
	}
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	var b []byte
	_, err = fmt.Sscanf(args[2], "%x", &b)
	ts.Check(err)
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	if err != nil || len(files) != 1 {
		ts.Fatalf("%s is %d files (%v)", args[0], len(files), err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(b, at)
	ts.Check(err)
	ts.Check(f.Close())
}

func scriptDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: disk FOLDER SIZE [ro]")
	}
	dir := ts.MkAbs(args[0])
	if _, err := os.Stat(dir); err == nil {
		ts.Check(mount(dir, strings.Join(append(args[1:], "remount"), ",")))
		return
	}
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mount(dir, args[1]))
	ts.Defer(func() { ts.Check(unmount(dir)) })
}

func mount(dir, size string) error {
	return exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).Run()
}

func unmount(dir string) error { return exec.Command("umount", dir).Run() }
