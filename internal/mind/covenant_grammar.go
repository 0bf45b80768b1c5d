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
		`text ::= "\"" ([^"\\\x00-\x1f] | "\\" ["\\n]){1,160} "\""`,
		`slots ::= ` + list,
	}, "\n") + "\n"
}

// literal quotes s for GBNF.
func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
