package method

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"batos"
	"batos/object"
)

func TestParseFile(t *testing.T) {
	src := `# A comment on the file.
"""
What it is.
"""
count = -3
big = 123456789012345678901234567890
ratio = 0.5
flags = [True, False, None]
config = {"a": [1, (2, 3)], 4: b"x"}
hits = counter(7)
notes = tree()
home = ref("genesis_obj")
crowd = [ref("a_obj"), ref("b_obj")]
clone = primitive("object.clone")
parents = [ref("traits_obj")]
starred("state", ref("idle_state"))
def double(self, n):
    # inside
    return f"{n}" * 2

# About the next one.
def half(self, n): return n // 2
last = 1
`
	defs, err := ParseFile("thing.star", src)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range defs {
		got = append(got, fmt.Sprintf("%d %s %d %v %s", d.Line, d.Name, d.Kind, d.Refs, kindOf(d.Value)))
	}
	want := []string{
		"2 doc 0 [] str", "5 count 0 [] int", "6 big 0 [] int", "7 ratio 0 [] float", "8 flags 0 [] list", "9 config 0 [] dict",
		"10 hits 6 [] counter", "11 notes 5 [] -", "12 home 3 [genesis_obj] -", "13 crowd 4 [a_obj b_obj] -", "14 clone 2 [] primitive",
		"15 parent* 4 [traits_obj] -", "16 state* 3 [idle_state] -", "17 double 1 [] -", "22 half 1 [] -", "23 last 0 [] int",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if defs[0].Value != object.Str("What it is.") || defs[1].Value != object.NewInt(-3) || defs[6].Value != object.Counter(7) {
		t.Error(defs[0].Value, defs[1].Value, defs[6].Value)
	}
	if want := "def double(self, n):\n    # inside\n    return f\"{n}\" * 2\n"; defs[13].Source != want {
		t.Errorf("source %q", defs[13].Source)
	}
	if want := "def half(self, n): return n // 2\n"; defs[14].Source != want {
		t.Errorf("source %q", defs[14].Source)
	}
}

func kindOf(v object.Value) string {
	if v == nil {
		return "-"
	}
	return v.Kind().String()
}

func TestParseFileErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"x = 1\nx = 2\n", "f:2:1: slot x is defined twice"},
		{"x = f(1)\n", "f:1:5: want a literal"},
		{"x = [1, [y]]\n", "f:1:10: want a literal"},
		{"x, y = 1, 2\n", "f:1:1: a file holds"},
		{"x += 1\n", "f:1:1: a file holds"},
		{"for x in []:\n    pass\n", "f:1:1: a file holds"},
		{"parents = [1]\n", "f:1:11: parent* holds"},
		{"x = [ref('a'), 1]\n", "f:1:16: a list of references"},
		{"x = counter('a')\n", "f:1:13: a counter begins"},
		{"_p_x = 1\n", "f:1:1: selector"},
		{"x = {'a': 1, 'a': 2}\n", "f:1:14: duplicate key"},
		{"x = 1\n\ndef f(self):\n    return 1 +\n", "f:4:15: got newline"},
		{"x = 1\n\ndef f(self):\n    return y\n", "f:4:12: undefined: y"},
		{"x = 1; y = 2\ndef f(x):\n    pass\n", "f:2:7: the first parameter"},
		{"x = -'a'\n", "f:1:5: a str has no negative"},
		{"x = f'{1}'\n", "f:1:5: want a literal"},
	} {
		_, err := ParseFile("f", c.src)
		if batos.CodeOf(err) != batos.Invalid || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.src, err, c.want)
		}
	}
}
