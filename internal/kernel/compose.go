package kernel

import (
	"encoding/json"
	"fmt"
	"strings"

	"batos"
	"batos/internal/exec"
	"batos/object"
)

// maxDocstring bounds what is woven into a method, in bytes.
const maxDocstring = 400

// primDocument: document_(source, text) answers the source with text as its
// docstring. A method that has one, or whose head the text does not fit
// behind, stays as it is; so does one for an empty text.
func primDocument(c *exec.Call) (object.Value, error) {
	if err := arity(c, 2, 2); err != nil {
		return nil, err
	}
	return object.Str(document(strOf(c.Args()[0]), strOf(c.Args()[1]))), nil
}

func document(source, text string) string {
	text = strings.Join(strings.Fields(strings.NewReplacer(`\`, `/`, `"`, `'`, "\x00", "").Replace(text)), " ")
	if len(text) > maxDocstring {
		text = strings.ToValidUTF8(text[:maxDocstring], "") + "…"
	}
	head := headEnd(source)
	if text == "" || head < 0 {
		return source
	}
	body := source[head:]
	line, _, _ := strings.Cut(strings.TrimLeft(body, "\n"), "\n")
	code := strings.TrimLeft(line, " \t")
	if code == "" || strings.HasPrefix(code, `"`) || strings.HasPrefix(code, "'") {
		return source
	}
	return source[:head] + line[:len(line)-len(code)] + `"""` + text + `"""` + "\n" + strings.TrimLeft(body, "\n")
}

// headEnd is where the line after a def's head begins, -1 if the body stands
// on the same line or there is no def.
func headEnd(source string) int {
	if !strings.HasPrefix(source, "def ") {
		return -1
	}
	depth := 0
	for i := 0; i < len(source); i++ {
		switch c := source[i]; c {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case '"', '\'', '#':
			return -1 // a head with texts or comments is left alone
		case ':':
			if depth == 0 {
				rest, _, found := strings.Cut(source[i+1:], "\n")
				if !found || strings.TrimSpace(rest) != "" {
					return -1
				}
				return i + 1 + len(rest) + 1
			}
		}
	}
	return -1
}

// primAssemble: assemble_(brief, layout) makes the method of a layout: {ok,
// error, source}. The layout is JSON as the mind writes it: {"view": "panel",
// "title": text or "title_slot": slot, "children": [{"view", "label", "slot",
// "fact"}…]}.
func primAssemble(c *exec.Call) (object.Value, error) {
	if err := arity(c, 2, 2); err != nil {
		return nil, err
	}
	source, err := assemble(c.Args()[0], strOf(c.Args()[1]))
	if err != nil {
		return failed(err), nil
	}
	return new(dict).bool("ok", true).str("code", "").str("error", "").str("source", source).value(), nil
}

type panel struct {
	View      string `json:"view"`
	Title     string `json:"title"`
	TitleSlot string `json:"title_slot"`
	Children  []struct {
		View  string `json:"view"`
		Label string `json:"label"`
		Slot  string `json:"slot"`
		Fact  string `json:"fact"`
	} `json:"children"`
}

// facts are the expressions over a slot that a layout may ask for.
var facts = map[string]string{"": "self.%s", "count": "len(self.%s)", "sum": "sum(self.%s)", "largest": "max(self.%[1]s) if self.%[1]s else 0"}

func assemble(brief object.Value, layout string) (string, error) {
	var p panel
	d := json.NewDecoder(strings.NewReader(layout))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return "", batos.Errorf(batos.Invalid, "the layout cannot be read: %w", err)
	}
	f := fieldsOf(brief)
	kinds := map[string]string{}
	for _, s := range f.list("slots") {
		kinds[fieldsOf(s).str("name")] = fieldsOf(fieldsOf(s).get("shape")).str("kind")
	}
	slot := func(name string) (string, error) {
		if _, ok := kinds[name]; !ok {
			return "", batos.Errorf(batos.Invalid, "the layout shows the slot %s, which the object does not have", quote(name))
		}
		return name, nil
	}
	title := literalOf(p.Title)
	if p.TitleSlot != "" {
		name, err := slot(p.TitleSlot)
		if err != nil {
			return "", err
		}
		title = "self." + name
	}
	var b strings.Builder
	fmt.Fprintf(&b, "def %s(self):\n    return {\"view\": %s, \"title\": %s, \"children\": [\n", f.str("selector"), literalOf(p.View), title)
	for _, c := range p.Children {
		name, err := slot(c.Slot)
		if err != nil {
			return "", err
		}
		form, ok := facts[c.Fact]
		if !ok {
			return "", batos.Errorf(batos.Invalid, "the layout asks for the fact %s; there are count, sum and largest", quote(c.Fact))
		}
		value := fmt.Sprintf(form, name)
		if c.View == "text" && c.Fact == "" && kinds[name] != "str" {
			value = "str(" + value + ")"
		}
		fmt.Fprintf(&b, "        {\"view\": %s, \"label\": %s, \"value\": %s},\n", literalOf(c.View), literalOf(c.Label), value)
	}
	b.WriteString("    ]}\n")
	return b.String(), nil
}

// literalOf is a text as a literal of the dialect.
func literalOf(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // of a text there is none
		return `""`
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}
