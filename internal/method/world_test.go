package method

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
	"batos/object"
)

// world is an Effects over objects in memory, without transactions: what a
// run changes stays changed, unless the run fails and nobody looks.
type world struct {
	t       testing.TB
	names   map[string]batos.OID
	objects map[batos.OID]*thing
	next    batos.OID
	thawed  map[Owner]starlark.Value // containers read, by where they live
	changed map[Owner]bool
	later   []string
	frames  []frame
	clock   object.Time
}

type thing struct {
	name  string
	order []string
	slots map[string]object.Value
}

type frame struct {
	self, holder batos.OID
	sel          batos.Selector
}

var programs = map[string]*Program{}

func newWorld(t testing.TB) *world {
	return &world{t: t, names: map[string]batos.OID{}, objects: map[batos.OID]*thing{}, next: 0x100, thawed: map[Owner]starlark.Value{}, changed: map[Owner]bool{}, clock: 1_700_000_000_000_000}
}

func (w *world) object(name string) batos.OID {
	w.next++
	w.objects[w.next] = &thing{name: name, slots: map[string]object.Value{}}
	if name != "" {
		w.names[name] = w.next
	}
	return w.next
}

func (w *world) put(oid batos.OID, name string, v object.Value) {
	o := w.objects[oid]
	if _, ok := o.slots[name]; !ok {
		o.order = append(o.order, name)
	}
	o.slots[name] = v
}

// define makes an object of a .star file.
func (w *world) define(name, src string) batos.OID {
	w.t.Helper()
	defs, err := ParseFile(name, src)
	if err != nil {
		w.t.Fatal(err)
	}
	oid := w.object(name)
	for _, d := range defs {
		switch d.Kind {
		case DefMethod:
			w.put(oid, d.Name, &object.Method{Selector: d.Program.Selector(), Source: d.Source})
		case DefRef:
			w.put(oid, d.Name, object.Ref(w.names[d.Refs[0]]))
		case DefRefs:
			l := &object.List{}
			for _, n := range d.Refs {
				l.Items = append(l.Items, object.Ref(w.names[n]))
			}
			w.put(oid, d.Name, l)
		case DefTree:
			w.put(oid, d.Name, object.Tree(w.object("")))
		default:
			w.put(oid, d.Name, d.Value)
		}
	}
	return oid
}

func (w *world) lookup(oid batos.OID, name string, after batos.OID) (object.Value, batos.OID, bool) {
	var order []batos.OID
	var visit func(oid batos.OID)
	visit = func(oid batos.OID) {
		if slices.Contains(order, oid) {
			return
		}
		order = append(order, oid)
		for _, s := range w.objects[oid].order {
			if !object.IsParent(s) {
				continue
			}
			switch v := w.objects[oid].slots[s].(type) {
			case object.Ref:
				visit(batos.OID(v))
			case *object.List:
				for _, it := range v.Items {
					visit(batos.OID(it.(object.Ref)))
				}
			}
		}
	}
	visit(oid)
	for _, at := range order {
		if after != 0 {
			if at == after {
				after = 0
			}
			continue
		}
		if v, ok := w.objects[at].slots[name]; ok {
			return v, at, true
		}
	}
	return nil, 0, false
}

func (w *world) Get(r *Run, recv batos.OID, name string) (starlark.Value, bool, error) {
	v, holder, ok := w.lookup(recv, name, 0)
	if !ok {
		return nil, false, nil
	}
	if m, ok := v.(*object.Method); ok {
		return r.Bound(recv, m.Selector), true, nil
	}
	owner := Owner{holder, name}
	if c, ok := w.thawed[owner]; ok {
		return c, true, nil
	}
	c, err := r.Thaw(v, owner)
	if err == nil && isContainer(c) {
		w.thawed[owner] = c
	}
	return c, true, err
}

func (w *world) Set(r *Run, recv batos.OID, name string, v starlark.Value) error {
	owner := Owner{recv, name}
	if err := r.Adopt(v, owner); err != nil {
		return err
	}
	w.changed[owner] = true
	if isContainer(v) {
		w.thawed[owner] = v
		w.put(recv, name, object.None{})
		return nil
	}
	delete(w.thawed, owner)
	f, err := r.Freeze(v)
	if err != nil {
		return err
	}
	w.put(recv, name, f)
	return nil
}

func (w *world) Send(r *Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return w.sendAfter(r, recv, 0, sel, args, kwargs)
}

func (w *world) sendAfter(r *Run, recv, after batos.OID, sel batos.Selector, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if recv == w.names["check_obj"] {
		return starlark.None, w.check(r, string(sel), args)
	}
	v, holder, ok := w.lookup(recv, string(sel), after)
	if !ok && sel == "setSlot_value_" && len(args) == 2 {
		return starlark.None, w.Set(r, recv, string(args[0].(starlark.String)), args[1])
	}
	if !ok {
		missing := &NotUnderstood{Receiver: recv, Selector: sel}
		for _, a := range args {
			f, err := r.Freeze(a)
			if err != nil {
				return nil, err
			}
			missing.Args = append(missing.Args, f)
		}
		for _, kv := range kwargs {
			f, err := r.Freeze(kv[1])
			if err != nil {
				return nil, err
			}
			missing.Kwargs = append(missing.Kwargs, object.Slot{Name: string(kv[0].(starlark.String)), Value: f})
		}
		return nil, missing
	}
	m, ok := v.(*object.Method)
	if !ok {
		if len(args)+len(kwargs) > 0 {
			return nil, batos.Errorf(batos.Arity, "%s is a data slot", sel)
		}
		v, _, err := w.Get(r, recv, string(sel))
		return v, err
	}
	p := programs[m.Source]
	if p == nil {
		var err error
		if p, err = Compile(string(sel), m.Source); err != nil {
			return nil, err
		}
		programs[m.Source] = p
	}
	w.frames = append(w.frames, frame{recv, holder, sel})
	defer func() { w.frames = w.frames[:len(w.frames)-1] }()
	return r.Call(p, recv, args, kwargs)
}

func (w *world) Resend(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f := w.frames[len(w.frames)-1]
	return w.sendAfter(r, f.self, f.holder, f.sel, args, kwargs)
}

func (w *world) Clone(_ *Run, oid batos.OID) (batos.OID, error) {
	c := w.object("")
	for _, s := range w.objects[oid].order {
		w.put(c, s, w.objects[oid].slots[s])
	}
	return c, nil
}

func (w *world) SendLater(_ *Run, recv batos.OID, sel batos.Selector, args starlark.Tuple, _ []starlark.Tuple) error {
	w.later = append(w.later, fmt.Sprintf("%s %s/%d", w.Describe(recv), sel, len(args)))
	return nil
}

func (w *world) Root(_ *Run, name string) (batos.OID, bool, error) {
	oid, ok := w.names[name]
	return oid, ok, nil
}

func (w *world) Now(*Run) (object.Time, error) { return w.clock, nil }
func (w *world) Random(*Run) (float64, error)  { return 0.25, nil }
func (w *world) Changed(_ *Run, o Owner) error { w.changed[o] = true; return nil }
func (w *world) Describe(oid batos.OID) string {
	return strings.TrimSpace(w.objects[oid].name + " " + oid.String())
}
func (w *world) Open(_ *Run, v object.Value) (Handle, error) {
	return &memoryTree{v: v, entries: map[string]starlark.Value{}}, nil
}

// memoryTree is a Handle with string keys.
type memoryTree struct {
	v       object.Value
	entries map[string]starlark.Value
}

func (m *memoryTree) Value() object.Value { return m.v }
func (m *memoryTree) Methods() []string   { return []string{"get", "set"} }
func (m *memoryTree) Call(r *Run, name string, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if name == "set" {
		return starlark.None, m.Store(r, args[0], args[1])
	}
	v, ok, err := m.Lookup(r, args[0])
	if !ok {
		v = starlark.None
	}
	return v, err
}
func (m *memoryTree) Lookup(_ *Run, k starlark.Value) (starlark.Value, bool, error) {
	v, ok := m.entries[k.String()]
	return v, ok, nil
}
func (m *memoryTree) Store(_ *Run, k, v starlark.Value) error { m.entries[k.String()] = v; return nil }
func (m *memoryTree) Len(*Run) (int, error)                   { return len(m.entries), nil }

// check performs the assertions of the language tests.
func (w *world) check(r *Run, name string, args starlark.Tuple) error {
	switch name {
	case "eq":
		same, err := r.compare(syntax.EQL, args[0], args[1])
		if err != nil {
			return err
		}
		if !same || args[0].Type() != args[1].Type() {
			return fmt.Errorf("got %s, want %s", shorten(args[0].String()), shorten(args[1].String()))
		}
	case "true":
		if !args[0].Truth() {
			return fmt.Errorf("got %s, want something true", args[0])
		}
	case "changed": // (object, slot, want): and forgets what changed
		owner := Owner{args[0].(*Object).oid, string(args[1].(starlark.String))}
		if w.changed[owner] != bool(args[2].Truth()) {
			return fmt.Errorf("changed(%s) is %v", owner.Slot, w.changed[owner])
		}
		w.changed = map[Owner]bool{}
	case "later":
		if got := strings.Join(w.later, ", "); got != string(args[0].(starlark.String)) {
			return fmt.Errorf("sent later: %s", got)
		}
	default:
		return fmt.Errorf("no assertion %s", name)
	}
	return nil
}

// call runs one method of an object as a message of its own.
func (w *world) call(l Limits, oid batos.OID, sel batos.Selector, args ...starlark.Value) (starlark.Value, *Run, error) {
	r := NewRun(context.Background(), w, l)
	v, err := w.Send(r, oid, sel, args, nil)
	if err == nil {
		err = w.flush(r)
	}
	w.thawed, w.changed = map[Owner]starlark.Value{}, map[Owner]bool{}
	return v, r, err
}

// flush writes the containers a run changed back to their slots.
func (w *world) flush(r *Run) error {
	for owner, c := range w.thawed {
		f, err := r.Freeze(c)
		if err != nil {
			return err
		}
		w.put(owner.OID, owner.Slot, f)
	}
	return nil
}
