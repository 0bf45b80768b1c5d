package method

import (
	"go.starlark.net/starlark"
)

// setKey and insert are the only ways of guards into dicts and sets. They
// charge the work; the caller charges the entry.

func (r *Run) setKey(d *starlark.Dict, k, v starlark.Value) error {
	if err := r.work(1 + keyWork(k)); err != nil {
		return err
	}
	if d.Len() >= crowded && collides(k) {
		if err := r.crowd(d, k, d.Get); err != nil {
			return err
		}
	}
	return d.SetKey(k, v)
}

func (r *Run) insert(s *starlark.Set, v starlark.Value) error {
	if err := r.work(1 + keyWork(v)); err != nil {
		return err
	}
	if s.Len() >= crowded && collides(v) {
		has := func(v starlark.Value) (starlark.Value, bool, error) {
			found, err := s.Has(v)
			return nil, found, err
		}
		if err := r.crowd(s, v, has); err != nil {
			return err
		}
	}
	return s.Insert(v)
}

// keyWork is the work of hashing a key.
func keyWork(k starlark.Value) int {
	switch k := k.(type) {
	case starlark.String:
		return len(k) / 512
	case starlark.Tuple:
		return len(k)
	}
	return 0
}

// crowded is the size from which a dict or set is watched for keys chosen to
// collide. The hash of a number is made of its low 32 bits, so that a program
// can choose any number of keys that share one, and every insertion walks all
// of them.
const crowded = 256

// crowd names the keys of one container that share a hash.
type crowd struct {
	container starlark.Value
	hash      uint32
}

// crowd charges adding k to c by the number of keys it has to be compared
// with.
func (r *Run) crowd(c, k starlark.Value, get func(starlark.Value) (starlark.Value, bool, error)) error {
	h, err := k.Hash()
	if err != nil {
		return err
	}
	at := crowd{c, h}
	n := r.crowds[at]
	if n > 32 { // is it really a new one?
		if _, found, err := get(k); found || err != nil {
			return err
		}
	}
	if n == 0 {
		if err := r.charge(ownedCost); err != nil {
			return err
		}
	}
	r.crowds[at] = n + 1
	return r.work(n / 2)
}

// collides says whether a program can choose keys like k that share a hash.
func collides(k starlark.Value) bool {
	switch k := k.(type) {
	case starlark.Int:
		i, ok := k.Int64()
		return !ok || i != int64(int32(i))
	case starlark.Float, Time:
		return true
	case starlark.Tuple:
		for _, e := range k {
			if collides(e) {
				return true
			}
		}
	}
	return false
}
