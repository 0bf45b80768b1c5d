package image

import (
	"crypto/sha256"
	"maps"
	"slices"

	"batos"
	"batos/internal/codec"
	"batos/object"
)

// Change is what a transaction does to one object or one tree.
type Change struct {
	OID        batos.OID
	Tree       bool // OID is a tree, and Keys say what changes; else Slots do
	New        bool // made by the transaction
	Deleted    bool // ended by it
	Protection *object.Protection
	Slots      []SlotChange // in slot order: those that were there, then new ones
	Keys       []KeyChange  // ascending
}

// SlotChange is what becomes of one slot.
type SlotChange struct {
	Name          string
	Before, After object.Value // nil: absent
	// Delta is what a counter grew by without being read; After goes for the
	// transaction's snapshot only. 0 if the slot was set.
	Delta int64
}

// KeyChange is what becomes of one key of a tree.
type KeyChange struct {
	Key           object.Value
	Before, After object.Value // nil: absent
}

// Changes lists what Commit would write, compared with the snapshot, in
// canonical order: objects and trees that were there, by OID, then those the
// transaction made, in the order it made them. Writes that change nothing are
// left out. Asking counts as reading nothing.
func (tx *Tx) Changes() ([]Change, error) {
	if err := tx.usable(); err != nil {
		return nil, err
	}
	var out []Change
	add := func(oid batos.OID) error {
		c, ok, err := tx.change(oid)
		if ok {
			out = append(out, c)
		}
		return err
	}
	oids := sorted(tx.objects)
	oids = append(oids, sorted(tx.trees)...)
	slices.Sort(oids)
	made := map[batos.OID]bool{}
	for _, oid := range tx.made {
		made[oid] = true
	}
	for _, oid := range oids {
		if !made[oid] {
			if err := add(oid); err != nil {
				return nil, err
			}
		}
	}
	for _, oid := range tx.made {
		if made[oid] { // made, ended and made again is one change
			made[oid] = false
			if err := add(oid); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (tx *Tx) change(oid batos.OID) (Change, bool, error) {
	if st := tx.trees[oid]; st != nil {
		return tx.treeChange(st)
	}
	h := tx.objects[oid]
	if !h.written() {
		return Change{}, false, nil
	}
	c := Change{OID: oid, New: h.fresh != nil, Deleted: h.deleted}
	was := stateOf(h.base)
	var is *object.State
	if h.exists() {
		var err error
		if is, err = h.current(); err != nil {
			return Change{}, false, err
		}
		if is == was {
			return Change{}, false, nil
		}
		if was == nil || was.Protection != is.Protection {
			p := is.Protection
			c.Protection = &p
		}
	}
	c.Slots = slotChanges(was, is)
	if h.fresh == nil {
		for i := range c.Slots {
			if w := h.writes.find(c.Slots[i].Name); w != nil && w.kind == writeAdd {
				c.Slots[i].Delta = w.delta
			}
		}
	}
	return c, true, nil
}

// slotChanges compares two states of an object, either of which may be nil.
func slotChanges(was, is *object.State) []SlotChange {
	var out []SlotChange
	if was != nil {
		for _, sl := range was.Slots() {
			var after object.Value
			if is != nil {
				after, _ = is.Slot(sl.Name)
			}
			if !object.Equal(sl.Value, after) {
				out = append(out, SlotChange{Name: sl.Name, Before: sl.Value, After: after})
			}
		}
	}
	if is != nil {
		for _, sl := range is.Slots() {
			if was == nil || was.Index(sl.Name) < 0 {
				out = append(out, SlotChange{Name: sl.Name, After: sl.Value})
			}
		}
	}
	return out
}

func (tx *Tx) treeChange(st *treeState) (Change, bool, error) {
	c := Change{OID: st.id, Tree: true, New: st.fresh}
	for _, key := range st.ordered() {
		w := st.writes[key]
		if w.kind == writeNone {
			continue
		}
		leaf, err := findLeaf(tx.load, st.id, st.top(), key)
		if err != nil {
			return Change{}, false, err
		}
		raw, ok := getIn(leaf, key)
		if ok == (w.kind == writeSet) && raw == w.raw {
			continue
		}
		k := KeyChange{After: w.value}
		if k.Key, err = codec.DecodeKey(key); err != nil {
			return Change{}, false, err
		}
		if ok {
			if k.Before, err = codec.DecodeValue([]byte(raw)); err != nil {
				return Change{}, false, err
			}
		}
		c.Keys = append(c.Keys, k)
	}
	return c, c.New || len(c.Keys) > 0, nil
}

// Fingerprint is the same for two lists of changes exactly when they do the
// same: it leaves out what was there before, and takes OIDs of objects and
// trees that are made by the order in which they are, wherever they occur. Two
// runs of one piece of code that read the same have the same fingerprint, also
// in different processes.
func Fingerprint(changes []Change) [32]byte {
	number := map[batos.OID]batos.OID{}
	for _, c := range changes {
		if c.New && !c.OID.Derived() {
			number[c.OID] = batos.OID(len(number) + 1)
		}
	}
	renumber := func(v object.Value) (object.Value, error) {
		switch v := v.(type) {
		case object.Ref:
			if n, ok := number[batos.OID(v)]; ok {
				return &object.Tuple{Items: []object.Value{object.Str("new"), object.Ref(n)}}, nil
			}
		case object.Tree:
			if n, ok := number[batos.OID(v)]; ok {
				return &object.Tuple{Items: []object.Value{object.Str("new"), object.Tree(n)}}, nil
			}
		}
		return v, nil
	}
	renamed := func(v object.Value) object.Value {
		if v == nil {
			return nil
		}
		v, _ = object.Map(v, renumber) // renumber has no errors
		return v
	}
	plain := make([]Change, len(changes))
	for i, c := range changes {
		if n, ok := number[c.OID]; ok {
			c.OID = n
		}
		c.Slots = slices.Clone(c.Slots)
		for j := range c.Slots {
			s := &c.Slots[j]
			s.Before, s.After = nil, renamed(s.After)
			if s.Delta != 0 {
				s.After = nil
			}
		}
		c.Keys = slices.Clone(c.Keys)
		for j := range c.Keys {
			k := &c.Keys[j]
			k.Key, k.Before, k.After = renamed(k.Key), nil, renamed(k.After)
		}
		plain[i] = c
	}
	return sha256.Sum256(EncodeChanges(plain))
}

// EncodeChanges gives changes in canonical bytes.
func EncodeChanges(changes []Change) []byte {
	items := make([]object.Value, len(changes))
	for i, c := range changes {
		protection := int64(-1)
		if c.Protection != nil {
			protection = int64(*c.Protection)
		}
		parts := []object.Value{}
		for _, s := range c.Slots {
			parts = append(parts, list(object.Str(s.Name), packed(s.Before), packed(s.After), object.NewInt(s.Delta)))
		}
		for _, k := range c.Keys {
			parts = append(parts, list(packed(k.Key), packed(k.Before), packed(k.After)))
		}
		items[i] = list(object.Ref(c.OID), object.Bool(c.Tree), object.Bool(c.New), object.Bool(c.Deleted), object.NewInt(protection), list(parts...))
	}
	return codec.EncodeValue(list(items...))
}

func list(items ...object.Value) *object.List { return &object.List{Items: items} }

// packed wraps a value that may be absent, and may nest as deep as values do.
func packed(v object.Value) object.Value {
	if v == nil {
		return object.None{}
	}
	return object.Bytes(codec.EncodeValue(v))
}

// DecodeChanges is the inverse of [EncodeChanges]. It trusts nothing; its
// errors have code corrupt.
func DecodeChanges(data []byte) ([]Change, error) {
	v, err := codec.DecodeValue(data)
	if err != nil {
		return nil, err
	}
	r := fields{items: []object.Value{v}}
	all := r.list()
	if r.bad || len(r.items) > 0 {
		return nil, errChanges()
	}
	out := make([]Change, 0, len(all))
	for _, it := range all {
		c, ok := decodeChange(it)
		if !ok {
			return nil, errChanges()
		}
		out = append(out, c)
	}
	return out, nil
}

func errChanges() error {
	return batos.Errorf(batos.Corrupt, "a list of changes is damaged")
}

func decodeChange(v object.Value) (Change, bool) {
	outer := fields{items: []object.Value{v}}
	r := fields{items: outer.list()}
	ref, _ := take[object.Ref](&r)
	c := Change{OID: batos.OID(ref), Tree: r.bool(), New: r.bool(), Deleted: r.bool()}
	if p := r.int(); p >= 0 && p <= int64(object.Sealed) {
		protection := object.Protection(p)
		c.Protection = &protection
	} else if p != -1 {
		return c, false
	}
	for _, it := range r.list() {
		inner := fields{items: []object.Value{it}}
		f := fields{items: inner.list()}
		if c.Tree {
			c.Keys = append(c.Keys, KeyChange{Key: f.packed(), Before: f.packed(), After: f.packed()})
		} else {
			name, _ := take[object.Str](&f)
			c.Slots = append(c.Slots, SlotChange{Name: string(name), Before: f.packed(), After: f.packed(), Delta: f.int()})
		}
		if inner.bad || f.bad || len(f.items) > 0 {
			return c, false
		}
	}
	return c, !outer.bad && !r.bad && len(r.items) == 0
}

// fields takes a list of values apart.
type fields struct {
	items []object.Value
	bad   bool
}

func take[T object.Value](f *fields) (v T, ok bool) {
	if len(f.items) > 0 {
		v, ok = f.items[0].(T)
		f.items = f.items[1:]
	}
	f.bad = f.bad || !ok
	return v, ok
}

func (f *fields) list() []object.Value {
	if l, ok := take[*object.List](f); ok {
		return l.Items
	}
	return nil
}

func (f *fields) bool() bool {
	b, _ := take[object.Bool](f)
	return bool(b)
}

func (f *fields) int() int64 {
	i, _ := take[object.Int](f)
	n, fits := i.Int64()
	f.bad = f.bad || !fits
	return n
}

func (f *fields) packed() object.Value {
	v, _ := take[object.Value](f)
	switch v := v.(type) {
	case object.None:
		return nil
	case object.Bytes:
		u, err := codec.DecodeValue([]byte(v))
		f.bad = f.bad || err != nil
		return u
	}
	f.bad = true
	return nil
}

// Place is one slot of one object.
type Place struct {
	OID  batos.OID
	Slot string
}

// ReadDigest identifies everything the transaction has read of its snapshot,
// but for the slots left out: whether they were read, and what they held, makes
// no difference. Two runs that have the same digest saw the same, even over different
// snapshots and in different processes.
func (tx *Tx) ReadDigest(leftOut ...Place) [32]byte {
	h := sha256.New()
	note := func(what string, v object.Value) {
		digest(h, what, string(codec.EncodeValue(v)))
	}
	made := map[batos.OID]bool{}
	for _, oid := range tx.made {
		made[oid] = true
	}
	for _, oid := range sorted(tx.objects) {
		o := tx.objects[oid]
		if o.base == nil {
			if oid.Derived() || !made[oid] { // a fresh OID is no news
				note("absent", object.Ref(oid))
			}
			continue
		}
		s := o.base.state
		note("object", object.Ref(oid))
		if o.readAll {
			for _, p := range leftOut {
				if p.OID == oid {
					s = s.Without(p.Slot)
				}
			}
			digest(h, "state", string(codec.EncodeState(s)))
			continue
		}
		if o.readProtect {
			note("protection", object.NewInt(int64(s.Protection)))
		}
		if o.readParents {
			for _, p := range o.base.parents {
				note("parent", object.Ref(p))
			}
		}
		if o.readNames {
			for _, n := range names(s) {
				if !slices.Contains(leftOut, Place{oid, n}) {
					note("name", object.Str(n))
				}
			}
		}
		o.readSlots.each(func(i int) bool {
			if slices.Contains(leftOut, Place{oid, s.Slots()[i].Name}) {
				return true
			}
			note("slot "+s.Slots()[i].Name, s.Slots()[i].Value)
			return true
		})
		for _, n := range slices.Sorted(maps.Keys(o.readAbsent)) {
			if !slices.Contains(leftOut, Place{oid, n}) {
				note("no slot", object.Str(n))
			}
		}
	}
	for _, id := range sorted(tx.trees) {
		st := tx.trees[id]
		if st.fresh {
			continue
		}
		note("tree", object.Tree(id))
		if st.readCount {
			note("count", object.NewInt(st.count()))
		}
		for _, key := range slices.Sorted(maps.Keys(st.gets)) {
			if r := st.gets[key]; r.ok {
				digest(h, "key "+key, r.raw)
			} else {
				digest(h, "no key", key)
			}
		}
		for _, r := range st.ranges {
			digest(h, "range "+r.from, r.to)
			digest(h, "", string(r.sum[:]))
		}
	}
	return [32]byte(h.Sum(nil))
}
