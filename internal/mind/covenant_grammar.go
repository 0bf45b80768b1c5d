package mind

import "strings"

// planSchema describes the JSON object of a plan; the slots it names must be
// there.
func planSchema(slots []NamedShape) string {
	names := make([]string, len(slots))
	for i, s := range slots {
		names[i] = s.Name
	}
	list := map[string]any{"type": "array", "maxItems": 0}
	if len(names) > 0 {
		list = map[string]any{"type": "array", "maxItems": len(names), "items": map[string]any{"enum": names}}
	}
	line := map[string]any{"type": "string", "minLength": 1, "maxLength": 160}
	return schemaText(
		property{"purpose", line}, property{"reads", list}, property{"changes", list},
		property{"steps", map[string]any{"type": "array", "minItems": 1, "maxItems": 4, "items": line}},
	)
}

// requirementsSchema describes the JSON object of requirements.
func requirementsSchema() string {
	line := map[string]any{"type": "string", "minLength": 1, "maxLength": 160}
	return schemaText(
		property{"must", map[string]any{"type": "array", "minItems": 1, "maxItems": 4, "items": line}},
		property{"unclear", map[string]any{"type": "array", "maxItems": 2, "items": line}},
	)
}

// formOf is the form that the codex names for a task, as a grammar or as a JSON
// schema. Without a name it is the one that fits the kind.
func formOf(t Task, sig string) (grammar, schema string) {
	name := t.Grammar
	if name == "" {
		name = map[Kind]string{Method: "method", Plan: "plan", Describe: "sentence", Requirements: "requirements", Tests: "tests", Reply: "text"}[t.Kind]
	}
	switch name {
	case "method":
		if t.Kind == Method {
			return methodGrammar(sig), ""
		}
	case "plan":
		return "", planSchema(t.Slots)
	case "sentence":
		return `root ::= [^\x00-\x1f]+`, ""
	case "requirements":
		return "", requirementsSchema()
	case "tests":
		return `root ::= "{\"tests\": [" test (", " test){0,2} "]}"
test ::= "{\"slots\": " dict ", \"args\": " list ", \"want\": " value ", \"after\": " dict "}"
dict ::= "{" (text ": " value (", " text ": " value){0,7})? "}"
list ::= "[" (value (", " value){0,7})? "]"
value ::= number | text | "true" | "false" | "null" | list | dict
number ::= "-"? [0-9]{1,9} ("." [0-9]{1,4})?
` + textRule, ""
	}
	return "", ""
}

// textRule is a JSON text of moderate length.
const textRule = `text ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\n]){1,160} "\""` + "\n"

// literal quotes s for GBNF.
func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
