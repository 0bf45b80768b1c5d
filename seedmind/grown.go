package seedmind

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"

	"batos/internal/mind"
	"batos/object"
)

// The base model learns a little of every persona's work. What the adapters
// learn is more than that: a plan that also says what the method answers, a
// sentence that also says what it changes, requirements that also tell types
// and what the columns of tables are, and tests on standard objects.

// grownAnswer is [roleAnswer] as an adapter learns it.
func grownAnswer(r *rand.Rand, kind mind.Kind, s Sample) (string, bool) {
	switch kind {
	case mind.Plan:
		return grownPlan(r, s)
	case mind.Describe:
		return sentence(s) + grownSentence(s), true
	case mind.Requirements:
		d, ok := displayOf(s.Answer)
		return d.grownRequirements(s.Prompt), ok
	case mind.Tests:
		return standardTest(s)
	}
	return roleAnswer(r, kind, s)
}

// grownSentence says which slots a method changes.
func grownSentence(s Sample) string {
	_, changes := uses(s)
	if len(changes) == 0 {
		return " Changes nothing."
	}
	return " Changes " + strings.Join(changes, " and ") + "."
}

// grownRequirements is [display.requirements] with the type of each slot and,
// for records, which field names them and which are numbers.
func (d display) grownRequirements(p mind.SeedPrompt) string {
	var parts []string
	if strings.HasPrefix(d.title, "$") {
		parts = append(parts, fmt.Sprintf(`{"slot": "%s", "view": "title"}`, d.title))
	}
	for _, c := range d.children {
		s := p.Slots[c.slot]
		text := fmt.Sprintf(`{"slot": "$%d", "type": "%s", `, c.slot, s.Type)
		if c.fact != "" {
			text += fmt.Sprintf(`"fact": "%s", `, c.fact)
		}
		text += `"view": "` + c.view + `"`
		if c.fact == "" && len(s.Fields) > 0 {
			first := firstField(p, c.slot)
			key := ""
			var columns, numbers []string
			for k, f := range s.Fields {
				alias := fmt.Sprintf(`"#%d"`, first+k)
				columns = append(columns, alias)
				if f.Type == mind.SeedNumber {
					numbers = append(numbers, alias)
				}
				if key == "" && f.Role == "name" {
					key = `, "key": ` + alias
				}
			}
			text += `, "columns": [` + strings.Join(columns, ", ") + `]` + key + `, "numbers": [` + strings.Join(numbers, ", ") + `]`
		}
		parts = append(parts, text+"}")
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// grownPlan is a plan that ends with the type of the method's answer, as it is
// on a few states: "number", "text", "flag", "list", "dict", "view" (a
// layout), "nothing" or, if it differs, "any".
func grownPlan(r *rand.Rand, s Sample) (string, bool) {
	ref, err := newReference(s)
	if err != nil {
		return "", false
	}
	answers := ""
	for range 3 {
		c, ok := ref.draw(context.Background(), states{r: r})
		if !ok {
			return "", false
		}
		t := answerType(c.want)
		if answers != "" && answers != t {
			t = "any"
		}
		answers = t
	}
	return strings.TrimSuffix(plan(s), "}") + `, "answers": "` + answers + `"}`, true
}

func answerType(v object.Value) string {
	switch v := v.(type) {
	case object.Int, object.Float:
		return "number"
	case object.Str:
		return "text"
	case object.Bool:
		return "flag"
	case *object.List, *object.Tuple:
		return "list"
	case *object.Dict:
		if len(v.Entries) > 0 && v.Entries[0].Key == object.Value(object.Str("view")) {
			return "view"
		}
		return "dict"
	case object.None:
		return "nothing"
	}
	return "any"
}

// A test of ALFRED's is a call on standard objects: the same for every method
// of the same types. There is nothing to choose, so all of a small model goes
// into what the method answers, and the values are such that methods which
// are taken for each other answer differently.

// standardTest is the test of a method; the answer is false where there is
// none, as for a method that raises on the standard objects.
func standardTest(s Sample) (string, bool) {
	used, ok := testable(s)
	if !ok {
		return "", false
	}
	ref, err := newReference(s)
	if err != nil {
		return "", false
	}
	c := call{}
	seen := map[mind.SeedType]int{}
	meant := map[int]bool{}
	for _, i := range used {
		meant[i] = true
	}
	for i, slot := range s.Prompt.Slots {
		var v object.Value = object.None{}
		if meant[i] {
			v = standardValue(slot.Type, seen[slot.Type])
			seen[slot.Type]++
		}
		c.slots = append(c.slots, object.Slot{Name: ref.slots[i], Value: v})
	}
	for i, a := range s.Meaning.Family.Args {
		c.args = append(c.args, standardArg(a, s.Prompt.Args[i], i))
	}
	if c.want, c.after, err = ref.world.Call(context.Background(), ref.program, c.slots, c.args); err != nil {
		return "", false
	}
	text, ok := c.test(used)
	return text, ok && !namedText.MatchString(text)
}

// namedText is what no test can say beforehand: texts that tell names, and
// fractions without an end.
var namedText = regexp.MustCompile(`slot_|field_|thing|\.[0-9]{5}`)

// standardValue is the k-th slot of a type.
func standardValue(t mind.SeedType, k int) object.Value {
	first := k == 0
	pick := func(a, b object.Value) object.Value {
		if first {
			return a
		}
		return b
	}
	switch t {
	case mind.SeedInt:
		return pick(num(8), num(5))
	case mind.SeedNumber:
		return pick(num(2), num(3))
	case mind.SeedFloat:
		return pick(object.Float(2.5), object.Float(1.5))
	case mind.SeedStr:
		return pick(object.Str("kite"), object.Str("dog"))
	case mind.SeedBool:
		return object.Bool(first)
	case mind.SeedNumbers, mind.SeedList:
		return pick(listOf(num(5), num(2), num(9), num(2)), listOf(num(2), num(7)))
	case mind.SeedStrs:
		return pick(listOf(object.Str("cat"), object.Str("dog"), object.Str("ant"), object.Str("dog")), listOf(object.Str("dog"), object.Str("owl")))
	case mind.SeedBools:
		return listOf(object.Bool(true), object.Bool(false), object.Bool(true))
	case mind.SeedNumberMap, mind.SeedMap, mind.SeedDict:
		return pick(dictOf("cat", num(4), "dog", num(9), "ant", num(1)), dictOf("dog", num(3), "owl", num(6)))
	case mind.SeedStrMap:
		return pick(dictOf("cat", object.Str("red"), "dog", object.Str("blue")), dictOf("owl", object.Str("red")))
	}
	return object.None{}
}

// standardArg is the argument at place k.
func standardArg(a ArgSpec, t mind.SeedType, k int) object.Value {
	switch a {
	case argIndex, argPlace:
		return num(int64(1 + k))
	case argLow:
		return num(3)
	case argHigh:
		return num(7)
	case argChar:
		return object.Str("-")
	case argPart:
		return object.Str("it")
	}
	if t == mind.SeedStr {
		return object.Str([]string{"dog", "owl"}[k%2])
	}
	return standardValue(t, k)
}

func num(n int64) object.Value { return object.NewInt(n) }

func listOf(items ...object.Value) object.Value { return &object.List{Items: items} }

func dictOf(pairs ...any) object.Value {
	d := &object.Dict{}
	for i := 0; i < len(pairs); i += 2 {
		d.Entries = append(d.Entries, object.Entry{Key: object.Str(pairs[i].(string)), Value: pairs[i+1].(object.Value)})
	}
	return d
}
