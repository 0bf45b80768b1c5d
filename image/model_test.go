package image

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"batos"
	"batos/object"
)

// world is a plain model of an image: what one would write without storage.
type world struct {
	objects map[batos.OID]*object.State
	trees   map[batos.OID]map[int64]string
}

func newWorld() *world {
	return &world{map[batos.OID]*object.State{}, map[batos.OID]map[int64]string{}}
}

func (w *world) clone() *world {
	c := &world{maps.Clone(w.objects), map[batos.OID]map[int64]string{}}
	for id, t := range w.trees {
		c.trees[id] = maps.Clone(t)
	}
	return c
}

// String prints everything, for comparison.
func (w *world) String() string {
	var b strings.Builder
	for _, oid := range sorted(w.objects) {
		fmt.Fprintf(&b, "%s\n", showState(oid, w.objects[oid]))
	}
	for _, id := range sorted(w.trees) {
		fmt.Fprintf(&b, "tree %s: %s\n", id, showTree(w.trees[id]))
	}
	return b.String()
}

// showState prints slots by name: a slot that is dropped and set again keeps
// its place within one transaction, and loses it between two.
func showState(oid batos.OID, s *object.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", oid, s.Protection)
	byName := func(a, b object.Slot) int { return strings.Compare(a.Name, b.Name) }
	for _, sl := range slices.SortedFunc(slices.Values(s.Slots()), byName) {
		fmt.Fprintf(&b, " %s=%s", sl.Name, object.Text(sl.Value, 40))
		if m, ok := sl.Value.(*object.Method); ok {
			fmt.Fprintf(&b, " %q", m.Source)
		}
	}
	return b.String()
}

func showTree(t map[int64]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, " %d=%s", k, short(t[k]))
	}
	return b.String()
}

func short(s string) string {
	if len(s) > 12 {
		return fmt.Sprintf("%s…%d", s[:8], len(s))
	}
	return s
}

// see prints what a transaction sees of the objects and trees that w knows.
func (w *world) see(tx *Tx) (string, error) {
	got := newWorld()
	for oid := range w.objects {
		s, err := tx.Load(oid)
		if err != nil {
			return "", err
		}
		got.objects[oid] = s
	}
	for id := range w.trees {
		m := map[int64]string{}
		t := tx.Tree(object.Tree(id))
		for e, err := range t.Range(nil, nil) {
			if err != nil {
				return "", err
			}
			k, _ := e.Key.(object.Int).Int64()
			m[k] = string(e.Value.(object.Str))
		}
		if n, err := t.Len(); err != nil || n != int64(len(m)) {
			return "", fmt.Errorf("tree %s has %d keys and says %d, %v", id, len(m), n, err)
		}
		got.trees[id] = m
	}
	return got.String(), nil
}

// op is one step of a transaction, to be taken on an image and on the model.
// What it answers is everything the step can learn.
type op struct {
	kind     string
	oid      batos.OID
	name     string
	value    object.Value
	text     string
	n        int64
	from, to int64
	stop     int // leave a range after so many entries
}

var opKinds = []string{
	"slot", "slot", "lookup", "names", "load", "set", "set", "set", "drop", "add", "protect", "protection", "create", "delete", "exists",
	"get", "get", "put", "put", "put", "put", "del", "len", "min", "max", "range", "backward",
}

var slotNames = []string{"a", "b", "c", "n", "parent*"}

// drawOp makes a step that could make sense in w.
func drawOp(t *rapid.T, w *world) *op {
	o := &op{kind: rapid.SampledFrom(opKinds).Draw(t, "op")}
	pick := func(oids []batos.OID) batos.OID {
		if len(oids) == 0 {
			return 0
		}
		return rapid.SampledFrom(oids).Draw(t, "oid")
	}
	switch o.kind {
	case "get", "put", "del", "len", "min", "max", "range", "backward":
		o.oid = pick(sorted(w.trees))
		o.n = rapid.Int64Range(0, 60).Draw(t, "key")
		o.from = rapid.Int64Range(0, 60).Draw(t, "from")
		o.to = o.from + rapid.Int64Range(-2, 40).Draw(t, "to")
		o.stop = rapid.IntRange(1, 20).Draw(t, "stop")
		if o.kind == "put" {
			o.text = fmt.Sprint(rapid.IntRange(0, 999).Draw(t, "text")) + strings.Repeat("x", rapid.IntRange(0, 500).Draw(t, "padding"))
		}
	default:
		o.oid = pick(sorted(w.objects))
		o.name = rapid.SampledFrom(slotNames).Draw(t, "name")
		switch {
		case o.kind == "add":
			o.name = "n"
			o.n = rapid.Int64Range(-3, 5).Draw(t, "delta")
		case o.kind == "protect":
			o.n = rapid.Int64Range(0, 2).Draw(t, "protection")
		case o.name == "n":
			o.value = object.Counter(rapid.Int64Range(0, 9).Draw(t, "counter"))
		case o.name == "parent*":
			o.value = object.Ref(pick(sorted(w.objects)))
		case o.name == "c" && rapid.Bool().Draw(t, "method"): // whose source pack keeps
			n := rapid.IntRange(0, 5).Draw(t, "source")
			o.value = &object.Method{Selector: "c", Source: fmt.Sprintf("def c(self):\n    return %d\n", n), Author: batos.Imported, Version: 1 + n} // as an import leaves it
		default:
			o.value = object.NewInt(rapid.Int64Range(0, 5).Draw(t, "value"))
		}
	}
	if o.oid == 0 && o.kind != "create" {
		o.kind = "nothing"
	}
	return o
}

func (o *op) String() string {
	return fmt.Sprintf("%s %s %s %s %s %d [%d,%d) %d", o.kind, o.oid, o.name, object.Text(o.value, 20), short(o.text), o.n, o.from, o.to, o.stop)
}

func outcome(err error, format string, args ...any) string {
	if err != nil {
		if code := batos.CodeOf(err); code != "" {
			return "error " + string(code)
		}
		return "error " + err.Error()
	}
	return fmt.Sprintf(format, args...)
}

func (o *op) onImage(tx *Tx) string {
	t := tx.Tree(object.Tree(o.oid))
	key := object.NewInt(o.n)
	entry := func(k, v object.Value, ok bool, err error) string {
		if !ok || err != nil {
			return outcome(err, "none")
		}
		return fmt.Sprintf("%s=%s", object.Text(k, 20), short(string(v.(object.Str))))
	}
	switch o.kind {
	case "slot":
		v, ok, err := tx.Slot(o.oid, o.name)
		return outcome(err, "%v %s", ok, object.Text(v, 40))
	case "lookup":
		v, holder, ok, err := tx.Lookup(o.oid, o.name)
		return outcome(err, "%v %s %s", ok, object.Text(v, 40), holder)
	case "names":
		names, err := tx.SlotNames(o.oid)
		slices.Sort(names)
		return outcome(err, "%q", names)
	case "load":
		s, err := tx.Load(o.oid)
		if err != nil {
			return outcome(err, "")
		}
		return showState(o.oid, s)
	case "set":
		return outcome(tx.SetSlot(o.oid, o.name, o.value), "ok")
	case "drop":
		return outcome(tx.DeleteSlot(o.oid, o.name), "ok")
	case "add":
		return outcome(tx.AddCounter(o.oid, o.name, o.n), "ok")
	case "protect":
		return outcome(tx.SetProtection(o.oid, object.Protection(o.n)), "ok")
	case "protection":
		p, err := tx.Protection(o.oid)
		return outcome(err, "%s", p)
	case "create":
		oid, err := tx.Create(slots(o.name, o.value))
		o.oid = oid
		return outcome(err, "ok")
	case "delete":
		return outcome(tx.Delete(o.oid), "ok")
	case "exists":
		ok, err := tx.Exists(o.oid)
		return outcome(err, "%v", ok)
	case "get":
		v, ok, err := t.Get(key)
		return entry(key, v, ok, err)
	case "put":
		return outcome(t.Set(key, object.Str(o.text)), "ok")
	case "del":
		ok, err := t.Delete(key)
		return outcome(err, "%v", ok)
	case "len":
		n, err := t.Len()
		return outcome(err, "%d", n)
	case "min":
		return entry(t.Min())
	case "max":
		return entry(t.Max())
	case "range", "backward":
		seq := t.Range(object.NewInt(o.from), object.NewInt(o.to))
		if o.kind == "backward" {
			seq = t.Backward(object.NewInt(o.from), object.NewInt(o.to))
		}
		var out []string
		for e, err := range seq {
			out = append(out, entry(e.Key, e.Value, true, err))
			if len(out) == o.stop {
				break
			}
		}
		return strings.Join(out, " ")
	}
	return ""
}

func (o *op) onModel(w *world) string {
	s, t := w.objects[o.oid], w.trees[o.oid]
	if s == nil && slices.Contains([]string{"slot", "lookup", "names", "load", "set", "drop", "add", "protect", "protection", "delete"}, o.kind) {
		return "error not_found"
	}
	entry := func(k int64, ok bool) string {
		if !ok {
			return "none"
		}
		return fmt.Sprintf("%d=%s", k, short(t[k]))
	}
	keys := slices.Sorted(maps.Keys(t))
	switch o.kind {
	case "slot":
		v, ok := s.Slot(o.name)
		return fmt.Sprintf("%v %s", ok, object.Text(v, 40))
	case "lookup":
		heap := object.Heap(func(oid batos.OID) (*object.State, error) {
			if s := w.objects[oid]; s != nil {
				return s, nil
			}
			return nil, notFound(oid)
		})
		v, holder, ok, err := heap.Find(o.oid, o.name)
		return outcome(err, "%v %s %s", ok, object.Text(v, 40), holder)
	case "names":
		return fmt.Sprintf("%q", slices.Sorted(slices.Values(names(s))))
	case "load":
		return showState(o.oid, s)
	case "set":
		w.objects[o.oid] = s.With(o.name, o.value)
	case "drop":
		if s.Index(o.name) < 0 {
			return "error no_slot"
		}
		w.objects[o.oid] = s.Without(o.name)
	case "add":
		v, ok := s.Slot(o.name)
		if !ok {
			return "error no_slot"
		}
		w.objects[o.oid] = s.With(o.name, v.(object.Counter)+object.Counter(o.n))
	case "protect":
		w.objects[o.oid] = s.Protect(object.Protection(o.n))
	case "protection":
		return s.Protection.String()
	case "create":
		w.objects[o.oid] = slots(o.name, o.value)
	case "delete":
		delete(w.objects, o.oid)
	case "exists":
		return fmt.Sprint(s != nil)
	case "get":
		_, ok := t[o.n]
		return entry(o.n, ok)
	case "put":
		t[o.n] = o.text
	case "del":
		_, ok := t[o.n]
		delete(t, o.n)
		return fmt.Sprint(ok)
	case "len":
		return fmt.Sprint(len(t))
	case "min", "max":
		if len(keys) == 0 {
			return "none"
		}
		if o.kind == "min" {
			return entry(keys[0], true)
		}
		return entry(keys[len(keys)-1], true)
	case "range", "backward":
		var out []string
		if o.kind == "backward" {
			slices.Reverse(keys)
		}
		for _, k := range keys {
			if k >= o.from && k < o.to && len(out) < o.stop {
				out = append(out, entry(k, true))
			}
		}
		return strings.Join(out, " ")
	default:
		return ""
	}
	return "ok"
}

// founded makes an image's first objects and trees, in the model too.
func founded(t failer, im *Image) (*world, batos.TID) {
	w := newWorld()
	tid, err := im.Update(t.Context(), func(tx *Tx) error {
		for n := range 3 {
			s := slots("a", object.NewInt(int64(n)), "n", object.Counter(0))
			oid, err := tx.Create(s)
			if err != nil {
				return err
			}
			w.objects[oid] = s
		}
		for range 2 {
			id, err := tx.NewTree()
			if err != nil {
				return err
			}
			w.trees[batos.OID(id)] = map[int64]string{}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, tid
}
