package seedmind

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"batos"
	"batos/object"
)

// parseValues reads JSON values one after the other. Numbers with a point or
// an exponent are floats.
func parseValues(text string) ([]object.Value, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var out []object.Value
	for {
		v, err := parseValue(d)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, batos.Errorf(batos.Invalid, "%q: %w", text, err)
		}
		out = append(out, v)
	}
}

// parseValue reads one value; dicts keep the order of their keys.
func parseValue(d *json.Decoder) (object.Value, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			l := &object.List{}
			for d.More() {
				v, err := parseValue(d)
				if err != nil {
					return nil, unexpected(err)
				}
				l.Items = append(l.Items, v)
			}
			_, err := d.Token()
			return l, unexpected(err)
		}
		m := &object.Dict{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, unexpected(err)
			}
			v, err := parseValue(d)
			if err != nil {
				return nil, unexpected(err)
			}
			m.Entries = append(m.Entries, object.Entry{Key: object.Str(k.(string)), Value: v}) // keys are strings in JSON
		}
		_, err := d.Token()
		return m, unexpected(err)
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return object.NewInt(i), nil
		}
		f, err := t.Float64()
		return object.Float(f), err
	case string:
		return object.Str(t), nil
	case bool:
		return object.Bool(t), nil
	}
	return object.None{}, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// same reports whether two values are equal to a person: 2 and 2.0 are, and so
// are floats that differ by rounding; a tuple is a list.
func same(a, b object.Value) bool {
	if x, ok := a.(object.Int); ok {
		if y, ok := b.(object.Int); ok {
			return x.Big().Cmp(y.Big()) == 0
		}
	}
	if x, ok := asFloat(a); ok {
		y, ok := asFloat(b)
		return ok && (x == y || math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y)))
	}
	if x, ok := sequence(a); ok {
		y, ok := sequence(b)
		return ok && slices.EqualFunc(x, y, same)
	}
	if x, ok := a.(*object.Dict); ok {
		y, ok := b.(*object.Dict)
		return ok && len(x.Entries) == len(y.Entries) && !slices.ContainsFunc(x.Entries, func(e object.Entry) bool {
			return !slices.ContainsFunc(y.Entries, func(o object.Entry) bool { return same(e.Key, o.Key) && same(e.Value, o.Value) })
		})
	}
	return a == b
}

func asFloat(v object.Value) (float64, bool) {
	switch v := v.(type) {
	case object.Int:
		i, ok := v.Int64()
		return float64(i), ok
	case object.Float:
		return float64(v), true
	}
	return 0, false
}

func sequence(v object.Value) ([]object.Value, bool) {
	switch v := v.(type) {
	case *object.List:
		return v.Items, true
	case *object.Tuple:
		return v.Items, true
	}
	return nil, false
}

// valueJSON writes a value as JSON, for test assertions.
func valueJSON(v object.Value) string {
	switch v := v.(type) {
	case object.Bool:
		if v {
			return "true"
		}
		return "false"
	case object.Int:
		return v.Big().String()
	case object.Float:
		b, err := json.Marshal(float64(v))
		if err != nil {
			return "null" // a value that JSON cannot write
		}
		return string(b)
	case object.Str:
		b, _ := json.Marshal(string(v)) // a string always encodes
		return string(b)
	case *object.List:
		parts := make([]string, len(v.Items))
		for i, it := range v.Items {
			parts[i] = valueJSON(it)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *object.Dict:
		parts := make([]string, len(v.Entries))
		for i, e := range v.Entries {
			parts[i] = valueJSON(e.Key) + ": " + valueJSON(e.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return "null"
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
