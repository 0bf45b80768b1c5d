package kernel

import (
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/internal/quarantine"
	"batos/internal/vfs"
	"batos/object"
)

// TestMain lets the test binary be its own quarantine child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == quarantine.Command {
		os.Exit(quarantine.ChildMain(RegisterForTrials))
	}
	os.Exit(m.Run())
}

// world is a kernel on an image in memory, or wherever fs is, whose mind is
// scripted.
type world struct {
	t      *testing.T
	k      *Kernel
	im     *image.Image
	fs     vfs.FS
	script *mindtest.Script
}

type setup struct {
	fs      vfs.FS
	script  *mindtest.Script
	offline bool
	change  func(*Config)
}

func awakened(t *testing.T, s setup) *world {
	t.Helper()
	if s.fs == nil {
		s.fs = vfs.NewMem()
	}
	w := &world{t: t, fs: s.fs, script: s.script}
	w.start(s)
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) start(s setup) {
	w.t.Helper()
	ctx := context.Background()
	im, err := image.Open(ctx, "live_image", image.Options{FS: w.fs})
	if err != nil {
		w.t.Fatal(err)
	}
	c := Config{
		Image: im, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Release: "test",
		Profiles: []mind.Profile{mind.Covenant{}},
		Model:    &ModelSource{ID: mindtest.ModelID, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("no weights")), nil }},
		Trial:    trials(w.t),
	}
	if !s.offline {
		c.Mind = func(context.Context, Model) (mind.Engine, error) { return s.script, nil }
	}
	if s.change != nil {
		s.change(&c)
	}
	k, err := Start(ctx, c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.im, w.k = im, k
}

func (w *world) close() {
	if w.k == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.k.Close(ctx); err != nil {
		w.t.Error(err)
	}
	if err := w.im.Close(); err != nil {
		w.t.Error(err)
	}
	w.k = nil
}

func (w *world) new(name, parent string, slots ...object.Slot) batos.OID {
	w.t.Helper()
	var p batos.Ref
	if parent != "" {
		p.Name = parent
	}
	oid, err := w.k.New(context.Background(), Person{"tester"}, name, p, slots)
	if err != nil {
		w.t.Fatal(err)
	}
	return oid
}

func (w *world) def(target, source string) {
	w.t.Helper()
	if _, err := w.k.Def(context.Background(), Person{"tester"}, batos.Ref{Name: target}, source); err != nil {
		w.t.Fatal(err)
	}
}

func request(target, sel string, args ...object.Value) Request {
	return Request{Target: batos.Ref{Name: target}, Selector: sel, Args: args, Sender: "tester", Synthesis: true, Authority: batos.Person}
}

// patience bounds the wait for an outcome in tests.
const patience = 30 * time.Second

func (w *world) send(target, sel string, args ...object.Value) (object.Value, *batos.Error) {
	w.t.Helper()
	return w.sendRequest(request(target, sel, args...))
}

func (w *world) sendRequest(r Request) (object.Value, *batos.Error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o, err := w.k.Send(ctx, r)
	if err != nil {
		return nil, asError(err, "no code")
	}
	return o.Value, o.Err
}

func (w *world) submit(r Request) (batos.MessageID, error) {
	o, err := w.k.Submit(context.Background(), r)
	return o.ID, err
}

func (w *world) want(v object.Value, err *batos.Error, want object.Value) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("failed with %s: %s", err.Code, err.Text)
	}
	if !object.Equal(v, want) {
		w.t.Fatalf("answered %s, want %s", object.Text(v, 200), object.Text(want, 200))
	}
}

func (w *world) wantCode(err *batos.Error, code batos.Code) {
	w.t.Helper()
	if err == nil || err.Code != code {
		w.t.Fatalf("want %s, got %v", code, err)
	}
}

func num(n int64) object.Value { return object.NewInt(n) }

func slot(name string, v object.Value) object.Slot { return object.Slot{Name: name, Value: v} }

// incrementBy is what a good model would write.
const incrementBy = "def increment_by(self, a):\n    self.count = self.count + a\n    self._p_changed = True\n    return self.count\n"

// plan is what the covenant profile asks for first.
const plan = `{"purpose": "add", "reads": ["count"], "changes": ["count"], "steps": ["add"]}`

// trials runs candidates in children of the test binary.
func trials(t *testing.T) *quarantine.Trials {
	t.Helper()
	tr, err := quarantine.Open(quarantine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}
