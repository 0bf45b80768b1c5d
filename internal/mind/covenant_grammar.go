package mind

import (
	"encoding/json"
	"strings"
)

// methodGrammar lets a model write one def with the given head and an indented
// body, and nothing before or behind it.
func methodGrammar(sig string) string {
	return "root ::= " + literal(sig) + " line+\n" +
		`line ::= "\n" ("    " [^\x00-\x1f\x7f]+)?` + "\n"
}

// planGrammar lets a model write the JSON object of a plan; the slots it names
// must be there.
func planGrammar(slots []NamedShape) string {
	var names []string
	for _, s := range slots {
		quoted, err := json.Marshal(s.Name)
		if err == nil { // of a string there is none
			names = append(names, literal(string(quoted)))
		}
	}
	list := `"[]"`
	if len(names) > 0 {
		list = `"[" (slot (", " slot)*)? "]"` + "\nslot ::= " + strings.Join(names, " | ")
	}
	return strings.Join([]string{
		`root ::= "{\"purpose\": " text ", \"reads\": " slots ", \"changes\": " slots ", \"steps\": [" text (", " text){0,3} "]}"`,
		`slots ::= ` + list,
	}, "\n") + "\n" + textRule
}

// grammarOf is the grammar that the codex names for a task. Without a name it
// is the one that fits the kind.
func grammarOf(t Task, sig string) string {
	name := t.Grammar
	if name == "" {
		name = map[Kind]string{Method: "method", Plan: "plan", Describe: "sentence", Requirements: "requirements", Tests: "tests", Reply: "text"}[t.Kind]
	}
	switch name {
	case "method":
		if t.Kind == Method {
			return methodGrammar(sig)
		}
	case "plan":
		return planGrammar(t.Slots)
	case "sentence":
		return `root ::= [^\x00-\x1f]+`
	case "requirements":
		return `root ::= "{\"must\": [" text (", " text){0,3} "], \"unclear\": [" (text (", " text)?)? "]}"` + "\n" + textRule
	case "tests":
		return `root ::= "{\"tests\": [" test (", " test){0,2} "]}"
test ::= "{\"slots\": " dict ", \"args\": " list ", \"want\": " value ", \"after\": " dict "}"
dict ::= "{" (text ": " value (", " text ": " value){0,7})? "}"
list ::= "[" (value (", " value){0,7})? "]"
value ::= number | text | "true" | "false" | "null" | list | dict
number ::= "-"? [0-9]{1,9} ("." [0-9]{1,4})?
` + textRule
	}
	return ""
}

// textRule is a JSON text of moderate length.
const textRule = `text ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\n]){1,160} "\""` + "\n"

// literal quotes s for GBNF.
func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
