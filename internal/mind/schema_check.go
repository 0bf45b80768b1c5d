package mind

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"batos"
)

// CheckForm checks an answer against the request's grammar or schema, for
// engines that could not be held to it, and gives it without a code fence
// around it if it is of the form then. Without either every answer is.
func CheckForm(r Request, text string) (string, error) {
	inside := strings.TrimSpace(unfence(text))
	switch {
	case r.Schema != "":
		return inside, validJSON(r.Schema, inside)
	case r.Grammar != "":
		g, err := ParseGrammar(r.Grammar)
		if err != nil {
			return text, err
		}
		if g.Match(text) == nil {
			return text, nil
		}
		return inside, g.Match(inside)
	}
	return text, nil
}

// validJSON checks that text is JSON that is valid under the schema, with the
// keywords that [SchemaGrammar] knows; properties may come in any order.
func validJSON(schema, text string) error {
	if _, err := SchemaGrammar(schema); err != nil {
		return err
	}
	root, err := decodeOrdered(schema)
	if err != nil {
		return batos.Errorf(batos.Invalid, "JSON schema: %w", err)
	}
	v, err := decodeOrdered(text)
	if err != nil {
		return batos.Errorf(batos.Invalid, "it is not JSON: %w", err)
	}
	if at := invalidAt(root, root, v, "", 0); at != "" {
		return batos.Errorf(batos.Invalid, "%s is not what the schema wants", at)
	}
	return nil
}

// invalidAt gives the place of the first value that is not valid, "" if all
// are.
func invalidAt(root, schema, v any, at string, depth int) string {
	here := "the value"
	if at != "" {
		here = at
	}
	s, ok := schema.(ordered)
	if !ok || depth > 4*maxSchemaDepth {
		return map[bool]string{true: "", false: here}[schema == true]
	}
	if ref, ok := s.get("$ref").(string); ok {
		return invalidAt(root, refTarget(root, ref), v, at, depth+1)
	}
	same := func(x any) bool { return encodeOrdered(x) == encodeOrdered(v) }
	if x := s.get("const"); x != nil || s.has("const") {
		if same(x) {
			return ""
		}
		return here
	}
	for _, key := range []string{"enum", "anyOf", "oneOf"} {
		if list, ok := s.get(key).([]any); ok {
			if !slices.ContainsFunc(list, func(x any) bool {
				return key == "enum" && same(x) || key != "enum" && invalidAt(root, x, v, at, depth+1) == ""
			}) {
				return here
			}
			return ""
		}
	}
	types, err := typesOf(s)
	if err != nil || !slices.ContainsFunc(types, func(t string) bool { return hasType(v, t) }) {
		return here
	}
	within := func(n float64, low, high string) bool {
		for key, sign := range map[string]float64{low: 1, high: -1} {
			if b, ok := s.get(key).(json.Number); ok {
				if f, err := b.Float64(); err != nil || sign*(n-f) < 0 {
					return false
				}
			}
		}
		return true
	}
	switch v := v.(type) {
	case string:
		if !within(float64(utf8.RuneCountInString(v)), "minLength", "maxLength") {
			return here
		}
	case json.Number:
		if f, err := v.Float64(); err != nil || !within(f, "minimum", "maximum") {
			return here
		}
	case []any:
		if !within(float64(len(v)), "minItems", "maxItems") {
			return here
		}
		if items := s.get("items"); items != nil {
			for i, x := range v {
				if bad := invalidAt(root, items, x, fmt.Sprintf("%s[%d]", at, i), depth+1); bad != "" {
					return bad
				}
			}
		}
	case ordered:
		return invalidObject(root, s, v, at, here, depth)
	}
	return ""
}

func invalidObject(root any, s, v ordered, at, here string, depth int) string {
	props, _ := s.get("properties").(ordered)
	required, _ := s.get("required").([]any)
	for _, x := range required {
		if name, _ := x.(string); !v.has(name) {
			return here + " without " + name
		}
	}
	for _, e := range v {
		sub, known := props.get(e.name), props.has(e.name)
		if !known {
			sub = s.get("additionalProperties")
			if sub == nil && len(props) == 0 {
				sub = true
			}
			if sub == nil { // as the grammar has it
				sub = false
			}
		}
		place := e.name
		if at != "" {
			place = at + "." + e.name
		}
		if bad := invalidAt(root, sub, e.value, place, depth+1); bad != "" {
			return bad
		}
	}
	return ""
}

func hasType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case json.Number:
		return t == "number" || t == "integer" && !strings.ContainsAny(string(v), ".eE")
	case []any:
		return t == "array"
	case ordered:
		return t == "object"
	}
	return false
}
