package method

import (
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

type (
	listMethod func(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
	dictMethod func(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
	setMethod  func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)
)

var listMethods = map[string]listMethod{
	"append": listAppend,
	"clear":  listClear,
	"copy":   listCopy,
	"count":  listCount,
	"extend": listExtend,
	"index":  listIndex,
	"insert": listInsert,
	"pop":    listPop,
	"remove": listRemove,
	"reverse": func(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := starlark.UnpackArgs("reverse", args, kwargs); err != nil {
			return nil, err
		}
		return r.reorder(l, func(vs []starlark.Value) ([]starlark.Value, error) {
			for i, j := 0, len(vs)-1; i < j; i, j = i+1, j-1 {
				vs[i], vs[j] = vs[j], vs[i]
			}
			return vs, nil
		})
	},
	"sort": func(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		key, reverse, err := sortArgs("sort", args, kwargs)
		if err != nil {
			return nil, err
		}
		return r.reorder(l, func(vs []starlark.Value) ([]starlark.Value, error) { return r.sort(vs, key, reverse) })
	},
}

func listAppend(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v starlark.Value
	if err := starlark.UnpackPositionalArgs("append", args, kwargs, 1, &v); err != nil {
		return nil, err
	}
	if err := r.charge(cellCost + ownSize(v)); err != nil {
		return nil, err
	}
	if err := r.changing(l); err != nil {
		return nil, err
	}
	if err := l.Append(v); err != nil {
		return nil, err
	}
	return starlark.None, r.gained(l, v)
}

func listClear(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.changing(l); err != nil {
		return nil, err
	}
	return r.native(l, "clear", args, kwargs)
}

func listCopy(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("copy", args, kwargs); err != nil {
		return nil, err
	}
	vs, err := r.collect("copy", l)
	return starlark.NewList(vs), err
}

func listCount(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("count", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	n := 0
	for from := 0; ; n++ {
		at, found, err := r.find(l, x, from, l.Len())
		if !found || err != nil {
			return starlark.MakeInt(n), err
		}
		from = at + 1
	}
}

func listExtend(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var more starlark.Value
	if err := starlark.UnpackPositionalArgs("extend", args, kwargs, 1, &more); err != nil {
		return nil, err
	}
	return starlark.None, r.extend(l, more)
}

func listIndex(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	var lo, hi starlark.Value = starlark.None, starlark.None
	if err := starlark.UnpackPositionalArgs("index", args, kwargs, 1, &x, &lo, &hi); err != nil {
		return nil, err
	}
	from, to, _, _, err := bounds(l.Len(), lo, hi, starlark.None)
	if err != nil {
		return nil, err
	}
	at, found, err := r.find(l, x, from, to)
	if err == nil && !found {
		err = fmt.Errorf("index: value not in list")
	}
	return starlark.MakeInt(at), err
}

func listInsert(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.charge(cellCost); err != nil {
		return nil, err
	}
	if err := r.work(l.Len() / bytesPerStep); err != nil {
		return nil, err
	}
	if err := r.changing(l); err != nil {
		return nil, err
	}
	v, err := r.native(l, "insert", args, kwargs)
	if err != nil {
		return nil, err
	}
	return v, r.gained(l, args[1])
}

func listPop(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.work(l.Len() / bytesPerStep); err != nil {
		return nil, err
	}
	if err := r.changing(l); err != nil {
		return nil, err
	}
	return r.native(l, "pop", args, kwargs)
}

func listRemove(r *Run, l *starlark.List, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("remove", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	at, found, err := r.find(l, x, 0, l.Len())
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("remove: value not in list")
	}
	if _, err := listPop(r, l, starlark.Tuple{starlark.MakeInt(at)}, nil); err != nil {
		return nil, err
	}
	return starlark.None, nil
}

// reorder changes the order of l's elements in place.
func (r *Run) reorder(l *starlark.List, f func([]starlark.Value) ([]starlark.Value, error)) (starlark.Value, error) {
	vs, err := r.collect("list", l)
	if err != nil {
		return nil, err
	}
	if err := r.changing(l); err != nil {
		return nil, err
	}
	if vs, err = f(vs); err != nil {
		return nil, err
	}
	for i, v := range vs {
		if err := l.SetIndex(i, v); err != nil {
			return nil, err
		}
	}
	return starlark.None, nil
}

var dictMethods = map[string]dictMethod{
	"clear":      dictClear,
	"copy":       dictCopy,
	"get":        dictGet,
	"items":      dictItems,
	"keys":       dictKeys,
	"pop":        dictPop,
	"popitem":    dictPopItem,
	"setdefault": dictSetDefault,
	"update":     dictUpdate,
	"values":     dictValues,
}

func dictClear(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.changing(d); err != nil {
		return nil, err
	}
	return r.native(d, "clear", args, kwargs)
}

func dictCopy(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("copy", args, kwargs); err != nil {
		return nil, err
	}
	if err := r.charge(dictCost); err != nil {
		return nil, err
	}
	c := starlark.NewDict(d.Len())
	return c, r.update(c, d)
}

func dictGet(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var k starlark.Value
	var def starlark.Value = starlark.None
	if err := starlark.UnpackPositionalArgs("get", args, kwargs, 1, &k, &def); err != nil {
		return nil, err
	}
	if err := r.work(keyWork(k)); err != nil {
		return nil, err
	}
	v, found, err := d.Get(k)
	if err != nil || found {
		return v, err
	}
	return def, nil
}

func dictItems(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("items", args, kwargs); err != nil {
		return nil, err
	}
	if err := r.charge(listCost + mul(listCost+3*cellCost, d.Len())); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, 0, d.Len())
	for k, v := range d.Entries() {
		pair := starlark.Tuple{k, v}
		if err := r.tuple(pair); err != nil {
			return nil, err
		}
		out = append(out, pair)
	}
	return starlark.NewList(out), nil
}

func dictKeys(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("keys", args, kwargs); err != nil {
		return nil, err
	}
	vs, err := r.collect("keys", d)
	return starlark.NewList(vs), err
}

func dictPop(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.changing(d); err != nil {
		return nil, err
	}
	return r.native(d, "pop", args, kwargs)
}

func dictPopItem(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := r.changing(d); err != nil {
		return nil, err
	}
	v, err := r.native(d, "popitem", args, kwargs)
	if err != nil {
		return nil, err
	}
	return r.newTuple(v.(starlark.Tuple))
}

func dictSetDefault(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var k starlark.Value
	var def starlark.Value = starlark.None
	if err := starlark.UnpackPositionalArgs("setdefault", args, kwargs, 1, &k, &def); err != nil {
		return nil, err
	}
	if err := r.work(keyWork(k)); err != nil {
		return nil, err
	}
	v, found, err := d.Get(k)
	if err != nil || found {
		return v, err
	}
	return def, r.setItem(d, k, def)
}

func dictUpdate(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	more, err := r.newDict("update", args, kwargs)
	if err != nil {
		return nil, err
	}
	return starlark.None, r.update(d, more)
}

func dictValues(r *Run, d *starlark.Dict, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := starlark.UnpackArgs("values", args, kwargs); err != nil {
		return nil, err
	}
	if err := r.charge(listCost + mul(cellCost, d.Len())); err != nil {
		return nil, err
	}
	out := make([]starlark.Value, 0, d.Len())
	for _, v := range d.Entries() {
		out = append(out, v)
	}
	return starlark.NewList(out), nil
}

var setMethods = map[string]setMethod{
	"add": func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var v starlark.Value
		if err := starlark.UnpackPositionalArgs("add", args, kwargs, 1, &v); err != nil {
			return nil, err
		}
		if err := r.charge(entryCost + ownSize(v)); err != nil {
			return nil, err
		}
		if err := r.changing(s); err != nil {
			return nil, err
		}
		if err := r.insert(s, v); err != nil {
			return nil, err
		}
		return starlark.None, r.gained(s, v)
	},
	"clear":                setChange("clear"),
	"discard":              setChange("discard"),
	"pop":                  setChange("pop"),
	"remove":               setChange("remove"),
	"copy":                 setCombine("copy", syntax.PIPE),
	"union":                setCombine("union", syntax.PIPE),
	"difference":           setCombine("difference", syntax.MINUS),
	"intersection":         setCombine("intersection", syntax.AMP),
	"symmetric_difference": setCombine("symmetric_difference", syntax.CIRCUMFLEX),
	"issubset":             setRelation("issubset", syntax.LE),
	"issuperset":           setRelation("issuperset", syntax.GE),
	"update": func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if len(kwargs) > 0 {
			return nil, fmt.Errorf("update: unexpected keyword arguments")
		}
		for _, a := range args {
			t, err := r.newSet("update", a)
			if err != nil {
				return nil, err
			}
			if err := r.updateSet(syntax.PIPE, s, t); err != nil {
				return nil, err
			}
		}
		return starlark.None, nil
	},
}

// setChange is a method that only takes out.
func setChange(name string) setMethod {
	return func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, a := range args {
			if err := r.work(keyWork(a)); err != nil {
				return nil, err
			}
		}
		if err := r.changing(s); err != nil {
			return nil, err
		}
		return r.native(s, name, args, kwargs)
	}
}

// setCombine makes a new set of s and any number of iterables.
func setCombine(name string, op syntax.Token) setMethod {
	return func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if len(kwargs) > 0 {
			return nil, fmt.Errorf("%s: unexpected keyword arguments", name)
		}
		var out starlark.Value = s
		if len(args) == 0 {
			return r.binary(syntax.PIPE, s, starlark.NewSet(0))
		}
		for _, a := range args {
			t, err := r.newSet(name, a)
			if err != nil {
				return nil, err
			}
			if out, err = r.binary(op, out, t); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}

func setRelation(name string, op syntax.Token) setMethod {
	return func(r *Run, s *starlark.Set, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var other starlark.Value
		if err := starlark.UnpackPositionalArgs(name, args, kwargs, 1, &other); err != nil {
			return nil, err
		}
		t, err := r.newSet(name, other)
		if err != nil {
			return nil, err
		}
		ok, err := r.compare(op, s, t)
		return starlark.Bool(ok), err
	}
}
