package seedmind

import (
	"math/rand/v2"
	"strings"

	"batos/internal/mind"
	"batos/object"
)

// states draws the states of an object and the arguments of a call, such that
// interesting cases (an empty list, a key that is there, a text that occurs)
// come up often. Plain ones are small and ordinary instead, as a person would
// choose them for an example.
type states struct {
	r     *rand.Rand
	plain bool
}

var stateWords = strings.Fields("ann bob cat dog eel fox gnu hen ibis jay kite lark mole newt owl")

func (s states) int(from, to int) object.Value {
	return object.NewInt(int64(from + s.r.IntN(to-from+1)))
}

func (s states) word() string { return stateWords[s.r.IntN(len(stateWords))] }

func (s states) str() object.Value {
	w := s.word()
	if s.plain {
		return object.Str(w)
	}
	switch s.r.IntN(9) {
	case 0:
		w = w + " " + s.word()
	case 1:
		w = strings.ToUpper(w[:1]) + w[1:]
	case 2:
		w = "level"
	case 3:
		w = " " + w + " "
	case 4:
		w = ""
	case 6:
		w = "42"
	case 5:
		w = s.word() + "-" + s.word() + "\n" + s.word()
	}
	return object.Str(w)
}

func (s states) number() object.Value {
	switch {
	case s.plain:
		return s.int(1, 9)
	case s.r.IntN(5) == 0:
		return object.Float(float64(s.r.IntN(160)-20) / 4)
	}
	return s.int(-5, 20)
}

// value draws a value of a type; dict keys and record fields are words.
func (s states) value(t mind.SeedType, fields []mind.SeedField, names []string) object.Value {
	n := []int{0, 1, 2, 3, 4, 5}[s.r.IntN(6)]
	if s.plain {
		n = 2 + n%2
	}
	list := func(item func() object.Value) object.Value {
		l := &object.List{}
		for range n {
			l.Items = append(l.Items, item())
		}
		return l
	}
	dict := func(item func() object.Value) object.Value {
		d := &object.Dict{}
		for i := range n {
			d.Entries = append(d.Entries, object.Entry{Key: object.Str(stateWords[(s.r.IntN(3)+3*i)%len(stateWords)]), Value: item()})
		}
		return d
	}
	small := func() object.Value { return s.int(-3, 9) }
	word := func() object.Value { return object.Str(s.word()) }
	switch t {
	case mind.SeedInt:
		if s.plain {
			return s.int(1, 9)
		}
		return s.int(-5, 20)
	case mind.SeedFloat:
		return object.Float(float64(s.r.IntN(160)-20) / 4)
	case mind.SeedNumber:
		return s.number()
	case mind.SeedStr:
		return s.str()
	case mind.SeedBool:
		return object.Bool(s.r.IntN(2) == 0)
	case mind.SeedNumbers:
		return list(small)
	case mind.SeedStrs:
		return list(word)
	case mind.SeedBools:
		return list(func() object.Value { return object.Bool(s.r.IntN(2) == 0) })
	case mind.SeedList:
		if s.r.IntN(2) == 0 {
			return list(small)
		}
		return list(word)
	case mind.SeedNumberMap:
		return dict(small)
	case mind.SeedStrMap:
		return dict(word)
	case mind.SeedMap:
		if s.r.IntN(2) == 0 {
			return dict(small)
		}
		return dict(word)
	case mind.SeedDict:
		return dict(small)
	case mind.SeedRecords:
		return list(func() object.Value { return s.record(fields, names) })
	case mind.SeedRecord:
		return s.record(fields, names)
	}
	return object.None{}
}

func (s states) record(fields []mind.SeedField, names []string) object.Value {
	d := &object.Dict{}
	for i, f := range fields {
		var v object.Value
		switch f.Type {
		case mind.SeedNumber:
			v = s.int(0, 6)
		case mind.SeedBool:
			v = object.Bool(s.r.IntN(2) == 0)
		default:
			v = object.Str(stateWords[s.r.IntN(6)])
		}
		d.Entries = append(d.Entries, object.Entry{Key: object.Str(names[i]), Value: v})
	}
	return d
}

// pick draws one of vs, or nil if there are none.
func (s states) pick(vs []object.Value) object.Value {
	if len(vs) == 0 {
		return nil
	}
	return vs[s.r.IntN(len(vs))]
}

// args draws the arguments of a call of a family. slots are the object's
// values by place; t is the type each argument was announced with.
func (s states) args(f *Family, b binding, types []mind.SeedType, slots []object.Value, names []string) []object.Value {
	var out []object.Value
	var first object.Value = object.None{}
	if len(f.Forms) > 0 && len(f.Forms[0]) > 0 {
		first = slots[b.slots[0]]
	}
	if _, ok := sequence(first); !ok && len(f.Forms) > 0 && len(f.Forms[0]) > 1 {
		if v, ok := sequence(slots[b.slots[1]]); ok && (len(f.Args) > 0 && (f.Args[0] == argItem || f.Args[0] == argHeld)) {
			first = &object.List{Items: v}
		}
	}
	for i, a := range f.Args {
		v := s.arg(f, a, b, types[i], first, names)
		if a == argHigh && i > 0 {
			if lo, ok := asFloat(out[i-1]); ok {
				v = object.NewInt(int64(lo) + int64(s.r.IntN(8)))
			}
		}
		out = append(out, v)
	}
	return out
}

func (s states) arg(f *Family, a ArgSpec, b binding, t mind.SeedType, first object.Value, names []string) object.Value {
	often := s.r.IntN(5) < 3
	held, _ := sequence(first)
	dict, _ := first.(*object.Dict)
	text, _ := first.(object.Str)
	switch a {
	case argPositive:
		return s.int(1, 15)
	case argIndex:
		return s.int(0, 4)
	case argPlace:
		return s.int(0, max(0, len(held)-1))
	case argLow:
		return s.int(-5, 8)
	case argChar:
		return object.Str([]string{"a", "b", "n", "o", "-", "an"}[s.r.IntN(6)])
	case argPart:
		if len(text) > 0 && often {
			i := s.r.IntN(len(text))
			if s.r.IntN(2) == 0 {
				return text[:i+1]
			}
			return text[i:]
		}
	case argStr:
		if often && text != "" {
			return text
		}
	case argHeld:
		if v := s.pick(held); v != nil && often {
			return v
		}
	case argItem:
		if dict != nil && len(dict.Entries) > 0 && often {
			return dict.Entries[s.r.IntN(len(dict.Entries))].Value
		}
	case argKey, argHeldKey:
		if dict != nil && len(dict.Entries) > 0 && (often || a == argHeldKey) {
			return dict.Entries[s.r.IntN(len(dict.Entries))].Key
		}
	case argKeys:
		keys := &object.List{Items: []object.Value{object.Str(s.word())}}
		if often {
			keys.Items = nil
		}
		if dict != nil {
			for _, e := range dict.Entries {
				if s.r.IntN(3) > 0 {
					keys.Items = append(keys.Items, e.Key)
				}
			}
		}
		return keys
	case argRecord:
		if len(held) > 0 {
			return held[0]
		}
	}
	if k := strings.IndexByte(fieldLetters, a[0]); len(a) == 1 && k >= 0 {
		if len(held) > 0 && often {
			if d, ok := s.pick(held).(*object.Dict); ok {
				for _, e := range d.Entries {
					if e.Key == object.Value(object.Str(names[b.fields[k]])) {
						return e.Value
					}
				}
			}
		}
		if t == mind.SeedNumber {
			return s.int(0, 6)
		}
		return object.Str(stateWords[s.r.IntN(6)])
	}
	if t == mind.SeedDict {
		return &object.Dict{Entries: []object.Entry{{Key: object.Str("p"), Value: s.int(0, 9)}}}
	}
	return s.value(t, nil, nil)
}
