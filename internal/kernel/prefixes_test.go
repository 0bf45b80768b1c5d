package kernel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
	"batos/object"
)

// keeper is a scripted engine that has states of prompt beginnings.
type keeper struct {
	mindtest.Script
	order []string // of keys, last used first
	state map[string]string
	given []string          // keys, as they were restored
	takes func(string) bool // nil takes all
}

func (e *keeper) Prefixes(context.Context) ([]mind.Prefix, error) {
	var out []mind.Prefix
	for _, key := range e.order {
		out = append(out, mind.Prefix{Key: key, Adapter: "adapter of " + key, Tokens: 1, Bytes: int64(len(e.state[key]))})
	}
	return out, nil
}

func (e *keeper) SavePrefix(_ context.Context, key string, f *os.File) error {
	_, err := f.WriteString(key + ":" + e.state[key])
	return err
}

func (e *keeper) RestorePrefix(_ context.Context, f *os.File) (mind.Prefix, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		return mind.Prefix{}, err
	}
	key, state, _ := bytes.Cut(b, []byte(":"))
	if e.takes != nil && !e.takes(string(key)) {
		return mind.Prefix{}, batos.Errorf(batos.Invalid, "it was computed by another model")
	}
	e.given = append(e.given, string(key))
	e.order = slices.Insert(e.order, 0, string(key))
	if e.state == nil {
		e.state = map[string]string{}
	}
	e.state[string(key)] = string(state)
	return mind.Prefix{Key: string(key)}, nil
}

var _ mind.PrefixHost = (*keeper)(nil)

func withKeeper(e *keeper, key string) setup {
	return setup{script: &e.Script, change: func(c *Config) {
		c.PrefixKey = []byte(key)
		c.Mind = func(context.Context, Model) (mind.Engine, error) { return e, nil }
	}}
}

// again stops the world and starts it with another engine.
func (w *world) again(s setup) {
	w.t.Helper()
	w.close()
	w.start(s)
}

func (w *world) keepMiB(mb float64) {
	w.t.Helper()
	if _, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
		return tx.SetSlot(w.k.roots.mind, keptSlot, object.Float(mb))
	}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) keptKeys() []string {
	w.t.Helper()
	var keys []string
	if err := w.im.View(context.Background(), func(tx *image.Tx) error {
		tree, _, err := w.k.prefixSetting(tx)
		if err != nil {
			return err
		}
		all, err := keptPrefixes(tree)
		keys = nil
		for _, p := range all {
			keys = append(keys, p.key)
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return keys
}

func TestPrefixesOutliveTheEngine(t *testing.T) {
	first := &keeper{order: []string{"b", "a", "c"}, state: map[string]string{"a": "A's", "b": "B's", "c": "C's"}}
	w := awakened(t, withKeeper(first, "secret"))
	w.again(withKeeper(first, "secret"))
	if kept := w.keptKeys(); len(kept) != 0 {
		t.Fatalf("without the setting %q were kept", kept)
	}
	w.keepMiB(12.0 / (1 << 20)) // two of them
	second := &keeper{}
	w.again(withKeeper(second, "secret"))
	if !slices.Equal(second.given, []string{"a", "b"}) || !maps.Equal(second.state, map[string]string{"a": "A's", "b": "B's"}) {
		t.Fatalf("restored %q: %q", second.given, second.state)
	}
	before := w.im.LastTID()
	third := &keeper{takes: func(key string) bool { return key == "b" }} // the other belongs to a model that was in use before
	w.again(withKeeper(third, "secret"))
	if after := w.im.LastTID(); after != before {
		t.Errorf("a stop without anything new made a commit")
	}
	if !slices.Equal(third.given, []string{"b"}) {
		t.Errorf("restored %q", third.given)
	}
	w.again(withKeeper(&keeper{}, "secret"))
	if kept := w.keptKeys(); !slices.Equal(kept, []string{"b"}) {
		t.Errorf("what no engine has was kept: %q", kept)
	}
	w.keepMiB(0)
	fourth := &keeper{}
	w.again(withKeeper(fourth, "secret"))
	if kept := w.keptKeys(); len(kept) != 0 || fourth.given != nil {
		t.Errorf("the setting was taken back; kept %q, restored %q", kept, fourth.given)
	}
}

func TestPrefixesOfOthersAreNotTrusted(t *testing.T) {
	first := &keeper{order: []string{"a", "b"}, state: map[string]string{"a": "A's", "b": "B's"}}
	w := awakened(t, withKeeper(first, "secret"))
	w.keepMiB(1)
	stranger := &keeper{}
	w.again(withKeeper(stranger, "another folder's secret"))
	if stranger.given != nil {
		t.Errorf("an image of another folder restored %q", stranger.given)
	}
	w.again(withKeeper(first, "secret")) // the stranger had none, so they went
	w.again(withKeeper(&keeper{}, ""))
	if kept := w.keptKeys(); !slices.Equal(kept, []string{"a", "b"}) {
		t.Errorf("without a key %q are kept", kept)
	}

	// Another blob under an old seal.
	ctx := context.Background()
	forged, err := w.im.NewBlob(ctx, bytes.NewReader([]byte("a:forged")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.im.Update(ctx, func(tx *image.Tx) error {
		tree, _, err := w.k.prefixSetting(tx)
		if err != nil {
			return err
		}
		all, err := keptPrefixes(tree)
		if err != nil {
			return err
		}
		v := new(dict).set("blob", forged).set("seal", object.Bytes(all[0].seal)).value()
		return tree.Set(object.Str("a"), v)
	}); err != nil {
		t.Fatal(err)
	}
	last := &keeper{}
	w.again(withKeeper(last, "secret"))
	if !slices.Equal(last.given, []string{"b"}) {
		t.Errorf("restored %q beside a forged one", last.given)
	}
}

func TestADamagedPrefixIsPassedOver(t *testing.T) {
	first := &keeper{order: []string{"a", "b"}, state: map[string]string{"a": "A's", "b": "B's"}}
	w := awakened(t, withKeeper(first, "secret"))
	w.keepMiB(1)
	second := &keeper{}
	w.again(withKeeper(second, "secret"))
	blob := fmt.Sprintf("live_image/live_image.fs.blob/%x", sha256.Sum256([]byte("a:A's")))
	f, err := w.fs.OpenFile(blob, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("X"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	third := &keeper{}
	w.again(withKeeper(third, "secret"))
	if !slices.Equal(third.given, []string{"b"}) {
		t.Errorf("restored %q, one of which is damaged", third.given)
	}
}
