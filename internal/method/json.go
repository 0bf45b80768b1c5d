package method

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"batos"
)

// jsonEncode is json.encode(x): dicts with string keys, which are sorted,
// lists, tuples, strings, numbers, booleans and None.
func jsonEncode(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x starlark.Value
	if err := starlark.UnpackPositionalArgs("json.encode", args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	e := jsonEncoder{run: r}
	if err := e.value(x, 0); err != nil {
		return nil, err
	}
	return starlark.String(e.out.String()), nil
}

type jsonEncoder struct {
	run *Run
	out strings.Builder
}

// write charges and appends; the factor covers the growth of the buffer.
func (e *jsonEncoder) write(s string) error {
	if e.out.Len()+len(s) > maxText {
		return e.run.text(e.out.Len() + len(s))
	}
	if err := e.run.charge(2*len(s) + 1); err != nil {
		return err
	}
	e.out.WriteString(s)
	return nil
}

func (e *jsonEncoder) value(v starlark.Value, depth int) error {
	if depth > maxPrint {
		return e.run.stop(batos.Errorf(batos.Limit, "json.encode: a value nested more than %d deep", maxPrint))
	}
	if err := e.run.work(1); err != nil {
		return err
	}
	switch v := v.(type) {
	case starlark.NoneType:
		return e.write("null")
	case starlark.Bool:
		if v {
			return e.write("true")
		}
		return e.write("false")
	case starlark.Int:
		return e.write(v.String())
	case starlark.Float:
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("json.encode: %s has no JSON form", v)
		}
		return e.write(v.String())
	case starlark.String:
		return e.text(string(v))
	case *starlark.List:
		return e.array(v.Len(), v.Index, depth)
	case starlark.Tuple:
		return e.array(len(v), v.Index, depth)
	case *starlark.Dict:
		return e.object(v, depth)
	}
	return fmt.Errorf("json.encode: a %s has no JSON form", v.Type())
}

func (e *jsonEncoder) text(s string) error {
	if err := e.run.text(6*nonASCII(s) + quotedLen(s)); err != nil {
		return err
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("json.encode: %w", err)
	}
	return e.write(strings.TrimSuffix(b.String(), "\n"))
}

func (e *jsonEncoder) array(n int, at func(int) starlark.Value, depth int) error {
	if err := e.write("["); err != nil {
		return err
	}
	for i := range n {
		if i > 0 {
			if err := e.write(","); err != nil {
				return err
			}
		}
		if err := e.value(at(i), depth+1); err != nil {
			return err
		}
	}
	return e.write("]")
}

func (e *jsonEncoder) object(d *starlark.Dict, depth int) error {
	if err := e.run.charge(mul(4*cellCost, d.Len())); err != nil {
		return err
	}
	items := d.Items()
	for _, kv := range items {
		if _, ok := kv[0].(starlark.String); !ok {
			return fmt.Errorf("json.encode: a dict has a %s for a key, want strings", kv[0].Type())
		}
	}
	if err := e.run.work(len(items)); err != nil {
		return err
	}
	slices.SortFunc(items, func(a, b starlark.Tuple) int {
		return strings.Compare(string(a[0].(starlark.String)), string(b[0].(starlark.String)))
	})
	for i, kv := range items {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		if err := e.write(sep); err != nil {
			return err
		}
		if err := e.text(string(kv[0].(starlark.String))); err != nil {
			return err
		}
		if err := e.write(":"); err != nil {
			return err
		}
		if err := e.value(kv[1], depth+1); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		return e.write("{}")
	}
	return e.write("}")
}

// jsonDecode is json.decode(text, default=…): the default is answered for a
// text that is not JSON.
func jsonDecode(r *Run, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var s string
	var def starlark.Value
	if err := starlark.UnpackArgs("json.decode", args, kwargs, "x", &s, "default?", &def); err != nil {
		return nil, err
	}
	if err := r.text(len(s)); err != nil {
		return nil, err
	}
	d := jsonDecoder{run: r, in: json.NewDecoder(strings.NewReader(s))}
	d.in.UseNumber()
	v, err := d.document()
	var own *batos.Error
	if err != nil && def != nil && !errors.As(err, &own) {
		return def, nil
	}
	return v, err
}

type jsonDecoder struct {
	run *Run
	in  *json.Decoder
}

func (d *jsonDecoder) document() (starlark.Value, error) {
	tok, err := d.token()
	if err != nil {
		return nil, err
	}
	v, err := d.value(tok, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.in.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("json.decode: more after the value, at byte %d", d.in.InputOffset())
	}
	return v, nil
}

func (d *jsonDecoder) token() (json.Token, error) {
	if err := d.run.charge(2 * cellCost); err != nil {
		return nil, err
	}
	tok, err := d.in.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("json.decode: at byte %d: %w", d.in.InputOffset(), err)
	}
	return tok, nil
}

func (d *jsonDecoder) value(tok json.Token, depth int) (starlark.Value, error) {
	if depth > maxPrint {
		return nil, d.run.stop(batos.Errorf(batos.Limit, "json.decode: a value nested more than %d deep", maxPrint))
	}
	switch t := tok.(type) {
	case nil:
		return starlark.None, nil
	case bool:
		return starlark.Bool(t), nil
	case string:
		return starlark.String(t), d.run.text(len(t))
	case json.Number:
		return d.number(string(t))
	case json.Delim:
		if t == '[' {
			return d.array(depth)
		}
		return d.object(depth)
	}
	return nil, fmt.Errorf("json.decode: unexpected %v", tok)
}

func (d *jsonDecoder) number(s string) (starlark.Value, error) {
	if !strings.ContainsAny(s, ".eE") {
		if len(s) > maxBits/3 {
			return nil, d.run.stop(batos.Errorf(batos.Limit, "an integer in a method has at most %d bits", maxBits))
		}
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			return nil, fmt.Errorf("json.decode: %q is not a number", shorten(s))
		}
		return starlark.MakeBigInt(n), d.run.charge(len(s) / 2)
	}
	f, err := json.Number(s).Float64()
	if err != nil {
		return nil, fmt.Errorf("json.decode: %q is out of range", shorten(s))
	}
	return starlark.Float(f), nil
}

func (d *jsonDecoder) array(depth int) (starlark.Value, error) {
	if err := d.run.charge(listCost); err != nil {
		return nil, err
	}
	var items []starlark.Value
	for {
		tok, err := d.token()
		if err != nil {
			return nil, err
		}
		if tok == json.Delim(']') {
			return starlark.NewList(items), nil
		}
		v, err := d.value(tok, depth+1)
		if err != nil {
			return nil, err
		}
		if err := d.run.charge(cellCost); err != nil {
			return nil, err
		}
		items = append(items, v)
	}
}

func (d *jsonDecoder) object(depth int) (starlark.Value, error) {
	if err := d.run.charge(dictCost); err != nil {
		return nil, err
	}
	out := new(starlark.Dict)
	for {
		key, err := d.token()
		if err != nil {
			return nil, err
		}
		if key == json.Delim('}') {
			return out, nil
		}
		name, _ := key.(string) // the decoder answers nothing else for a key
		tok, err := d.token()
		if err != nil {
			return nil, err
		}
		v, err := d.value(tok, depth+1)
		if err != nil {
			return nil, err
		}
		if err := d.run.charge(entryCost + len(name)); err != nil {
			return nil, err
		}
		if err := d.run.setKey(out, starlark.String(name), v); err != nil {
			return nil, err
		}
	}
}
