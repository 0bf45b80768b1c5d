// Package doortest sets up, for tests of doors, a real kernel on an image in
// memory with a counter in it. Its mind is none, or a script (see mindtest).
package doortest

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
	"batos/internal/door/access"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/internal/quarantine"
	"batos/internal/vfs"
	"batos/object"
)

// Token is the owner's.
const Token = "0123456789abcdef0123456789abcdef"

// Main lets a test binary be its own quarantine child; call it in TestMain.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == quarantine.Command {
		os.Exit(quarantine.ChildMain(kernel.RegisterForTrials))
	}
	os.Exit(m.Run())
}

// World is what a door is given.
type World struct {
	Kernel *kernel.Kernel
	Image  *image.Image
	Keys   *access.Keyring
	Log    *slog.Logger
}

// Source is what the counter understands from the beginning.
const Source = `
def add(self, n):
    """Adds n to the count."""
    self.count = self.count + n
    self._p_changed = True
    return self.count

def echo(self, n):
    """Answers n."""
    return n

def note(self, n):
    self.seen.append(n)
    self._p_changed = True
    return None

def notes(self):
    return self.seen

def size(self, s):
    return len(s)

def boom(self):
    """Always fails."""
    fail("no")
`

// Open makes a world. engine is its mind; nil leaves the core offline.
func Open(t testing.TB, engine mind.Engine) *World {
	t.Helper()
	return OpenWith(t, engine, func(*kernel.Config) {})
}

// OpenWith is Open with a change to what the kernel is started with.
func OpenWith(t testing.TB, engine mind.Engine, change func(*kernel.Config)) *World {
	t.Helper()
	ctx := context.Background()
	im, err := image.Open(ctx, "live_image", image.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	trials, err := quarantine.Open(quarantine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &World{Image: im, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	c := kernel.Config{Image: im, Log: w.Log, Release: "test", Trial: trials, Profiles: []mind.Profile{mind.Covenant{}}}
	if engine != nil {
		c.Model = &kernel.ModelSource{ID: mindtest.ModelID, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("no weights")), nil }}
		c.Mind = func(context.Context, kernel.Model) (mind.Engine, error) { return engine, nil }
	}
	change(&c)
	if w.Kernel, err = kernel.Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for _, err := range []error{w.Kernel.Close(ctx), trials.Close(), im.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	who := kernel.Person{Name: "tester"}
	slots := []object.Slot{{Name: "count", Value: object.NewInt(3)}, {Name: "seen", Value: &object.List{}}, {Name: "exported", Value: object.Bool(true)}}
	if _, err := w.Kernel.New(ctx, who, "counter", batos.Ref{}, slots); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Kernel.Def(ctx, who, batos.Ref{Name: "counter"}, Source); err != nil {
		t.Fatal(err)
	}
	if w.Keys, err = access.Open(t.TempDir(), Token, "tester"); err != nil {
		t.Fatal(err)
	}
	return w
}

// Give makes a token with these scopes.
func (w *World) Give(t testing.TB, scopes ...access.Scope) string {
	t.Helper()
	token, _, err := w.Keys.Give("agent", scopes, 0)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
