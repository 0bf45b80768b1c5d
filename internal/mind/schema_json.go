package mind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ordered is a JSON object with its keys in the order of the text.
type ordered []property

type property struct {
	name  string
	value any
}

func (o ordered) has(name string) bool {
	return slices.ContainsFunc(o, func(e property) bool { return e.name == name })
}

func (o ordered) get(name string) any {
	for _, e := range o {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// decodeOrdered reads JSON; objects become ordered, numbers json.Number. A key
// that comes twice is refused.
func decodeOrdered(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the value")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > 2*maxSchemaDepth {
		return nil, fmt.Errorf("it is nested too deep")
	}
	switch t {
	case json.Delim('{'):
		o := ordered{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if slices.ContainsFunc(o, func(e property) bool { return e.name == name }) {
				return nil, fmt.Errorf("the key %.40q comes twice", name)
			}
			o = append(o, property{name, v})
		}
		_, err := d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

// encodeOrdered writes a value compactly, keys in order.
func encodeOrdered(v any) string {
	switch v := v.(type) {
	case ordered:
		var parts []string
		for _, e := range v {
			parts = append(parts, encodeOrdered(e.name)+":"+encodeOrdered(e.value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, encodeOrdered(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // of text, number, truth value or null
	return strings.TrimSuffix(b.String(), "\n")
}

// schemaText is the schema of an object with these properties, all of them
// required and no others.
func schemaText(props ...property) string {
	var names []any
	var all ordered
	for _, p := range props {
		names = append(names, p.name)
		b, err := json.Marshal(p.value)
		if err != nil {
			continue // maps, texts and numbers have no error
		}
		v, err := decodeOrdered(string(b))
		if err == nil {
			all = append(all, property{p.name, v})
		}
	}
	return encodeOrdered(ordered{{"type", "object"}, {"properties", all}, {"required", names}, {"additionalProperties", false}})
}
