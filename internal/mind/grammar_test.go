package mind

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
	"batos/internal/method"
)

func grammar(t testing.TB, gbnf string) *Grammar {
	t.Helper()
	g, err := ParseGrammar(gbnf)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGrammarMatches(t *testing.T) {
	for _, c := range []struct {
		gbnf     string
		yes, not []string
	}{
		{`root ::= "yes" | "no" [0-9]{2} "."`, []string{"yes", "no12."}, []string{"", "no1.", "no123.", "yes."}},
		{"root ::= a+ # comment\na ::= \"x\" |\n  \"y\" b?\nb ::= [^xy\\n]", []string{"x", "xyyx", "yéx"}, []string{"", "z", "y\n"}},
		{"root ::= (\"a\"\n  \"b\")* c{1,}\nc ::= \"c\"", []string{"c", "ababccc"}, []string{"ab", "aabc"}},
		{`root ::= "\"\\\n\t\x41\u00e9" .`, []string{"\"\\\n\tAéz"}, []string{"\"\\\n\tAé"}},
		{`root ::= "" | "a" root`, []string{"", "a", strings.Repeat("a", 1000)}, []string{"b"}},
		{`root ::= [a-c-]+ "]"? [\]]{0,2}`, []string{"a-c", "a]]]"}, []string{"d", "a]]]]"}},
		{`root ::= ("a" | "ab") ("c" | "bc") "d"{0}`, []string{"abc", "ac", "abbc"}, []string{"abcd"}},
	} {
		g := grammar(t, c.gbnf)
		for _, s := range c.yes {
			if err := g.Match(s); err != nil {
				t.Errorf("%q: %q: %v", c.gbnf, s, err)
			}
		}
		for _, s := range c.not {
			if err := g.Match(s); batos.CodeOf(err) != batos.Invalid {
				t.Errorf("%q: %q: %v", c.gbnf, s, err)
			}
		}
		for seed := range uint64(50) {
			if s := g.derive(rand.New(rand.NewPCG(seed, 1)), 40); g.Match(s) != nil {
				t.Errorf("%q derives %q and does not match it", c.gbnf, s)
			}
		}
	}
}

func TestGrammarsThatAreNone(t *testing.T) {
	for gbnf, says := range map[string]string{
		"":                                     "no rule root",
		`a ::= "x"`:                            "no rule root",
		`root ::= b`:                           `no rule "b"`,
		`root = "x"`:                           "want ::=",
		`root ::= "x`:                          "not closed",
		`root ::= [a-`:                         "not closed",
		`root ::= ("x"`:                        "not closed",
		`root ::= "x"{2,1}`:                    "2 to 1",
		`root ::= "x"{y}`:                      "no number",
		`root ::= "x"{2`:                       "not closed",
		`root ::= "\q"`:                        "unknown escape",
		`root ::= "\x4`:                        "cut off",
		`root ::= root "x"`:                    "begins with itself",
		"root ::= a\na ::= \"\" root | \"\"":   "begins with itself",
		"root ::= \"x\"\nroot ::= \"y\"":       "line 2: rule \"root\" is defined twice",
		`root ::= ` + strings.Repeat("(", 200): "too deep",
		`root ::= )`:                           "want a rule's name",
	} {
		if _, err := ParseGrammar(gbnf); batos.CodeOf(err) != batos.Invalid || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%q: %v", gbnf, err)
		}
	}
}

func FuzzGrammar(f *testing.F) {
	f.Add(`root ::= "yes" | [a-z]{1,3} root?`, "yes")
	f.Add("root ::= a+\na ::= (\"x\" | \"\")*", "xx")
	f.Fuzz(func(t *testing.T, gbnf, text string) {
		if len(gbnf) > 1<<10 || len(text) > 100 {
			return
		}
		if g, err := ParseGrammar(gbnf); err == nil {
			_ = g.Match(text)
		}
	})
}

// A model that is held to the grammar cannot make an error of syntax: what it
// derives is parsed by the dialect.
func TestMethodGrammarDerivesOnlyMethods(t *testing.T) {
	n := 400
	if os.Getenv("BATOS_LONG") != "" {
		n = 50_000
	}
	g := grammar(t, methodGrammar("def raise_by(self, value, step):"))
	for seed := range uint64(n) {
		src := g.derive(rand.New(rand.NewPCG(seed, 7)), 60+int(seed%8)*120)
		if _, err := method.Parse("m", src); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, src)
		}
	}
}

// What genesis does, a model could write under the grammar: every method of
// the repository is derived, but for what the grammar says it leaves out.
func TestMethodGrammarDerivesGenesis(t *testing.T) {
	derived, left := 0, 0
	err := filepath.WalkDir("../../genesis", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".star" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		defs, err := method.ParseFile(path, string(b))
		if err != nil {
			return err
		}
		for _, def := range defs {
			if def.Kind != method.DefMethod {
				continue
			}
			src := strings.TrimRight(def.Source, "\n")
			sig, _, _ := strings.Cut(src, "\n")
			if err := grammar(t, methodGrammar(sig)).Match(src); err == nil {
				derived++
			} else {
				left++
				t.Logf("%s, %s: %v", filepath.Base(path), def.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d methods are derived, %d are not", derived, left)
	if left*10 > derived {
		t.Errorf("%d of %d methods are not derived", left, left+derived)
	}
}

var schemas = []string{
	`{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}}, "required": ["name"], "additionalProperties": false}`,
	`{"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"type": ["number", "string"]}}}`,
	`{"type": "array", "items": {"enum": ["x", 1, null, {"y": [true]}, "é\"\\"]}, "minItems": 1, "maxItems": 3}`,
	`{"$defs": {"node": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["v", "kids"]}}, "$ref": "#/$defs/node"}`,
	`{"anyOf": [{"const": "none"}, {"type": "string", "minLength": 2, "maxLength": 4}, {"type": "array", "maxItems": 0}]}`,
	`{"type": "object", "additionalProperties": {"type": "integer", "minimum": -12, "maximum": 7}}`,
	`{"type": "object", "properties": {"x": {}}, "required": ["x"], "additionalProperties": true}`,
	`{"type": "integer", "minimum": 37, "maximum": 20411}`,
	`{}`,
	planSchema([]NamedShape{{Name: "count"}, {Name: `a "b" \c`}}),
	planSchema(nil),
}

func TestSchemaGrammarDerivesOnlyWhatIsValid(t *testing.T) {
	for _, schema := range schemas {
		gbnf, err := SchemaGrammar(schema)
		if err != nil {
			t.Errorf("%s: %v", schema, err)
			continue
		}
		g := grammar(t, gbnf)
		root, err := decodeOrdered(schema)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(100) {
			text := g.derive(rand.New(rand.NewPCG(seed, 3)), 200)
			v, err := decodeOrdered(text)
			if err != nil && !strings.Contains(err.Error(), "comes twice") { // free keys may be the same
				t.Fatalf("%s\nderives %q: %v", schema, text, err)
			}
			if err == nil && !valid(root, root, v) {
				t.Fatalf("%s\nderives the invalid %s", schema, text)
			}
		}
	}
}

// valid says by a schema's own words whether a value is valid under it.
func valid(root, schema, v any) bool {
	s, ok := schema.(ordered)
	if !ok {
		return schema == true
	}
	same := func(x any) bool { return encodeOrdered(x) == encodeOrdered(v) }
	number := func(key string, otherwise float64) float64 {
		n, ok := s.get(key).(json.Number)
		if !ok {
			return otherwise
		}
		f, _ := n.Float64()
		return f
	}
	switch {
	case s.get("$ref") != nil:
		return valid(root, root.(ordered).get("$defs").(ordered).get("node"), v)
	case s.get("const") != nil:
		return same(s.get("const"))
	}
	for key, one := range map[string]func(any) bool{"enum": same, "anyOf": func(x any) bool { return valid(root, x, v) }} {
		if list, ok := s.get(key).([]any); ok {
			for _, x := range list {
				if one(x) {
					return true
				}
			}
			return false
		}
	}
	types, err := typesOf(s)
	if err != nil {
		return false
	}
	has := func(t string) bool { return strings.Contains(" "+strings.Join(types, " ")+" ", " "+t+" ") }
	between := func(n int, low, high string) bool {
		return float64(n) >= number(low, 0) && float64(n) <= number(high, 1e9)
	}
	switch v := v.(type) {
	case nil:
		return has("null")
	case bool:
		return has("boolean")
	case string:
		return has("string") && between(len([]rune(v)), "minLength", "maxLength")
	case json.Number:
		f, err := v.Float64()
		whole := !strings.ContainsAny(string(v), ".eE")
		return err == nil && (has("number") || has("integer") && whole) && f >= number("minimum", -1e300) && f <= number("maximum", 1e300)
	case []any:
		for _, x := range v {
			if s.get("items") != nil && !valid(root, s.get("items"), x) {
				return false
			}
		}
		return has("array") && between(len(v), "minItems", "maxItems")
	case ordered:
		props, _ := s.get("properties").(ordered)
		required, _ := s.get("required").([]any)
		for _, name := range required {
			if v.get(name.(string)) == nil && !hasKey(v, name.(string)) {
				return false
			}
		}
		for _, e := range v {
			switch {
			case hasKey(props, e.name):
				if !valid(root, props.get(e.name), e.value) {
					return false
				}
			case s.get("additionalProperties") == false:
				return false
			case s.get("additionalProperties") != nil && !valid(root, s.get("additionalProperties"), e.value):
				return false
			}
		}
		return has("object")
	}
	return false
}

func hasKey(o ordered, name string) bool {
	for _, e := range o {
		if e.name == name {
			return true
		}
	}
	return false
}

func TestSchemaGrammarMatches(t *testing.T) {
	for _, c := range []struct{ schema, yes, not string }{
		{schemas[0], `{"name":"x"}|{"name": "x", "age": 130}|{ "name" : "" }`, `{}|{"age":1}|{"name":"x","age":131}|{"name":"x",}|{"name":"x","b":1}|{"age":1,"name":"x"}`},
		{schemas[1], `{}|{"a":true,"c":-1.5e3}|{"b":null}|{"c":"x"}`, `{"c":null}|{"a":1}|[]`},
		{schemas[3], `{"v":1,"kids":[{"v":2,"kids":[]},{"v":3,"kids":[]}]}`, `{"v":1}|{"v":1,"kids":[1]}`},
		{schemas[4], `"none"|"ab"|[]`, `"a"|"abcde"|[1]`},
		{schemas[5], `{"q":-12,"r":7}|{"x":0}`, `{"q":-13}|{"q":8}|{"q":-0}|{"q":1.5}`},
		{schemas[7], `37|99|100|20411|12345`, `36|20412|037|9|99999`},
	} {
		gbnf, err := SchemaGrammar(c.schema)
		if err != nil {
			t.Fatal(err)
		}
		g := grammar(t, gbnf)
		for s := range strings.SplitSeq(c.yes, "|") {
			if err := g.Match(s); err != nil {
				t.Errorf("%s: %s: %v", c.schema, s, err)
			}
		}
		for s := range strings.SplitSeq(c.not, "|") {
			if g.Match(s) == nil {
				t.Errorf("%s accepts %s", c.schema, s)
			}
		}
	}
	// Ranges of integers, each number of them.
	r := rand.New(rand.NewPCG(4, 4))
	for range 40 {
		low := r.IntN(2000) - 1000
		high := low + r.IntN(1500)
		gbnf, err := SchemaGrammar(fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, low, high))
		if err != nil {
			t.Fatal(err)
		}
		g := grammar(t, gbnf)
		for n := low - 20; n <= high+20; n += 1 + r.IntN(9) {
			if in := g.Match(fmt.Sprint(n)) == nil; in != (n >= low && n <= high) {
				t.Fatalf("%d in %d to %d: %t", n, low, high, in)
			}
		}
	}
}

func TestSchemasThatAreRefused(t *testing.T) {
	for schema, says := range map[string]string{
		``:                                                    "JSON schema",
		`{"type": "object"`:                                   "JSON schema",
		`{} {}`:                                               "something follows",
		`{"type": "string", "type": "string"}`:                "comes twice",
		`{"type": "string", "pattern": "a+"}`:                 `keyword "pattern"`,
		`{"type": "string", "format": "date"}`:                `keyword "format"`,
		`{"type": "thing"}`:                                   `no type "thing"`,
		`{"type": 3}`:                                         "type is neither",
		`{"allOf": [{}]}`:                                     `keyword "allOf"`,
		`{"type": "number", "minimum": 3}`:                    "bounds of numbers",
		`{"type": "string", "minItems": 3}`:                   "minItems says nothing",
		`{"enum": []}`:                                        "enum is no list",
		`{"enum": [1], "const": 1}`:                           "const beside enum",
		`{"enum": [1], "minimum": 1}`:                         "minimum beside enum",
		`{"$ref": "#/$defs/none"}`:                            "leads nowhere",
		`{"$ref": "#"}`:                                       "leads to itself",
		`{"type": "object", "required": ["x"]}`:               "no property",
		`{"type": "array", "minItems": 3, "maxItems": 2}`:     "less than",
		`{"type": "array", "minItems": 1.5}`:                  "no number from 0",
		`{"type": "integer", "minimum": 3, "maximum": 2}`:     "less than",
		`{"type": "object", "properties": {"a": {"not": 1}}}`: `at #/properties/a: the keyword "not"`,
		strings.Repeat(`{"items":`, 200) + `{}` + strings.Repeat(`}`, 200): "deep",
	} {
		if _, err := SchemaGrammar(schema); batos.CodeOf(err) != batos.Invalid || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%.60s: %v", schema, err)
		}
	}
}
