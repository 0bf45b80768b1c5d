package mind

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"batos"
)

// SchemaGrammar makes a GBNF grammar of a JSON schema: whatever it derives is
// JSON that the schema accepts. Properties come in the schema's order.
//
// It knows type (also a list of types), properties, required,
// additionalProperties, items, minItems, maxItems, enum, const, anyOf, oneOf
// (as anyOf), minLength, maxLength, minimum and maximum of integers, and $ref
// to #/$defs and #/definitions. The error is invalid, with the keyword and its
// place, for a schema that says anything more that a grammar must hold: it is
// better refused than ignored. Titles, descriptions, examples and the like are
// passed over.
func SchemaGrammar(schema string) (string, error) {
	v, err := decodeOrdered(schema)
	if err != nil {
		return "", batos.Errorf(batos.Invalid, "JSON schema: %w", err)
	}
	s := &schemaWriter{root: v, named: map[string]string{}, used: map[string]bool{}}
	top, err := s.value(v, "#", 0)
	if err != nil {
		return "", err
	}
	s.rule("root", top)
	// Rules whose use nothing depends on are left out: they are few and fixed.
	for _, r := range schemaRules {
		if s.used[r.name] {
			s.rule(r.name, r.body)
		}
	}
	return strings.Join(s.rules, "\n") + "\n", nil
}

// schemaRules are shared by all schemas; a rule comes before those it uses.
var schemaRules = []struct{ name, body string }{
	{"any", `string | number | object | array | "true" | "false" | "null"`},
	{"object", `"{" ws (string ws ":" ws any ws ("," ws string ws ":" ws any ws)*)? "}"`},
	{"array", `"[" ws (any ws ("," ws any ws)*)? "]"`},
	{"string", `"\"" char* "\""`},
	{"char", `[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])`},
	{"number", `"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?`},
	{"integer", `"-"? ("0" | [1-9] [0-9]{0,15})`},
	{"ws", `(" " | "\n" [ ]{0,24})?`},
}

// Bounds of a schema.
const (
	maxSchemaDepth = 64
	maxSchemaItems = 4096 // of one enum, properties of one object
)

type schemaWriter struct {
	root  any
	rules []string
	named map[string]string // rules of $refs
	used  map[string]bool
	count int
}

func (s *schemaWriter) rule(name, body string) { s.rules = append(s.rules, name+" ::= "+body) }

// fresh makes a rule with a name of its own.
func (s *schemaWriter) fresh(body string) string {
	s.count++
	name := fmt.Sprintf("r%d", s.count)
	s.rule(name, body)
	return name
}

// use marks a shared rule, and what it uses.
func (s *schemaWriter) use(name string) string {
	if s.used[name] {
		return name
	}
	s.used[name] = true
	for _, r := range schemaRules {
		if r.name == name {
			for _, w := range strings.FieldsFunc(r.body, func(c rune) bool { return c < 'a' || c > 'z' }) {
				for _, other := range schemaRules {
					if other.name == w {
						s.use(w)
					}
				}
			}
		}
	}
	return name
}

// passed are keywords that say nothing about which values are valid.
var passed = map[string]bool{
	"$schema": true, "$id": true, "$comment": true, "$defs": true, "definitions": true, "title": true, "description": true,
	"default": true, "examples": true, "example": true, "deprecated": true, "readOnly": true, "writeOnly": true,
}

// keywordOf says which type's keyword each one is.
var keywordOf = map[string]string{
	"properties": "object", "required": "object", "additionalProperties": "object",
	"items": "array", "minItems": "array", "maxItems": "array",
	"minLength": "string", "maxLength": "string",
	"minimum": "integer", "maximum": "integer",
}

func (s *schemaWriter) value(v any, at string, depth int) (string, error) {
	refuse := func(format string, args ...any) (string, error) {
		return "", batos.Errorf(batos.Invalid, "JSON schema at %s: %s", at, fmt.Sprintf(format, args...))
	}
	if depth > maxSchemaDepth {
		return refuse("it is nested too deep")
	}
	if b, ok := v.(bool); ok && b {
		return s.use("any"), nil
	}
	o, ok := v.(ordered)
	if !ok {
		return refuse("want an object")
	}
	var one string // of the keywords that stand alone
	for _, e := range o {
		switch e.name {
		case "$ref", "enum", "const", "anyOf", "oneOf":
			if one != "" {
				return refuse("%s beside %s", e.name, one)
			}
			one = e.name
		case "type":
		default:
			if !passed[e.name] && keywordOf[e.name] == "" {
				return refuse("the keyword %.40q is not supported", e.name)
			}
		}
	}
	if one != "" {
		for _, e := range o {
			if keywordOf[e.name] != "" {
				return refuse("%s beside %s", e.name, one)
			}
		}
		return s.alone(one, o.get(one), at, depth, refuse)
	}
	types, err := typesOf(o)
	if err != nil {
		return refuse("%s", err)
	}
	for _, e := range o {
		if t := keywordOf[e.name]; t != "" && !slices.Contains(types, t) && !(t == "integer" && slices.Contains(types, "number")) {
			return refuse("%s says nothing about the types %v", e.name, types)
		}
	}
	var alts []string
	for _, t := range types {
		var alt string
		var err error
		switch t {
		case "object":
			alt, err = s.object(o, at, depth)
		case "array":
			alt, err = s.array(o, at, depth)
		case "string":
			alt, err = s.text(o, at)
		case "integer":
			alt, err = s.integer(o, at)
		case "number":
			if o.get("minimum") != nil || o.get("maximum") != nil {
				return refuse("bounds of numbers are not supported, of integers they are")
			}
			alt = s.use("number")
		case "boolean":
			alt = `("true" | "false")`
		case "null":
			alt = `"null"`
		default:
			return refuse("there is no type %.40q", t)
		}
		if err != nil {
			return "", err
		}
		alts = append(alts, alt)
	}
	return either(alts), nil
}

// either joins alternatives into one thing.
func either(alts []string) string {
	if len(alts) == 1 {
		return alts[0]
	}
	return "(" + strings.Join(alts, " | ") + ")"
}

func typesOf(o ordered) ([]string, error) {
	switch t := o.get("type").(type) {
	case string:
		return []string{t}, nil
	case []any:
		var out []string
		for _, x := range t {
			name, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("type is no list of names")
			}
			out = append(out, name)
		}
		if len(out) > 0 {
			return out, nil
		}
	case nil:
		for _, e := range o {
			if t := keywordOf[e.name]; t != "" {
				return []string{t}, nil
			}
		}
		return []string{"object", "array", "string", "number", "boolean", "null"}, nil
	}
	return nil, fmt.Errorf("type is neither a name nor a list of names")
}

func (s *schemaWriter) alone(kind string, v any, at string, depth int, refuse func(string, ...any) (string, error)) (string, error) {
	switch kind {
	case "const":
		return literal(encodeOrdered(v)), nil
	case "$ref":
		ref, _ := v.(string)
		return s.ref(ref, at, depth)
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxSchemaItems {
		return refuse("%s is no list of 1 to %d", kind, maxSchemaItems)
	}
	var alts []string
	for i, x := range list {
		if kind == "enum" {
			alts = append(alts, literal(encodeOrdered(x)))
			continue
		}
		alt, err := s.value(x, fmt.Sprintf("%s/%s/%d", at, kind, i), depth+1)
		if err != nil {
			return "", err
		}
		alts = append(alts, alt)
	}
	return either(alts), nil
}

// ref gives the rule of a definition, which may refer to itself.
func (s *schemaWriter) ref(ref, at string, depth int) (string, error) {
	if name, ok := s.named[ref]; ok {
		return name, nil
	}
	target := refTarget(s.root, ref)
	if target == nil {
		return "", batos.Errorf(batos.Invalid, "JSON schema at %s: $ref %.60q leads nowhere", at, ref)
	}
	s.count++
	name := fmt.Sprintf("r%d", s.count)
	s.named[ref] = name
	body, err := s.value(target, ref, depth+1)
	if err != nil {
		return "", err
	}
	if body == name {
		return "", batos.Errorf(batos.Invalid, "JSON schema at %s: $ref %.60q leads to itself", at, ref)
	}
	s.rule(name, body)
	return name, nil
}

// refTarget finds what a $ref leads to, or nil.
func refTarget(root any, ref string) any {
	if ref == "#" {
		return root
	}
	o, _ := root.(ordered)
	for _, under := range []string{"$defs", "definitions"} {
		if key, ok := strings.CutPrefix(ref, "#/"+under+"/"); ok {
			defs, _ := o.get(under).(ordered)
			return defs.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(key))
		}
	}
	return nil
}

func (s *schemaWriter) object(o ordered, at string, depth int) (string, error) {
	refuse := func(what string) (string, error) {
		return "", batos.Errorf(batos.Invalid, "JSON schema at %s: %s", at, what)
	}
	var props ordered
	if v := o.get("properties"); v != nil {
		var ok bool
		if props, ok = v.(ordered); !ok || len(props) > maxSchemaItems {
			return refuse("properties is no object, or too large")
		}
	}
	needed := map[string]bool{}
	if v := o.get("required"); v != nil {
		list, ok := v.([]any)
		if !ok {
			return refuse("required is no list")
		}
		for _, x := range list {
			name, ok := x.(string)
			if !ok || !slices.ContainsFunc(props, func(e property) bool { return e.name == name }) {
				return refuse(fmt.Sprintf("required names %v, which is no property", x))
			}
			needed[name] = true
		}
	}
	more := ""
	switch v := o.get("additionalProperties").(type) {
	case bool:
		if v {
			more = s.use("any")
		}
	case nil:
		if len(props) == 0 {
			more = s.use("any")
		}
	default:
		var err error
		if more, err = s.value(v, at+"/additionalProperties", depth+1); err != nil {
			return "", err
		}
	}
	ws, comma := s.use("ws"), `"," `+s.use("ws")+" "
	// Of every property on: what may follow when something came before, and
	// what when nothing did. Both end with what is not described.
	after, first := "", `""`
	if more != "" {
		pair := s.fresh(s.use("string") + " " + ws + ` ":" ` + ws + " " + more + " " + ws)
		after = s.fresh("(" + comma + pair + ")*")
		first = s.fresh("(" + pair + " " + after + ")?")
	}
	for i := len(props) - 1; i >= 0; i-- {
		p := props[i]
		body, err := s.value(p.value, at+"/properties/"+p.name, depth+1)
		if err != nil {
			return "", err
		}
		pair := s.fresh(literal(encodeOrdered(p.name)) + " " + ws + ` ":" ` + ws + " " + body + " " + ws)
		if needed[p.name] {
			first = s.fresh(strings.TrimSpace(pair + " " + after))
			after = s.fresh(strings.TrimSpace(comma + pair + " " + after))
		} else {
			first = s.fresh(strings.TrimSpace(pair+" "+after) + " | " + first)
			after = s.fresh(strings.TrimSpace("(" + comma + pair + ")? " + after))
		}
	}
	return `"{" ` + ws + " " + first + ` "}"`, nil
}

func (s *schemaWriter) array(o ordered, at string, depth int) (string, error) {
	low, high, err := bounds(o, "minItems", "maxItems", at)
	if err != nil {
		return "", err
	}
	item := s.use("any")
	if v := o.get("items"); v != nil {
		if item, err = s.value(v, at+"/items", depth+1); err != nil {
			return "", err
		}
	}
	ws := s.use("ws")
	if high == 0 {
		return `"[" ` + ws + ` "]"`, nil
	}
	rest := fmt.Sprintf(`("," %s %s %s)`, ws, item, ws)
	if high > 0 {
		rest += fmt.Sprintf("{%d,%d}", max(0, low-1), high-1)
	} else {
		rest += fmt.Sprintf("{%d,}", max(0, low-1))
	}
	list := fmt.Sprintf("%s %s %s", item, ws, rest)
	if low == 0 {
		list = "(" + list + ")?"
	}
	return fmt.Sprintf(`"[" %s %s "]"`, ws, list), nil
}

func (s *schemaWriter) text(o ordered, at string) (string, error) {
	low, high, err := bounds(o, "minLength", "maxLength", at)
	if err != nil {
		return "", err
	}
	if low == 0 && high < 0 {
		return s.use("string"), nil
	}
	times := fmt.Sprintf("{%d,}", low)
	if high >= 0 {
		times = fmt.Sprintf("{%d,%d}", low, high)
	}
	return `"\"" ` + s.use("char") + times + ` "\""`, nil
}

// maxTimes is the most repetitions that engines unroll.
const maxTimes = 2000

// bounds reads a pair of counts; high is -1 without one.
func bounds(o ordered, least, most, at string) (low, high int, err error) {
	high = -1
	for _, b := range []struct {
		key string
		to  *int
	}{{least, &low}, {most, &high}} {
		if v := o.get(b.key); v != nil {
			n, ok := v.(json.Number)
			i, err := strconv.Atoi(string(n))
			if !ok || err != nil || i < 0 || i > maxTimes {
				return 0, 0, batos.Errorf(batos.Invalid, "JSON schema at %s: %s is no number from 0 to %d", at, b.key, maxTimes)
			}
			*b.to = i
		}
	}
	if high >= 0 && high < low {
		return 0, 0, batos.Errorf(batos.Invalid, "JSON schema at %s: %s is less than %s", at, most, least)
	}
	return low, high, nil
}

func (s *schemaWriter) integer(o ordered, at string) (string, error) {
	const beyond = 9_999_999_999_999_999
	low, high := int64(-beyond), int64(beyond)
	bounded := false
	for _, b := range []struct {
		key string
		to  *int64
	}{{"minimum", &low}, {"maximum", &high}} {
		if v := o.get(b.key); v != nil {
			n, ok := v.(json.Number)
			i, err := n.Int64()
			if !ok || err != nil || i < -beyond || i > beyond {
				return "", batos.Errorf(batos.Invalid, "JSON schema at %s: %s is no integer of at most 16 digits", at, b.key)
			}
			*b.to, bounded = i, true
		}
	}
	if !bounded {
		return s.use("integer"), nil
	}
	if high < low {
		return "", batos.Errorf(batos.Invalid, "JSON schema at %s: maximum is less than minimum", at)
	}
	var alts []string
	if low < 0 {
		alts = append(alts, `"-" `+between(max(1, -high), -low))
	}
	if high >= 0 {
		alts = append(alts, between(max(0, low), high))
	}
	return either(alts), nil
}

// between derives the decimal numbers from low to high, neither negative.
func between(low, high int64) string {
	var alts []string
	for digits := 1; digits <= 19; digits++ {
		least, most := int64(0), int64(9)
		for range digits - 1 {
			least, most = max(1, least)*10, most*10+9
		}
		if a, b := max(low, least), min(high, most); a <= b {
			alts = append(alts, sameLength(strconv.FormatInt(a, 10), strconv.FormatInt(b, 10)))
		}
		if most >= high {
			break
		}
	}
	return either(alts)
}

// sameLength derives the numbers from low to high, which have as many digits.
func sameLength(low, high string) string {
	n := len(low)
	if n == 0 {
		return `""`
	}
	zeros, nines := strings.Repeat("0", n-1), strings.Repeat("9", n-1)
	digits := func(a, b byte, tail string) string {
		d := fmt.Sprintf("[%c-%c]", a, b)
		if a == b {
			d = fmt.Sprintf(`"%c"`, a)
		}
		if n == 1 {
			return d
		}
		return "(" + d + " " + tail + ")"
	}
	any := fmt.Sprintf("[0-9]{%d}", n-1)
	if low[0] == high[0] {
		return digits(low[0], low[0], sameLength(low[1:], high[1:]))
	}
	a, b := low[0], high[0]
	var alts []string
	if low[1:] != zeros {
		alts = append(alts, digits(a, a, sameLength(low[1:], nines)))
		a++
	}
	var last string
	if high[1:] != nines {
		last = digits(b, b, sameLength(zeros, high[1:]))
		b--
	}
	if a <= b {
		alts = append(alts, digits(a, b, any))
	}
	if last != "" {
		alts = append(alts, last)
	}
	return either(alts)
}
