package method

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"batos"
)

// TestLanguage runs every method of testdata/lang/*.star whose name begins
// with test. A line that ends in
//
//	### "regexp"
//
// is expected to fail there, with an error that matches, and ends its test.
// A file is divided into chunks by lines of three dashes; each is one object.
// A chunk that does not compile is expected to say so on the marked line.
func TestLanguage(t *testing.T) {
	files, err := filepath.Glob("testdata/lang/*.star")
	if err != nil || len(files) == 0 {
		t.Fatal("no language tests", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line := 0
		for _, chunk := range strings.Split(string(src), "\n---\n") {
			name := strings.TrimSuffix(filepath.Base(file), ".star") + ":" + strconv.Itoa(line+1)
			t.Run(name, func(t *testing.T) { runChunk(t, chunk) })
			line += strings.Count(chunk, "\n") + 2
		}
	}
}

var expectation = regexp.MustCompile(`(?m)### "(.*)"$`)

// marks are the expectations of a source, by "name:line".
type marks map[string]*regexp.Regexp

// expected adds the marked lines of a source.
func (out marks) expected(t *testing.T, name, src string) (any bool) {
	for i, line := range strings.Split(src, "\n") {
		if m := expectation.FindStringSubmatch(line); m != nil {
			re, err := regexp.Compile(m[1])
			if err != nil {
				t.Fatal(err)
			}
			out[name+":"+strconv.Itoa(i+1)] = re
			any = true
		}
	}
	return any
}

func runChunk(t *testing.T, src string) {
	w := newWorld(t)
	w.object("check_obj")
	w.define("base_obj", "shared = [1, 2]\nkind = \"base\"\ndef greet(self, name):\n    return \"hello \" + name\ndef whoami(self):\n    return self.kind\n")
	w.define("other_obj", "n = 1\nwords = [\"a\"]\nparents = [ref(\"base_obj\")]\n")
	defs, err := ParseFile("chunk", src)
	if err != nil {
		want := marks{}
		want.expected(t, "chunk", src)
		want.match(t, err)
		return
	}
	oid := w.define("chunk", src)
	want := marks{}
	mustFail := map[string]bool{}
	for _, d := range defs {
		mustFail[d.Name] = want.expected(t, d.Name, d.Source)
	}
	ran := 0
	for _, d := range defs {
		if d.Kind != DefMethod || !strings.HasPrefix(d.Name, "test") {
			continue
		}
		ran++
		t.Run(d.Name, func(t *testing.T) {
			_, _, err := w.call(Limits{}, oid, batos.Selector(d.Name))
			switch {
			case err != nil:
				want.match(t, err)
			case mustFail[d.Name]:
				t.Error("no error")
			}
		})
	}
	if ran == 0 {
		t.Error("a chunk without tests compiled")
	}
}

var atLine = regexp.MustCompile(`^(\w+:\d+):\d+: `)

// match checks an error against the mark of the line it happened on. What
// nobody understood has no line: any mark will do.
func (out marks) match(t *testing.T, err error) {
	t.Helper()
	var missing *NotUnderstood
	text := err.Error()
	if errors.As(err, &missing) {
		for _, re := range out {
			if re.MatchString(text) {
				return
			}
		}
	}
	m := atLine.FindStringSubmatch(text)
	if m == nil {
		t.Errorf("error without a position: %s", text)
		return
	}
	if re := out[m[1]]; re == nil || !re.MatchString(text) {
		t.Errorf("unexpected error: %s", text)
	}
}
