package mind

import (
	"encoding/json"
	"strconv"
	"strings"

	"batos"
)

// Specialist is a profile of a model that does some kinds of work well only
// with the adapter of the persona whose work it is.
type Specialist interface {
	// NeedsAdapter reports whether the profile composes and reads this kind,
	// and its model is to be asked only with the adapter of [PersonaOf] it.
	NeedsAdapter(kind Kind) bool
}

var _ Specialist = Seed{}

// PersonaOf names the persona whose work a kind is, "" for an unknown kind.
func PersonaOf(kind Kind) string {
	switch kind {
	case Method, Plan:
		return "BRICK"
	case Describe, Layout:
		return "ROBIN"
	case Requirements:
		return "BABS"
	case Tests:
		return "ALFRED"
	}
	return ""
}

// NeedsAdapter is true for all that [Seed.Serves] is not: the seed model has
// read a little of that work, and its adapters much.
func (s Seed) NeedsAdapter(kind Kind) bool { return !s.Serves(kind) && PersonaOf(kind) != "" }

// work puts the names back into an answer that is no method. What comes out is
//
//	plan          {"facets": ["slots", "arguments"], "reads": [slot…], "changes": [slot…], "answers": type}, the type
//	              being number, text, flag, list, dict, view, nothing or any
//	requirements  [{"slot": name, "type": "[n]", "fact": "count", "view": "number"}…]: "type" is one of SeedType;
//	              "fact" is missing where it is the slot's value, "sum" or "largest" else; the view "title" wants
//	              the slot's text as title; of a table of records "columns" lists the fields, "key" is the one
//	              that names them, and "numbers" are those with numbers
//	layout        {"view": "panel", "title": text, "children": [{"view": …, "label": text, "slot": name}…]}, with
//	              "title_slot" for "title" and "fact" in a child as in requirements
//	tests         {"slots": {name: value…}, "args": [value…], "want": value, "after": {name: value…}}
//	describe      a sentence, and one about what it changes
//
// An answer of another form is invalid, one that names a slot that there is
// not refused.
func (n *seedNames) work(kind Kind, text string) (string, error) {
	if kind == Describe {
		return n.sentence(text)
	}
	open := "{"
	if kind == Requirements {
		open = "["
	}
	if !strings.HasPrefix(text, open) || !json.Valid([]byte(text)) {
		return "", batos.Errorf(batos.Invalid, "what the model wrote is not of the kind %q", kind)
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '"' {
			b.WriteByte(text[i])
			i++
			continue
		}
		j := i + 1
		for text[j] != '"' { // valid JSON: every text ends
			if text[j] == '\\' {
				j++
			}
			j++
		}
		literal := text[i+1 : j]
		i = j + 1
		key := strings.HasPrefix(strings.TrimLeft(text[i:], " "), ":")
		if kind == Tests && !key { // values are the model's own, also "$8"
			b.WriteString(`"` + literal + `"`)
			continue
		}
		name, err := n.literal(literal)
		if err != nil {
			return "", err
		}
		b.WriteString(`"` + name + `"`)
	}
	return b.String(), nil
}

// literal gives what a JSON text stands for: the name, if it is an alias.
func (n *seedNames) literal(s string) (string, error) {
	if s == "%~" {
		return jsonName(n.receiver), nil
	}
	if len(s) < 2 || !strings.ContainsRune("$%#", rune(s[0])) {
		return s, nil
	}
	k, err := strconv.Atoi(s[1:])
	if err != nil {
		return s, nil
	}
	name, err := n.plainName(s[0], k)
	return jsonName(name), err
}

func jsonName(name string) string {
	b, err := json.Marshal(name)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

func (n *seedNames) plainName(kind byte, k int) (string, error) {
	names := n.slots
	if kind == '#' {
		names = n.fields
	}
	if k < 0 || k >= len(names) {
		return "", batos.Errorf(batos.Refused, "the model named a slot or field that there is not: %c%d", kind, k)
	}
	return names[k], nil
}

// sentence puts names into a sentence.
func (n *seedNames) sentence(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); {
		c := text[i]
		if (c == '$' || c == '#') && i+1 < len(text) && isDigit(text[i+1]) {
			k, size := number(text[i+1:])
			name, err := n.plainName(c, k)
			if err != nil {
				return "", err
			}
			b.WriteString(name)
			i += 1 + size
			continue
		}
		b.WriteByte(c)
		i++
	}
	out := strings.TrimSpace(b.String())
	if out == "" || strings.Contains(out, "\n") {
		return "", batos.Errorf(batos.Invalid, "the model's answer is no sentence")
	}
	return out, nil
}
