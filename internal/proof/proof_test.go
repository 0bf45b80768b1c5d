package proof

import (
	"testing"

	"batos"
	"batos/object"
)

func slot(name string, v object.Value) object.Slot { return object.Slot{Name: name, Value: v} }

func list(vs ...object.Value) object.Value { return &object.List{Items: vs} }

// doing carries the probes out with a method written in Go: it is given the
// slots by name and answers the result; what it puts into the map is changed.
func doing(s Subject, m func(slots map[string]object.Value, args []object.Value) object.Value) []Seen {
	var out []Seen
	for _, p := range Probes(s) {
		seen := Seen{Args: p.Args, Before: s.With(p)}
		slots := map[string]object.Value{}
		for _, sl := range seen.Before {
			slots[sl.Name] = sl.Value
		}
		if seen.Answer = m(slots, p.Args); seen.Answer == nil {
			seen.Err = batos.Errorf(batos.Raised, "no")
		}
		for _, sl := range seen.Before {
			seen.After = append(seen.After, slot(sl.Name, slots[sl.Name]))
		}
		out = append(out, seen)
	}
	return out
}

func n(v object.Value) int64 {
	f, _ := number(v)
	return int64(f)
}

type slots = map[string]object.Value

func TestJudge(t *testing.T) {
	two := []object.Slot{slot("count", num(3)), slot("other", num(8))}
	numbers := []object.Slot{slot("scores", list(num(4), num(9), num(2)))}
	for _, c := range []struct {
		sel   string
		slots []object.Slot
		args  []object.Value
		m     func(slots, []object.Value) object.Value
		want  string
	}{
		{"raise_count_by", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) + n(a[0]))
			return s["count"]
		}, ""},
		{"raise_count_by", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) - n(a[0]))
			return s["count"]
		}, Direction},
		{"raise_count_by", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) + n(a[0]) + 1)
			return s["count"]
		}, Amount},
		{"increment_count", two, nil, func(s slots, a []object.Value) object.Value {
			s["other"] = num(n(s["other"]) + 1)
			return s["other"]
		}, Touches},
		{"increment_count", two, nil, func(s slots, a []object.Value) object.Value { return s["count"] }, Writer},
		{"get_count", two, nil, func(s slots, a []object.Value) object.Value {
			s["count"] = num(0)
			return num(0)
		}, Reader},
		{"get_count", two, nil, func(s slots, a []object.Value) object.Value { return s["other"] }, SlotsUsed},
		{"set_count", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(a[0]) + 1)
			return s["count"]
		}, Assigned},
		{"set_count", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value {
			s["count"] = a[0]
			return object.None{}
		}, Answers},
		{"increment_count", two, nil, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) + 1)
			return num(n(s["count"]) + 7)
		}, NewValue},
		{"total_scores", numbers, nil, func(s slots, a []object.Value) object.Value {
			v, _ := numbersOf(s["scores"])
			return num(int64(total(v)))
		}, ""},
		{"total_scores", numbers, nil, func(s slots, a []object.Value) object.Value { return num(int64(len(itemsOf(s["scores"])))) }, Aggregate},
		{"count_scores_above", numbers, []object.Value{num(3)}, above3(func(x, y int64) bool { return x > y }), ""},
		{"count_scores_above", numbers, []object.Value{num(3)}, above3(func(x, y int64) bool { return x >= y }), Threshold},
		{"count_scores_above", numbers, []object.Value{num(3)}, above3(func(x, y int64) bool { return x < y }), Threshold},
		{"count_scores", numbers, nil, func(s slots, a []object.Value) object.Value { return num(int64(len(itemsOf(s["scores"])) + 1)) }, Nothing},
		{"has_scores", numbers, nil, func(s slots, a []object.Value) object.Value { return num(int64(len(itemsOf(s["scores"])))) }, AnswerKind},
		{"add_score", numbers, []object.Value{num(5)}, func(s slots, a []object.Value) object.Value {
			s["scores"] = list(append(append([]object.Value(nil), itemsOf(s["scores"])...), num(77))...)
			return s["scores"]
		}, Joined},
		{"clear_scores", numbers, nil, func(s slots, a []object.Value) object.Value {
			s["scores"] = list(num(0))
			return s["scores"]
		}, Emptied},
		{"frobnicate", two, []object.Value{num(1)}, func(s slots, a []object.Value) object.Value { return s["count"] }, ArgumentsUsed},
		// Right methods that checks once turned down.
		{"is_count_huge", two, nil, func(s slots, a []object.Value) object.Value { return object.Bool(n(s["count"]) > 1_000_000) }, ""},
		{"is_huge", two, []object.Value{num(1)}, func(s slots, a []object.Value) object.Value { return object.Bool(n(a[0]) > 1_000_000) }, ""},
		{"count_down", two, nil, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) - 1)
			return s["count"]
		}, ""},
		{"have_birthday", two, nil, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) + 1)
			return s["count"]
		}, ""},
		{"put_count_before", two, []object.Value{num(2)}, func(s slots, a []object.Value) object.Value { return num(10*n(a[0]) + n(s["count"])) }, ""},
		{"get_older", two, nil, func(s slots, a []object.Value) object.Value {
			s["count"] = num(n(s["count"]) + 1)
			return s["count"]
		}, ""},
		{"scores_from", numbers, []object.Value{num(3)}, above3(func(x, y int64) bool { return x == y }), ""},
	} {
		s := Subject{Selector: batos.Selector(c.sel), Slots: c.slots, Args: c.args}
		got := ""
		if f := Judge(s, doing(s, c.m)); f != nil {
			got = f.Check
			if f.Text == "" || batos.CodeOf(f.Err()) != batos.Refused {
				t.Errorf("%s: %q, %v", c.sel, f.Text, f.Err())
			}
		}
		if got != c.want {
			t.Errorf("%s: found %q, want %q", c.sel, got, c.want)
		}
	}
}

func above3(of func(x, y int64) bool) func(slots, []object.Value) object.Value {
	return func(s slots, a []object.Value) object.Value {
		k := int64(0)
		for _, it := range itemsOf(s["scores"]) {
			if of(n(it), n(a[0])) {
				k++
			}
		}
		return num(k)
	}
}

func TestCompareAndTests(t *testing.T) {
	s := Subject{Selector: "bonus", Slots: []object.Slot{slot("count", num(3))}, Args: []object.Value{num(4)}}
	times := doing(s, func(sl slots, a []object.Value) object.Value { return num(n(sl["count"]) * n(a[0])) })
	plus := doing(s, func(sl slots, a []object.Value) object.Value { return num(n(sl["count"]) + n(a[0])) })
	if f := Compare(s, times, times); f != nil {
		t.Error(f)
	}
	if f := Compare(s, times, plus); f == nil || f.Check != SecondOpinion {
		t.Errorf("%v", f)
	}
	tests, err := ReadTests(s, `{"slots": {"count": 3}, "args": [4], "want": 12, "after": {"count": 3}}`)
	if err != nil || len(tests) != 1 || len(tests[0].Slots) != 1 {
		t.Fatalf("%+v, %v", tests, err)
	}
	if f := tests[0].Hold(s, &times[0]); f != nil {
		t.Error(f)
	}
	if f := tests[0].Hold(s, &plus[0]); f == nil || f.Check != Expected {
		t.Errorf("%v", f)
	}
	for _, bad := range []string{"", "[", `{"args": []}`, `{"slots": {"gold": 1}, "args": [1]}`, `{"tests": [1]}`} {
		if _, err := ReadTests(s, bad); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestProbesFollowFromTheSubject(t *testing.T) {
	s := Subject{Selector: "find_price_of", Slots: []object.Slot{
		slot("prices", &object.Dict{Entries: []object.Entry{{Key: object.Str("tea"), Value: num(3)}, {Key: object.Str("milk"), Value: num(2)}}}),
		slot("open", object.Bool(true)),
	}, Args: []object.Value{object.Str("tea")}}
	a, b := Probes(s), Probes(s)
	if len(a) != len(b) || len(a) < 20 || len(a) > maxProbes {
		t.Fatalf("%d and %d probes", len(a), len(b))
	}
	held, absent := false, false
	for i := range a {
		for j := range a[i].Args {
			if !same(a[i].Args[j], b[i].Args[j]) {
				t.Fatal("two runs differ")
			}
			held = held || same(a[i].Args[j], object.Str("milk"))
			absent = absent || same(a[i].Args[j], object.Str("kilo"))
		}
	}
	if !held || !absent {
		t.Error("no probe with a key that is there, or none with one that is not")
	}
	if len(a[0].Slots) > 0 || !same(a[0].Args[0], s.Args[0]) {
		t.Error("the first probe is not the message itself")
	}
}
