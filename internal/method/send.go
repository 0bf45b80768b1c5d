package method

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"

	"batos"
)

// sender is the guard of recv.sel(args…). A program has one for each selector
// it uses. For an object it sends; for a value of the dialect it calls one of
// the methods that tables below list, and no others: what is not listed is
// not metered.
type sender struct {
	sel  batos.Selector
	list listMethod
	dict dictMethod
	set  setMethod
	str  strMethod
}

var _ starlark.Callable = (*sender)(nil)

func newSender(name string) *sender {
	return &sender{sel: batos.Selector(name), list: listMethods[name], dict: dictMethods[name], set: setMethods[name], str: strMethods[name]}
}

func (s *sender) Name() string          { return string(s.sel) }
func (s *sender) String() string        { return "<send " + string(s.sel) + ">" }
func (s *sender) Type() string          { return "builtin_function_or_method" }
func (s *sender) Freeze()               {}
func (s *sender) Truth() starlark.Bool  { return true }
func (s *sender) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable") }

// CallInternal sends to args[0].
func (s *sender) CallInternal(t *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := runOf(t)
	switch x := args[0].(type) {
	case *Object:
		return r.send(x, s.sel, args[1:], kwargs)
	case *starlark.List:
		if s.list != nil {
			return s.list(r, x, args[1:], kwargs)
		}
	case *starlark.Dict:
		if s.dict != nil {
			return s.dict(r, x, args[1:], kwargs)
		}
	case starlark.String:
		if s.str != nil {
			return s.str(r, x, args[1:], kwargs)
		}
	case *starlark.Set:
		if s.set != nil {
			return s.set(r, x, args[1:], kwargs)
		}
	case *Opaque:
		return s.opaque(r, x, args[1:], kwargs)
	}
	f, err := r.attr(args[0], string(s.sel))
	if err != nil {
		return nil, err
	}
	return starlark.Call(t, f, args[1:], kwargs)
}

func (s *sender) opaque(r *Run, x *Opaque, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if !slices.Contains(x.handle.Methods(), string(s.sel)) {
		return nil, fmt.Errorf("a %s has no method %s; it has %v", x.Type(), s.sel, x.handle.Methods())
	}
	return x.handle.Call(r, string(s.sel), args, kwargs)
}

// builtinMethods are the names of all methods of values. Reading one without
// calling it goes through attr.
var builtinMethods = func() map[string]bool {
	all := map[string]bool{"elems": true}
	for n := range listMethods {
		all[n] = true
	}
	for n := range dictMethods {
		all[n] = true
	}
	for n := range setMethods {
		all[n] = true
	}
	for n := range strMethods {
		all[n] = true
	}
	return all
}()

// attr is x.name. A method of a value is answered bound to it, as metered as
// a direct call.
func (r *Run) attr(x starlark.Value, name string) (starlark.Value, error) {
	v, err := r.lookup(x, name)
	if v == nil && err == nil {
		err = fmt.Errorf("%s has no .%s field or method", x.Type(), name)
	}
	return v, err
}

// lookup is attr that answers nil for what is absent.
func (r *Run) lookup(x starlark.Value, name string) (starlark.Value, error) {
	var found bool
	switch x := x.(type) {
	case *Object:
		v, ok, err := x.lookup(name)
		if !ok || err != nil {
			return nil, err
		}
		return v, nil
	case *starlark.List:
		found = listMethods[name] != nil
	case *starlark.Dict:
		found = dictMethods[name] != nil
	case *starlark.Set:
		found = setMethods[name] != nil
	case starlark.String:
		found = strMethods[name] != nil
	case starlark.Bytes:
		return r.elemsOf(x, name)
	case starlark.HasAttrs:
		return x.Attr(name)
	}
	if !found {
		return nil, nil
	}
	if err := r.charge(closureCost); err != nil {
		return nil, err
	}
	s := newSender(name)
	return &guard{name: name, fn: func(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return s.CallInternal(&r.thread, append(starlark.Tuple{x}, args...), kwargs)
	}}, nil
}

// elemsOf is the one method of bytes: its elements as numbers.
func (r *Run) elemsOf(b starlark.Bytes, name string) (starlark.Value, error) {
	if name != "elems" {
		return nil, nil
	}
	return b.Attr(name)
}

// native calls the interpreter's own method.
func (r *Run) native(x starlark.HasAttrs, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f, err := x.Attr(name)
	if err != nil {
		return nil, err
	}
	return f.(*starlark.Builtin).CallInternal(&r.thread, args, kwargs)
}
