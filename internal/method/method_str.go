package method

import (
	"fmt"
	"strings"
	"unicode"

	"go.starlark.net/starlark"
)

type strMethod func(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

// strMethods wrap the interpreter's own, which do not know of limits: what a
// call will allocate is estimated from above and charged before it is made.
var strMethods = map[string]strMethod{
	"capitalize":     strCost("capitalize", cased),
	"codepoint_ords": strCost("codepoint_ords", constant),
	"codepoints":     strCost("codepoints", constant),
	"count":          strCost("count", scanned),
	"elem_ords":      strCost("elem_ords", constant),
	"elems":          strCost("elems", constant),
	"endswith":       strCost("endswith", constant),
	"find":           strCost("find", scanned),
	"format":         strFormat,
	"index":          strCost("index", scanned),
	"isalnum":        strCost("isalnum", scanned),
	"isalpha":        strCost("isalpha", scanned),
	"isdigit":        strCost("isdigit", scanned),
	"islower":        strCost("islower", scanned),
	"isspace":        strCost("isspace", scanned),
	"istitle":        strCost("istitle", scanned),
	"isupper":        strCost("isupper", scanned),
	"join":           strJoin,
	"lower":          strCost("lower", cased),
	"lstrip":         strStrip("lstrip"),
	"partition":      strCost("partition", scanned),
	"removeprefix":   strCost("removeprefix", constant),
	"removesuffix":   strCost("removesuffix", constant),
	"replace":        strReplace,
	"rfind":          strCost("rfind", scanned),
	"rindex":         strCost("rindex", scanned),
	"rpartition":     strCost("rpartition", scanned),
	"rsplit":         strSplit("rsplit"),
	"rstrip":         strStrip("rstrip"),
	"split":          strSplit("split"),
	"splitlines":     strCost("splitlines", func(r *Run, s string) error { return r.pieces(s, strings.Count(s, "\n")+strings.Count(s, "\r")) }),
	"startswith":     strCost("startswith", constant),
	"strip":          strStrip("strip"),
	"title":          strCost("title", cased),
	"upper":          strCost("upper", cased),
}

func strCost(name string, cost func(*Run, string) error) strMethod {
	return func(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := cost(r, string(s)); err != nil {
			return nil, err
		}
		return r.native(s, name, args, kwargs)
	}
}

// constant is for what looks at a few characters, scanned for what reads all,
// cased for what writes it anew; a letter can grow threefold.
func constant(r *Run, s string) error { return r.charge(2 * listCost) }
func scanned(r *Run, s string) error {
	if err := r.charge(2 * listCost); err != nil {
		return err
	}
	return r.work(len(s) / bytesPerStep)
}
func cased(r *Run, s string) error { return r.text(len(s) + 2*nonASCII(s)) }

func nonASCII(s string) (n int) {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			n++
		}
	}
	return n
}

// pieces charges cutting s in n places.
func (r *Run) pieces(s string, n int) error {
	if err := r.work(len(s) / bytesPerStep); err != nil {
		return err
	}
	return r.charge(listCost + mul(2*cellCost+stringCost, n+1))
}

func strSplit(name string) strMethod {
	return func(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		n := 0
		if sep, ok := separator(args, kwargs); ok && sep != "" {
			n = strings.Count(string(s), sep)
		} else {
			for _, c := range string(s) {
				if unicode.IsSpace(c) {
					n++
				}
			}
		}
		if err := r.pieces(string(s), n); err != nil {
			return nil, err
		}
		return r.native(s, name, args, kwargs)
	}
}

// strStrip charges the set of characters for every character of s, which is
// what looking for any but ASCII takes.
func strStrip(name string) strMethod {
	return func(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := scanned(r, string(s)); err != nil {
			return nil, err
		}
		if len(args) == 1 {
			if set, ok := args[0].(starlark.String); ok && nonASCII(string(set)) > 0 {
				if err := r.work(mul(len(s), len(set)) / bytesPerStep); err != nil {
					return nil, err
				}
			}
		}
		return r.native(s, name, args, kwargs)
	}
}

func separator(args starlark.Tuple, kwargs []starlark.Tuple) (string, bool) {
	if len(args) > 0 {
		return starlark.AsString(args[0])
	}
	for _, kv := range kwargs {
		if kv[0] == starlark.Value(starlark.String("sep")) {
			return starlark.AsString(kv[1])
		}
	}
	return "", false
}

func strJoin(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var parts starlark.Value
	if err := starlark.UnpackPositionalArgs("join", args, kwargs, 1, &parts); err != nil {
		return nil, err
	}
	items, err := r.collect("join", parts)
	if err != nil {
		return nil, err
	}
	n := mul(len(s), len(items))
	for i, v := range items {
		t, ok := v.(starlark.String)
		if !ok {
			return nil, fmt.Errorf("join: element %d is a %s, not a string", i, v.Type())
		}
		n += len(t)
	}
	if err := r.text(n); err != nil {
		return nil, err
	}
	var b strings.Builder
	b.Grow(n)
	for i, v := range items {
		if i > 0 {
			b.WriteString(string(s))
		}
		b.WriteString(string(v.(starlark.String)))
	}
	return starlark.String(b.String()), nil
}

func strReplace(r *Run, s starlark.String, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var old, by string
	count := -1
	if err := starlark.UnpackPositionalArgs("replace", args, kwargs, 2, &old, &by, &count); err != nil {
		return nil, err
	}
	if err := r.work(len(s) / bytesPerStep); err != nil {
		return nil, err
	}
	n := strings.Count(string(s), old)
	if count >= 0 {
		n = min(n, count)
	}
	if err := r.text(max(0, len(s)+mul(n, len(by))-mul(n, len(old)))); err != nil {
		return nil, err
	}
	return starlark.String(strings.Replace(string(s), old, by, count)), nil
}
