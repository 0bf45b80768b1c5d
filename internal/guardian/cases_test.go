package guardian

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"batos"
)

// testCase is one method of testdata and what is wanted.
type testCase struct {
	name   string
	line   int // of the file
	src    string
	opts   Options
	want   []mark
	over   []mark // found, though nothing is wrong
	missed []mark // not found, though something is
}

// mark is a rule in a line; a warning ends in ?.
type mark struct {
	line int
	rule string
}

func (m mark) String() string { return fmt.Sprintf("line %d: %s", m.line, m.rule) }

var wanted = regexp.MustCompile(`# (over: |missed: )?((?:(?:size|syntax|shape|selector|arity|toplevel|kernel|volatile|undefined|covenant|needless|unreachable)\??\s*)+)$`)

func readCases(t testing.TB, file string) []testCase {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []testCase
	for i, line := range strings.Split(string(data), "\n") {
		if head, ok := strings.CutPrefix(line, "=== "); ok {
			name, options, _ := strings.Cut(head, " # ")
			c := testCase{name: name, line: i + 1, opts: Options{Generated: true}}
			for _, o := range strings.Fields(options) {
				key, value, _ := strings.Cut(o, "=")
				call := func() *Call {
					if c.opts.Call == nil {
						c.opts.Call = &Call{}
					}
					return c.opts.Call
				}
				switch key {
				case "person":
					c.opts.Generated = false
				case "selector":
					c.opts.Selector = batos.Selector(value)
				case "args":
					call().Args, _ = strconv.Atoi(value)
				case "kw":
					call().Kwargs = strings.Split(value, ",")
				default:
					t.Fatalf("%s:%d: unknown option %q", file, i+1, o)
				}
			}
			out = append(out, c)
			continue
		}
		if len(out) == 0 {
			continue
		}
		c := &out[len(out)-1]
		c.src += line + "\n"
		if m := wanted.FindStringSubmatch(line); m != nil {
			for _, rule := range strings.Fields(m[2]) {
				at := mark{strings.Count(c.src, "\n"), rule}
				switch m[1] {
				case "over: ":
					c.over = append(c.over, at)
				case "missed: ":
					c.missed = append(c.missed, at)
				default:
					c.want = append(c.want, at)
				}
			}
		}
	}
	for i := range out {
		out[i].src = strings.TrimRight(out[i].src, "\n") + "\n"
	}
	return out
}

func marks(r *Report) []mark {
	var out []mark
	for _, f := range r.Findings {
		m := mark{f.Line, string(f.Rule)}
		if f.Severity == Warning {
			m.rule += "?"
		}
		out = append(out, m)
	}
	return out
}

func sortMarks(m []mark) []mark {
	slices.SortFunc(m, func(a, b mark) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return strings.Compare(a.rule, b.rule)
	})
	return m
}

// TestCases runs every case and counts, over all of them, how often the
// refusal of a method was right.
func TestCases(t *testing.T) {
	var right, passed, tooCareful, missedOut int
	for _, file := range []string{"testdata/covenant.txt", "testdata/refused.txt"} {
		for _, c := range readCases(t, file) {
			t.Run(c.name, func(t *testing.T) {
				r, err := Audit(c.src, c.opts)
				got, want := sortMarks(marks(r)), sortMarks(append(slices.Clone(c.want), c.over...))
				if !slices.Equal(got, want) {
					t.Errorf("%s:%d:\n%s\n got %v\nwant %v\nfindings %v", file, c.line, c.src, got, want, r.Findings)
				}
				bad := func(ms []mark) bool {
					return slices.ContainsFunc(ms, func(m mark) bool { return !strings.HasSuffix(m.rule, "?") })
				}
				switch truth := bad(c.want) || bad(c.missed); {
				case err != nil && truth:
					right++
				case err != nil:
					tooCareful++
				case truth:
					missedOut++
				default:
					passed++
				}
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("the error has more than one line: %q", err)
				}
			})
		}
	}
	n := right + passed + tooCareful + missedOut
	t.Logf("%d methods: %d rightly refused, %d rightly let through, %d refused though nothing is wrong (false positives), %d let through though something is (false negatives)",
		n, right, passed, tooCareful, missedOut)
	if n < 80 {
		t.Errorf("only %d cases", n)
	}
}
