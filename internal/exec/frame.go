package exec

import (
	"slices"

	"go.starlark.net/starlark"

	"batos"
	"batos/image"
	"batos/internal/method"
	"batos/object"
)

// grantScan bounds how many values of a call's arguments are looked at for
// objects that the callee may write. What comes later in a long list is
// readable, as everything is, but not granted.
const grantScan = 1024

// right says whether a frame may write an object, or why not.
type right uint8

const (
	allowed right = iota
	sealed
	protected
	foreign
)

// right is the one place that decides about writes.
func (x *run) right(f *frame, oid batos.OID) (right, error) {
	p, err := x.tx.Protection(oid)
	if err != nil {
		return sealed, err
	}
	switch {
	case p == object.Sealed:
		return sealed, nil
	case f.authority >= batos.Genesis:
		return allowed, nil
	case p != object.Open:
		return protected, nil
	case oid == f.self, slices.Contains(f.granted, oid):
		return allowed, nil
	}
	if _, ok := x.made[oid]; ok {
		return allowed, nil
	}
	return foreign, nil
}

// mayWrite is right as an error, for a slot, or for the object's protection if
// slot is "".
func (x *run) mayWrite(oid batos.OID, slot string) error {
	f := x.top()
	r, err := x.right(f, oid)
	if err != nil || r == allowed {
		return err
	}
	if slot == "" {
		return denied(f, oid, "the protection", r)
	}
	return denied(f, oid, "slot "+slot, r)
}

// mayRead refuses sealed objects to code of less than genesis authority: the
// kernel's records hold the arguments and answers of everybody's messages.
func (x *run) mayRead(oid batos.OID) error {
	f := x.top()
	if f.authority >= batos.Genesis || oid == f.self {
		return nil
	}
	p, err := x.tx.Protection(oid)
	if err != nil || p != object.Sealed {
		return err
	}
	return batos.Errorf(batos.Denied, "%s cannot be read: it is a record of the kernel, and this code has only %s authority", oid, f.authority)
}

func denied(f *frame, oid batos.OID, what string, r right) error {
	switch r {
	case sealed:
		return batos.Errorf(batos.Denied, "%s of %s cannot be changed: the object is sealed", what, oid)
	case protected:
		return batos.Errorf(batos.Denied, "%s of %s cannot be changed: the object is protected, and this code has only %s authority", what, oid, f.authority)
	}
	return batos.Errorf(batos.Denied, "%s of %s cannot be changed: code of %s authority writes its receiver, what it made and what it was given", what, oid, f.authority)
}

// granted lists the objects among a call's arguments that the calling frame
// may write. For a callee that may write all open objects anyway it is not
// worked out.
func (x *run) granted(caller *frame, callee batos.Authority, args starlark.Tuple, kwargs []starlark.Tuple) ([]batos.OID, error) {
	if callee >= batos.Genesis || len(args)+len(kwargs) == 0 {
		return nil, nil
	}
	if len(x.frames) == 1 && caller.authority < batos.Genesis {
		return nil, nil // sent for later by generated code: it holds nothing any more
	}
	g := grants{left: grantScan}
	for _, a := range args {
		g.collect(a)
	}
	for _, kv := range kwargs {
		g.collect(kv[1])
	}
	if caller.authority >= batos.Genesis {
		return g.oids, nil
	}
	var err error
	return slices.DeleteFunc(g.oids, func(oid batos.OID) bool {
		r, e := x.right(caller, oid)
		if e != nil && batos.CodeOf(e) != batos.NotFound { // a dangling reference grants nothing
			err = e
		}
		return r != allowed
	}), err
}

type grants struct {
	oids []batos.OID
	left int
}

func (g *grants) collect(v starlark.Value) {
	if g.left--; g.left < 0 {
		return
	}
	switch v := v.(type) {
	case *method.Object:
		g.oids = append(g.oids, v.OID())
	case starlark.Tuple:
		for _, e := range v {
			g.collect(e)
		}
	case *starlark.List:
		for i := 0; i < v.Len() && g.left > 0; i++ {
			g.collect(v.Index(i))
		}
	case *starlark.Dict:
		for _, e := range v.Entries() {
			if g.left <= 0 {
				return
			}
			g.collect(e)
		}
	}
}

// passable refuses values that hold a function where authority changes hands:
// a function would run with the authority of who calls it, not of who wrote it.
func passable(v starlark.Value, seen map[starlark.Value]bool) error {
	switch v := v.(type) {
	case *starlark.Function:
		return batos.Errorf(batos.Denied, "a function of generated code cannot be handed to code of more authority")
	case starlark.Tuple:
		for _, e := range v {
			if err := passable(e, seen); err != nil {
				return err
			}
		}
	case *starlark.List:
		if seen[v] {
			return nil
		}
		seen[v] = true
		for i := range v.Len() {
			if err := passable(v.Index(i), seen); err != nil {
				return err
			}
		}
	case *starlark.Set:
		for e := range v.Elements() {
			if err := passable(e, seen); err != nil {
				return err
			}
		}
	case *starlark.Dict:
		if seen[v] {
			return nil
		}
		seen[v] = true
		for k, e := range v.Entries() {
			if err := passable(k, seen); err != nil {
				return err
			}
			if err := passable(e, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// write remembers that a slot or tree key was written with a right to it.
type write struct {
	authority batos.Authority // the weakest that wrote it
	size      int64           // bytes of what it holds now
}

// writing books that the running code was found to have the right to write
// there.
func (x *run) writing(o method.Owner) { x.book(o, -1) }

// wrote is writing of n bytes, in place of those the run wrote there before.
func (x *run) wrote(o method.Owner, n int64) error {
	x.book(o, n)
	if x.written > x.req.Lineage.Written {
		return x.failure(spent("bytes written", x.req.Lineage.Written))
	}
	return nil
}

func (x *run) book(o method.Owner, n int64) {
	a := x.top().authority
	w, ok := x.writes[o]
	if !ok {
		w.authority = a
		if x.writes == nil {
			x.writes = map[method.Owner]write{}
		}
	}
	w.authority = w.authority.Weaker(a)
	if n >= 0 {
		x.written += n - w.size
		w.size = n
	}
	x.writes[o] = w
}

// baseline takes what the caller changed before the run out of the recheck.
func (x *run) baseline() error {
	if !x.tx.Dirty() {
		return nil
	}
	cs, err := x.tx.Changes()
	for i := range cs {
		x.vouch(cs[i].OID)
	}
	return err
}

func (x *run) vouch(oid batos.OID) {
	if x.vouched == nil {
		x.vouched = map[batos.OID]struct{}{}
	}
	x.vouched[oid] = struct{}{}
}

// recheck looks at everything the transaction would write and demands that
// each piece of it was decided: by right, or by a primitive that vouched.
func (x *run) recheck() error {
	if !x.tx.Dirty() {
		return nil
	}
	cs, err := x.tx.Changes()
	if err != nil {
		return err
	}
	for i := range cs {
		c := &cs[i]
		if _, ok := x.vouched[c.OID]; ok {
			continue
		}
		if err := x.recheckOne(c); err != nil {
			return err
		}
	}
	return nil
}

func (x *run) recheckOne(c *image.Change) error {
	undecided := func(what string) error {
		return batos.Errorf(batos.Denied, "%s of %s was changed without a decision that it may be", what, c.OID)
	}
	if c.Deleted {
		return undecided("the existence")
	}
	_, made := x.made[c.OID]
	if c.New {
		if !made {
			return undecided("the existence")
		}
		return nil
	}
	if c.Protection != nil {
		if w, ok := x.writes[method.Owner{OID: c.OID}]; !ok || w.authority < batos.Genesis {
			return undecided("the protection")
		}
	}
	var p object.Protection
	if !c.Tree {
		var err error
		if p, err = x.tx.Protection(c.OID); err != nil {
			return err
		}
	}
	check := func(slot, shown string) error {
		w, ok := x.writes[method.Owner{OID: c.OID, Slot: slot}]
		if !ok || p == object.Sealed || p == object.Protected && w.authority < batos.Genesis {
			return undecided(shown)
		}
		return nil
	}
	for _, s := range c.Slots {
		if err := check(s.Name, "slot "+s.Name); err != nil {
			return err
		}
	}
	for _, k := range c.Keys {
		if err := check(treeSlot(k.Key), "key "+object.Text(k.Key, 40)); err != nil {
			return err
		}
	}
	return nil
}
