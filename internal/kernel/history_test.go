package kernel

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/vfs"
	"batos/object"
)

// installed sends a message whose method a mission writes, and gives the
// transaction that installed it.
func installed(w *world) batos.TID {
	w.t.Helper()
	w.new("counter", "", slot("count", num(3)))
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	log, lerr := w.k.Log(context.Background(), batos.Ref{Name: "counter"}, 0, 10)
	if lerr != nil {
		w.t.Fatal(lerr)
	}
	for _, e := range log {
		if len(e.Slots) == 1 && e.Slots[0] == "increment_by" {
			return e.TID
		}
	}
	w.t.Fatalf("no transaction installed the method: %+v", log)
	return 0
}

func TestUndoOfAnInstallIsACorrection(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	tid := installed(w)
	ctx := context.Background()
	if _, err := w.k.Undo(ctx, Person{"tester"}, tid); err != nil {
		t.Fatal(err)
	}
	in, err := w.k.Inspect(ctx, batos.Ref{Name: "counter"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, there := in.State.Slot("increment_by"); there {
		t.Error("the method is still there")
	}
	if v, _ := in.State.Slot("count"); !object.Equal(v, num(7)) {
		t.Errorf("the undo of an install took the count back to %v", v)
	}
	found := 0
	err = w.im.View(ctx, func(tx *image.Tx) error {
		for e, err := range tx.Tree(w.k.roots.corrections).Range(nil, nil) {
			if err != nil {
				return err
			}
			c, err := tx.Load(refOf(e.Value))
			if err != nil {
				return err
			}
			how, _ := c.Slot("how")
			before, _ := c.Slot("before")
			if strOf(how) == "undo" && strOf(before) == incrementBy {
				found++
			}
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("%d corrections, %v", found, err)
	}
	missions, err := w.k.Missions(ctx)
	if err != nil || len(missions) != 1 || missions[0].Status != "complete" {
		t.Errorf("the mission's record changed: %+v, %v", missions, err)
	}
	v, berr := w.send("counter", "increment_by", num(1)) // it is written again
	w.want(v, berr, num(8))
}

func TestUndoOfAMessage(t *testing.T) {
	w := awakened(t, setup{offline: true})
	w.new("counter", "", slot("count", num(3)))
	w.def("counter", incrementBy)
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(7))
	log, lerr := w.k.Log(context.Background(), batos.Ref{Name: "counter"}, 0, 1)
	if lerr != nil || len(log) != 1 || len(log[0].Slots) != 1 || log[0].Slots[0] != "count" || log[0].Meta.Message == "" {
		t.Fatalf("%+v, %v", log, lerr)
	}
	d, derr := w.k.Diff(context.Background(), log[0].TID-1, log[0].TID)
	if derr != nil {
		t.Fatal(derr)
	}
	told := false
	for _, c := range d.Changes {
		if d.Names[c.OID] == "counter" {
			told = len(c.Slots) == 1 && object.Equal(c.Slots[0].Before, num(3)) && object.Equal(c.Slots[0].After, num(7))
		}
	}
	if !told {
		t.Errorf("the difference is %+v", d.Changes)
	}
	if _, err := w.k.Undo(context.Background(), Person{"tester"}, log[0].TID); err != nil {
		t.Fatal(err)
	}
	v, err = w.send("counter", "increment_by", num(1))
	w.want(v, err, num(4))
	all, lerr := w.k.Log(context.Background(), batos.Ref{}, 0, 3)
	if lerr != nil || len(all) != 3 || all[1].Meta.Undoes != log[0].TID || all[0].TID < all[1].TID {
		t.Errorf("%+v, %v", all, lerr)
	}
}

// restarted closes the world and starts it again with another configuration.
func (w *world) restarted(s setup) {
	w.t.Helper()
	w.close()
	s.fs = w.fs
	w.start(s)
}

func TestSafeBootRunsNothing(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	w.new("counter", "", slot("count", num(3)))
	w.restarted(setup{script: w.script, change: func(c *Config) { c.Safe = true }})
	_, err := w.send("counter", "increment_by", num(4))
	w.wantCode(err, batos.Denied)
	if _, eerr := w.k.Eval(context.Background(), Person{"tester"}, batos.Ref{}, "1 + 1"); batos.CodeOf(eerr) != batos.Denied {
		t.Errorf("eval in safe mode: %v", eerr)
	}
	if n := len(w.script.Asked()); n != 0 {
		t.Errorf("the model was asked %d times", n)
	}
	if _, serr := w.k.Set(context.Background(), Person{"tester"}, batos.Ref{Name: "counter"}, "count", num(10)); serr != nil {
		t.Error(serr)
	}
	w.def("counter", incrementBy)
	w.restarted(setup{script: w.script})
	v, err := w.send("counter", "increment_by", num(4))
	w.want(v, err, num(14))
}

// releaseOf gives the genesis files with one object's source edited.
func releaseOf(t *testing.T, object string, edit func(string) string) []genesis.File {
	t.Helper()
	files, err := genesis.Files()
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if files[i].Name == object {
			files[i].Source = edit(files[i].Source)
		}
	}
	return files
}

func TestUpgradeKeepsWhatWasEdited(t *testing.T) {
	w := awakened(t, setup{offline: true})
	ctx := context.Background()
	set := func(slot string, v object.Value) {
		t.Helper()
		if _, err := w.k.Set(ctx, Person{"tester"}, batos.Ref{Name: "genesis_obj"}, slot, v); err != nil {
			t.Fatal(err)
		}
	}
	set("motto", object.Str("mine"))
	set("extra", object.Str("of a person"))
	files := releaseOf(t, "genesis_obj", func(s string) string {
		s = strings.Replace(s, "A message nobody understands is a mission.", "A newer motto.", 1)
		s = strings.Replace(s, `name = "BAT OS"`, `name = "BAT OS 2"`, 1)
		s = strings.Replace(s, "awake = True\n", "", 1)
		return s + "\nnewcomer = [1, 2]\n\ndef hello(self):\n    return \"hello\"\n"
	})
	files = append(files, genesis.File{Name: "newborn_obj", Source: "parents = [ref(\"traits_obj\")]\nage = 0\n"})
	want := map[string]UpgradeKind{
		"genesis_obj.motto": UpgradeKeeps, "genesis_obj.name": UpgradeReplaces, "genesis_obj.awake": UpgradeDrops,
		"genesis_obj.newcomer": UpgradeAdds, "genesis_obj.hello": UpgradeAdds,
		"newborn_obj.parent*": UpgradeAdds, "newborn_obj.age": UpgradeAdds,
	}
	before := w.im.LastTID()
	for _, dry := range []bool{true, false} {
		u, err := upgrade(ctx, w.im, files, "0.2.0", dry)
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Steps) != len(want) || u.From != genesis.Release {
			t.Errorf("dry %v: %+v", dry, u)
		}
		for _, s := range u.Steps {
			if want[s.Object+"."+s.Slot] != s.Kind {
				t.Errorf("dry %v: %s.%s %s", dry, s.Object, s.Slot, s.Kind)
			}
		}
		if dry && w.im.LastTID() != before {
			t.Error("a dry run changed the image")
		}
	}
	check := func(name, motto object.Value) {
		t.Helper()
		in, err := w.k.Inspect(ctx, batos.Ref{Name: "genesis_obj"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for slot, want := range map[string]object.Value{"name": name, "motto": motto, "extra": object.Str("of a person")} {
			if v, _ := in.State.Slot(slot); !object.Equal(v, want) {
				t.Errorf("%s is %v, want %v", slot, v, want)
			}
		}
	}
	check(object.Str("BAT OS 2"), object.Str("mine"))
	v, serr := w.send("genesis_obj", "hello")
	w.want(v, serr, object.Str("hello"))
	again, err := upgrade(ctx, w.im, files, "0.2.0", false)
	if err != nil || again.Changes() {
		t.Errorf("a second upgrade: %+v, %v", again, err)
	}
	if _, err := upgrade(ctx, w.im, files, "0.1.5", true); batos.CodeOf(err) != batos.NewerFormat {
		t.Errorf("an older release: %v", err)
	}
	log, err := w.k.Log(ctx, batos.Ref{Name: "genesis_obj"}, 0, 1)
	if err != nil || !strings.Contains(log[0].Meta.Note, "upgrade") {
		t.Fatalf("%+v, %v", log, err)
	}
	if _, err := w.k.Undo(ctx, Person{"tester"}, log[0].TID); err != nil {
		t.Fatal(err)
	}
	check(object.Str("BAT OS"), object.Str("mine"))
}

func TestAnImageOfANewerGenesisIsNotStarted(t *testing.T) {
	w := awakened(t, setup{offline: true})
	_, err := w.im.Update(context.Background(), func(tx *image.Tx) error {
		return tx.SetSlot(w.k.roots.kernel, "release", object.Str("99.0.0"))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	im, err := image.Open(context.Background(), "live_image", image.Options{FS: w.fs})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if _, err := Start(context.Background(), Config{Image: im}); batos.CodeOf(err) != batos.NewerFormat {
		t.Errorf("an image of a newer genesis: %v", err)
	}
	k, err := Start(context.Background(), Config{Image: im, Safe: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAnImportWaitsForAPerson(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy)})
	installed(w)
	dir := t.TempDir()
	ctx := context.Background()
	if _, err := w.im.Export(ctx, dir, 0); err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	im, err := image.Open(ctx, "live_image", image.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Import(ctx, im, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	v := awakened(t, setup{fs: fs, script: w.script})
	if !strings.Contains(v.k.Safe(), r.Author) {
		t.Errorf("an import starts with %q", v.k.Safe())
	}
	_, serr := v.send("counter", "increment_by", num(1))
	v.wantCode(serr, batos.Denied)
	in, err := v.k.Inspect(ctx, batos.Ref{Name: "counter"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := in.State.Slot("increment_by")
	if m := m.(*object.Method); m.Author != batos.Imported || m.AuthorName != r.Author || len(in.Provenance) != 0 {
		t.Errorf("an imported method is %+v, with %d records", m, len(in.Provenance))
	}
	n, err := Accept(ctx, v.im, Person{"tester"})
	if err != nil || n != 1 {
		t.Errorf("%d methods were accepted, %v", n, err)
	}
	v.restarted(setup{script: w.script})
	got, serr := v.send("counter", "increment_by", num(1))
	v.want(got, serr, num(8))
	v.new("other", "", slot("count", num(1)))
	got, serr = v.send("other", "increment_by", num(1)) // a mission: genesis' methods are its own
	v.want(got, serr, num(2))
}

func TestPackKeepsSourcesAndEndsOldMessages(t *testing.T) {
	w := awakened(t, setup{script: writing(incrementBy), change: func(c *Config) {
		c.Clock = func() time.Time { return time.Now().Add(-30 * 24 * time.Hour) }
	}})
	tid := installed(w)
	ctx := context.Background()
	for range 5 {
		if _, err := w.send("counter", "increment_by", num(1)); err != nil {
			t.Fatal(err)
		}
	}
	w.def("counter", strings.Replace(incrementBy, "+ a", "+ a + 0", 1))
	o := PackOptions{Before: time.Now(), DryRun: true}
	plan, err := Pack(ctx, w.im, o)
	if err != nil {
		t.Fatal(err)
	}
	o.DryRun = false
	r, err := Pack(ctx, w.im, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages < 6 || plan.Messages != r.Messages || r.Revisions == 0 || r.Kept == 0 {
		t.Errorf("the plan was %+v, the pack did %+v", plan, r)
	}
	kept := false
	for rev, err := range w.im.History(ctx, mustResolve(w, "counter")) {
		if err != nil {
			t.Fatal(err)
		}
		m, _ := rev.State.Slot("increment_by")
		if m, ok := m.(*object.Method); ok && m.Source == incrementBy {
			kept = rev.TID == tid
		}
	}
	if !kept {
		t.Error("the source that the mission wrote is gone")
	}
	v, serr := w.send("counter", "increment_by", num(1))
	w.want(v, serr, num(13))
}

// TestPackEndsWhatALineageSpent: the account that a request and what it sent
// for later share goes with the request's record, and not before.
func TestPackEndsWhatALineageSpent(t *testing.T) {
	var age atomic.Int64 // the kernel reads its clock whenever it likes
	age.Store(int64(30 * 24 * time.Hour))
	w := awakened(t, setup{offline: true, change: func(c *Config) {
		c.Clock = func() time.Time { return time.Now().Add(-time.Duration(age.Load())) }
	}})
	ctx := context.Background()
	w.new("counter", "", slot("count", num(0)))
	w.def("counter", "def add(self, n):\n    self.count = self.count + n\n    self._p_changed = True\n    if n > 0:\n        send_later(self, \"add\", n - 1)\n    return self.count\n")
	account := func(id batos.MessageID) bool {
		there := false
		if err := w.im.View(ctx, func(tx *image.Tx) (err error) {
			there, err = tx.Exists(spendingOID(id))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return there
	}
	send := func(id batos.MessageID, count int64) {
		r := request("counter", "add", num(2))
		r.ID = id
		if _, err := w.sendRequest(r); err != nil {
			t.Fatal(err)
		}
		w.until("counter", "count", num(count))
	}
	send("old", 3)
	age.Store(0)
	send("new", 6)
	if !account("old") || !account("new") {
		t.Fatal("a lineage of three messages has no account")
	}
	if _, err := Pack(ctx, w.im, PackOptions{Before: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if account("old") {
		t.Error("what the old request spent is still there, its record is not")
	}
	if !account("new") {
		t.Error("what the new request spent is gone")
	}
}

func mustResolve(w *world, name string) batos.OID {
	w.t.Helper()
	oid, err := w.k.Resolve(context.Background(), batos.Ref{Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return oid
}

// TestUpgradeKeepsTheChoiceOfTheModel: what the kernel or a person wrote into a
// slot that genesis ships is theirs, in every later release: also one that says
// something else there, or nothing at all.
func TestUpgradeKeepsTheChoiceOfTheModel(t *testing.T) {
	w := awakened(t, setup{offline: true})
	ctx := context.Background()
	blob, err := w.im.NewBlob(ctx, strings.NewReader("a model"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]object.Value{"model_id": object.Str("mine"), "model_blob": blob}
	if _, err := w.im.Update(ctx, func(tx *image.Tx) error {
		for slot, v := range want {
			if err := tx.SetSlot(w.k.roots.mind, slot, v); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	same := func(s string) string { return s }
	for i, source := range []func(string) string{
		same,
		func(s string) string { return strings.Replace(s, "model_id = None", `model_id = "theirs"`, 1) },
		func(s string) string {
			return strings.Replace(strings.Replace(s, "model_id = None\n", "", 1), "model_blob = None\n", "", 1)
		},
		same,
	} {
		release := fmt.Sprintf("0.%d.0", i+2)
		if _, err := upgrade(ctx, w.im, releaseOf(t, "pLLM_obj", source), release, false); err != nil {
			t.Fatal(err)
		}
		in, err := w.k.Inspect(ctx, batos.Ref{Name: "pLLM_obj"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for slot, v := range want {
			if got, _ := in.State.Slot(slot); !object.Equal(got, v) {
				t.Errorf("after the upgrade to %s, %s is %v, want %v", release, slot, got, v)
			}
		}
	}
}
