package object

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"batos"
)

// MaxDepth bounds how deep containers nest in one value: a list of numbers
// has depth 1.
const MaxDepth = 64

// MaxSlotName bounds a slot name's length in bytes.
const MaxSlotName = 256

// Check reports why v cannot be stored: a missing element, which a nil pointer
// is too, text that is not UTF-8, containers nested deeper than [MaxDepth], a key that cannot be one or
// that comes twice. The error has code invalid.
func Check(v Value) error { return check(v, 0) }

func check(v Value, depth int) error {
	if depth > MaxDepth {
		return batos.Errorf(batos.Invalid, "a value nests deeper than %d levels", MaxDepth)
	}
	if missing(v) {
		return batos.Errorf(batos.Invalid, "a value is missing where one is needed")
	}
	switch v := v.(type) {
	case Str:
		return checkText(string(v))
	case Primitive:
		return checkText(string(v))
	case *List:
		return checkItems(v.Items, depth)
	case *Tuple:
		return checkItems(v.Items, depth)
	case *Set:
		if err := checkItems(v.Items, depth); err != nil {
			return err
		}
		return checkUnique(len(v.Items), func(i int) Value { return v.Items[i] })
	case *Dict:
		for _, e := range v.Entries {
			if err := check(e.Key, depth+1); err != nil {
				return err
			}
			if err := check(e.Value, depth+1); err != nil {
				return err
			}
		}
		return checkUnique(len(v.Entries), func(i int) Value { return v.Entries[i].Key })
	case *Method:
		for _, s := range []string{string(v.Selector), v.Source, v.AuthorName} {
			if err := checkText(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing reports whether v is nil, or a nil pointer.
func missing(v Value) bool {
	switch v := v.(type) {
	case nil:
		return true
	case *List:
		return v == nil
	case *Tuple:
		return v == nil
	case *Set:
		return v == nil
	case *Dict:
		return v == nil
	case *Method:
		return v == nil
	}
	return false
}

func checkItems(items []Value, depth int) error {
	for _, it := range items {
		if err := check(it, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return batos.Errorf(batos.Invalid, "text %s is not UTF-8; keep raw bytes as bytes", strconv.Quote(s[:min(len(s), 40)]))
	}
	return nil
}

// checkUnique demands that n keys are hashable and different.
func checkUnique(n int, key func(int) Value) error {
	const fewKeys = 8
	var seen map[string]bool
	if n > fewKeys {
		seen = make(map[string]bool, n)
	}
	for i := range n {
		k := key(i)
		if !Hashable(k) {
			return batos.Errorf(batos.Invalid, "a %s cannot be a key or a member of a set", k.Kind())
		}
		if seen == nil {
			for j := range i {
				if Equal(k, key(j)) {
					return batos.Errorf(batos.Invalid, "key %s comes twice", Text(k, 40))
				}
			}
			continue
		}
		id := identity(k)
		if seen[id] {
			return batos.Errorf(batos.Invalid, "key %s comes twice", Text(k, 40))
		}
		seen[id] = true
	}
	return nil
}

// Hashable reports whether v can be a key of a [Dict] or a member of a [Set].
func Hashable(v Value) bool {
	switch v := v.(type) {
	case None, Bool, Int, Float, Str, Bytes, Ref, Time:
		return true
	case *Tuple:
		for _, it := range v.Items {
			if !Hashable(it) {
				return false
			}
		}
		return true
	}
	return false
}

// CheckSlotName reports why name cannot name a slot: it is empty, too long,
// not UTF-8, or has characters that cannot be shown. The error has code
// invalid.
func CheckSlotName(name string) error {
	if name == "" || len(name) > MaxSlotName {
		return batos.Errorf(batos.Invalid, "a slot name has 1 to %d bytes, not %d", MaxSlotName, len(name))
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return batos.Errorf(batos.Invalid, "slot name %q has characters that cannot be shown", name)
		}
	}
	return nil
}
