package kernel

import (
	"sync"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

// sampleEvery is the share of messages to a generated method that leave a
// sample of input and change, for regression sets.
const sampleEvery = 50

// samples counts messages per method, volatile.
type samples struct {
	mu sync.Mutex
	n  map[samplesKey]int
}

type samplesKey struct {
	holder batos.OID
	sel    batos.Selector
}

// due reports whether this message to the method is one to keep: the first
// and then every fiftieth.
func (s *samples) due(oid batos.OID, sel batos.Selector) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil || len(s.n) >= mostCounted {
		s.n = map[samplesKey]int{}
	}
	key := samplesKey{oid, sel}
	s.n[key]++
	return s.n[key]%sampleEvery == 1
}

// sample keeps what a message to a generated method was given and what it
// changed, now and then, in the message's own transaction. A sample that
// cannot be made is left out: it is worth less than the message.
func (k *Kernel) sample(tx *image.Tx, f *flight, rec *record) {
	v, holder, ok, err := exec.Answering(tx, rec.Target, rec.Selector)
	m, isMethod := v.(*object.Method)
	if err != nil || !ok || !isMethod || m.Author != batos.Persona || !k.samples.due(holder, rec.Selector) {
		return
	}
	changes, err := tx.Changes()
	if err != nil {
		return
	}
	var before, after []object.Entry
	for _, c := range changes {
		if c.OID != rec.Target {
			continue
		}
		for _, s := range c.Slots {
			before = append(before, object.Entry{Key: object.Str(s.Name), Value: orNone(s.Before)})
			after = append(after, object.Entry{Key: object.Str(s.Name), Value: orNone(s.After)})
		}
	}
	state, err := stateBefore(tx, rec.Target, before)
	if err != nil {
		return
	}
	sp := tx.Savepoint()
	oid, err := tx.Create(object.NewState(object.Sealed, batos.Genesis,
		object.Slot{Name: "kind", Value: object.Str("sample")},
		object.Slot{Name: "object", Value: object.Ref(rec.Target)},
		object.Slot{Name: "method", Value: object.Ref(holder)},
		object.Slot{Name: "selector", Value: object.Str(rec.Selector)},
		object.Slot{Name: "version", Value: object.NewInt(int64(m.Version))},
		object.Slot{Name: "args", Value: object.Bytes(rec.Args)},
		object.Slot{Name: "state", Value: state},
		object.Slot{Name: "before", Value: &object.Dict{Entries: before}},
		object.Slot{Name: "after", Value: &object.Dict{Entries: after}},
		object.Slot{Name: "value", Value: orNone(rec.Value)},
	))
	if err == nil {
		key := &object.Tuple{Items: []object.Value{object.NewInt(int64(holder)), object.Str(rec.Selector), object.NewInt(int64(oid))}}
		err = tx.Tree(k.roots.samples).Set(key, object.Ref(oid))
	}
	if err != nil {
		tx.Rollback(sp)
	}
}

// maxSampled bounds the state that a sample keeps, in bytes.
const maxSampled = 16 << 10

// stateBefore is what the object's data slots held before the change; None if
// that is too much to keep.
func stateBefore(tx *image.Tx, oid batos.OID, before []object.Entry) (object.Value, error) {
	slots, err := dataSlots(tx, oid)
	if err != nil {
		return nil, err
	}
	d := new(dict)
	for _, s := range slots {
		v := s.Value
		if was := fieldsOf(&object.Dict{Entries: before}).get(s.Name); was != nil {
			v = was
		}
		d.set(s.Name, v)
	}
	if len(codec.EncodeValue(d.value())) > maxSampled {
		return object.None{}, nil
	}
	return d.value(), nil
}

func orNone(v object.Value) object.Value {
	if v == nil {
		return object.None{}
	}
	return v
}
