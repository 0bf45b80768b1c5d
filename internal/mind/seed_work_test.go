package mind

import (
	"encoding/json"
	"testing"

	"batos"
)

// The other personas' answers come back with names, and only as what they
// should be.
func TestSeedWork(t *testing.T) {
	s := testSeed(t)
	task := Task{Selector: "count_all", Receiver: "shelf_obj", Slots: slots(
		"count", of(IntShape), "books", recordsOf(slots("title", of(StrShape), "price", of(IntShape))...))}
	for _, c := range []struct {
		kind       Kind
		text, want string
		code       batos.Code
	}{
		{Plan, `{"facets": ["slots"], "reads": ["$0", "$1"], "changes": []}`, `{"facets": ["slots"], "reads": ["count", "books"], "changes": []}`, ""},
		{Requirements, `[{"slot": "$1", "view": "table", "columns": ["#0", "#1"]}]`, `[{"slot": "books", "view": "table", "columns": ["title", "price"]}]`, ""},
		{Layout, `{"view": "panel", "title": "%~", "children": [{"view": "number", "label": "%0", "slot": "$0"}]}`,
			`{"view": "panel", "title": "shelf", "children": [{"view": "number", "label": "count", "slot": "count"}]}`, ""},
		{Tests, `{"slots": {"$0": 2}, "args": ["\"$1"], "want": "$1", "after": {"$0": 2}}`, `{"slots": {"count": 2}, "args": ["\"$1"], "want": "$1", "after": {"count": 2}}`, ""},
		{Describe, "Answers the sum of #1 in $1, plus $ and #.", "Answers the sum of price in books, plus $ and #.", ""},

		{Plan, `{"reads": ["$2"]}`, "", batos.Refused},
		{Requirements, `[{"slot": "#2"}]`, "", batos.Refused},
		{Requirements, `{"slot": "$0"}`, "", batos.Invalid},
		{Layout, `["$0"]`, "", batos.Invalid},
		{Layout, `{"view": "`, "", batos.Invalid},
		{Describe, "Answers $7.", "", batos.Refused},
		{Describe, " \n", "", batos.Invalid},
	} {
		task.Kind = c.kind
		if !s.NeedsAdapter(c.kind) || s.Serves(c.kind) {
			t.Errorf("%s is served without an adapter", c.kind)
		}
		if _, err := s.Compose(task, nil); err != nil {
			t.Errorf("%s: %v", c.kind, err)
		}
		r := &Result{Tokens: s.tok.Encode(c.text), Stop: StopEnd, Logprobs: []float32{-9}}
		a, err := s.Read(task, nil, r)
		if batos.CodeOf(err) != c.code || err == nil && a.Source != c.want {
			t.Errorf("%s %s: %v\n%s", c.kind, c.text, err, a.Source)
		}
	}
}

func FuzzSeedWork(f *testing.F) {
	for _, s := range []string{`[{"slot": "$1"}]`, `{"%~": "#0"}`, `["\\"]`, `{"a\"$0": "\u0024"}`} {
		f.Add(s)
	}
	s := testSeed(f)
	task := Task{Selector: "total", Slots: slots("items", recordsOf(slots("price", of(IntShape))...))}
	n, err := s.names(task)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Requirements, Layout, Tests} {
			got, err := n.work(kind, text)
			if err == nil && !json.Valid([]byte(got)) {
				t.Errorf("%s of %q became %q", kind, text, got)
			}
		}
	})
}
