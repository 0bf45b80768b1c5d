package mind

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"batos"
)

func testTables() SeedTables {
	return SeedTables{
		Version: SeedVersion, MinConfidence: 0.5,
		Pieces: []string{"$0", "$1", "#0", "%0", "%~", "return ", "self._p_changed = True", "_increase", ":int", "(n)\n", " + ", " = ", "xs"},
		Parts:  []string{"th", "er"},
		Words:  strings.Fields("increase by add to of total count all is not make un display yourself sort find vote for next level up mark done remove has set the item transfer price"),
		Things: strings.Fields("door player book candidate item"),
	}
}

func testSeed(t testing.TB) *Seed {
	t.Helper()
	s, err := NewSeed(testTables())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func of(k ShapeKind) Shape     { return Shape{Kind: k} }
func listOf(k ShapeKind) Shape { return Shape{Kind: ListShape, Elem: &Shape{Kind: k}} }
func mapOf(k ShapeKind) Shape  { return Shape{Kind: DictShape, Elem: &Shape{Kind: k}} }
func recordsOf(fs ...NamedShape) Shape {
	return Shape{Kind: ListShape, Elem: &Shape{Kind: DictShape, Fields: fs}}
}

func slots(pairs ...any) []NamedShape {
	var out []NamedShape
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, NamedShape{pairs[i].(string), pairs[i+1].(Shape)})
	}
	return out
}

func TestSeedPrompt(t *testing.T) {
	people := recordsOf(slots("name", of(StrShape), "age", of(IntShape), "done", of(BoolShape))...)
	for _, c := range []struct {
		name string
		task Task
		want string
	}{
		{"a slot named", Task{Selector: "increase_count_by", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}, "$0:int^qty\n_increase$0_by(n)\n"},
		{"capitals", Task{Selector: "increaseCountBy", Slots: slots("count", of(IntShape)), Args: []Shape{of(FloatShape)}}, "$0:int^qty\n_increase$0_by(n)\n"},
		{"the longer name first", Task{Selector: "increase_max_count", Slots: slots("count", of(IntShape), "max_count", of(IntShape))}, "$0:int^qty$1:int^limit\n_increase$1()\n"},
		{"singular of a list", Task{Selector: "add_book", Slots: slots("books", listOf(StrShape)), Args: []Shape{of(StrShape)}}, "$0:[str]\n_add$0'(str)\n"},
		{"a verb that is a slot's name", Task{Selector: "vote_for", Slots: slots("votes", mapOf(IntShape)), Args: []Shape{of(StrShape)}}, "$0:{n}\n_vote_for(str)\n"},
		{"a slot's name that is a verb", Task{Selector: "total_price", Slots: slots("total", of(IntShape), "price", of(IntShape))}, "$0:int$1:int^price\n_total$1()\n"},
		{"a noun that is no slot", Task{Selector: "add_to_door", Slots: slots("locked", of(BoolShape))}, "$0:bool\n_add_to~()\n"},
		{"the receiver's own name", Task{Selector: "increase_gadget", Receiver: "gadget", Slots: slots("count", of(IntShape))}, "$0:int^qty\n_increase~()\n"},
		{"a verb that makes a flag", Task{Selector: "lock_door", Slots: slots("locked", of(BoolShape))}, "$0:bool\n_make$0()\n"},
		{"a verb that unmakes it", Task{Selector: "unlock", Slots: slots("locked", of(BoolShape))}, "$0:bool\n_un$0()\n"},
		{"an opposite", Task{Selector: "close", Slots: slots("is_open", of(BoolShape))}, "$0:bool\n_un$0()\n"},
		{"an opposite state", Task{Selector: "is_closed", Slots: slots("open", of(BoolShape))}, "$0:bool\n_is_not$0()\n"},
		{"fields", Task{Selector: "find_by_age", Slots: slots("people", people), Args: []Shape{of(IntShape)}}, "$0:[rec]{#0:str^name,#1:n^age,#2:bool}\n_find_by#1(n)\n"},
		{"what a verb is about comes first", Task{Selector: "level_up", Slots: slots("limit", of(IntShape), "count", of(IntShape))}, "$0:int^qty$1:int^limit\n_level_up()\n"},
		{"part of a name", Task{Selector: "increase_speed", Slots: slots("current_speed", of(IntShape), "name", of(StrShape))}, "$0:int^current$1:str^name\n_increase$0()\n"},
		{"private slots are left out", Task{Selector: "count_all", Slots: slots("_tmp", of(IntShape), "items", listOf(StrShape))}, "$0:[str]\n_count_all()\n"},
		{"named arguments", Task{Selector: "increase", Slots: slots("count", of(IntShape)), Kwargs: slots("by", of(IntShape))}, "$0:int^qty\n_increase_by(n)\n"},
		{"types", Task{Selector: "display_yourself", Slots: slots("a", of(FloatShape), "b", Shape{Kind: ListShape}, "c", Shape{Kind: DictShape}, "d", of(NoneShape), "e", of(ObjShape), "f", of(AnyShape))}, "$0:float$1:[?]$2:{?}$3:none$4:obj$5:any\n_display_yourself()\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.task.Kind = Method
			p, err := testSeed(t).Prompt(c.task)
			if err != nil || p.Text() != c.want {
				t.Errorf("%q, %v; want %q", p.Text(), err, c.want)
			}
		})
	}
}

func TestSeedUnknownWords(t *testing.T) {
	_, err := testSeed(t).Compose(Task{Kind: Method, Selector: "frobnicate_count_wildly", Slots: slots("count", of(IntShape))}, nil)
	if batos.CodeOf(err) != batos.Refused || !strings.Contains(err.Error(), `"frobnicate", "wildly"`) {
		t.Errorf("%v, want a refusal that names both words", err)
	}
	if _, err := testSeed(t).Compose(Task{Kind: "verse", Selector: "count"}, nil); batos.CodeOf(err) != batos.Refused {
		t.Errorf("a verse: %v, want refused", err)
	}
	if _, err := (Seed{}).Compose(Task{Kind: Method, Selector: "count"}, nil); batos.CodeOf(err) != batos.Invalid {
		t.Errorf("without a model: %v, want invalid", err)
	}
}

func TestSeedRead(t *testing.T) {
	s := testSeed(t)
	task := Task{Kind: Method, Selector: "increase_count_by", Receiver: "counter_obj", Slots: slots("count", of(IntShape)), Args: []Shape{of(IntShape)}}
	answer := func(body string, logprob float64) *Result {
		r := &Result{Tokens: s.tok.Encode(body), Stop: StopEnd}
		for range r.Tokens {
			r.Logprobs = append(r.Logprobs, float32(logprob/float64(len(r.Tokens))))
		}
		return r
	}
	long := answer("if a > 0:\n $0 = $0 + a\nself._p_changed = True\nreturn [\"%0 %~\", a.a, \"a\\\"\"]", math.Log(0.9))
	a, err := s.Read(task, nil, long)
	sure := math.Pow(0.9, min(1, usualAnswer/float64(len(long.Tokens)))) // a long answer counts as one of the usual length
	want := "def increase_count_by(self, amount):\n    if amount > 0:\n        self.count = self.count + amount\n    self._p_changed = True\n    return [\"count counter\", amount.a, \"a\\\"\"]\n"
	if err != nil || a.Source != want || math.Abs(a.Confidence-sure) > 1e-4 {
		t.Errorf("%v, %.3f\n%s", err, a.Confidence, a.Source)
	}
	for name, r := range map[string]*Result{
		"it said so":              {Tokens: []int32{SeedRefuse}, Stop: StopEnd},
		"too unsure":              answer("return $0", math.Log(0.3)),
		"cut off":                 {Tokens: s.tok.Encode("return"), Stop: StopLength},
		"a slot that is not":      answer("return $1", 0),
		"an argument that is not": answer("return b", 0),
		"a text without end":      answer("return \"x", 0),
		"a control entry":         {Tokens: []int32{SeedPad}, Stop: StopEnd},
		"not text":                {Tokens: []int32{seedBytes + 0xff}, Stop: StopEnd},
		"no such entry":           {Tokens: []int32{1 << 20}, Stop: StopEnd},
	} {
		if _, err := s.Read(task, nil, r); batos.CodeOf(err) != batos.Refused {
			t.Errorf("%s: %v, want refused", name, err)
		}
	}
}

// A variable of the answer never hides a parameter.
func TestSeedParameters(t *testing.T) {
	task := Task{Kind: Method, Selector: "total", Slots: slots("items", listOf(IntShape)), Kwargs: slots("xs", of(IntShape))}
	got, err := testSeed(t).Source(task, "xs = $0\nreturn sum(xs) + a")
	want := "def total(self, xs):\n    xs_ = self.items\n    return sum(xs_) + xs\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestSeedBind(t *testing.T) {
	text, err := json.Marshal(testTables())
	if err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(string(text), `"version":1`, `"version":0`, 1)
	for name, c := range map[string]struct {
		meta string
		size int
		ok   bool
	}{
		"fits":              {string(text), testSeed(t).tok.Size(), true},
		"none":              {"", 0, false},
		"damaged":           {"{", 0, false},
		"another version":   {old, 0, false},
		"another tokenizer": {string(text), 7, false},
	} {
		p, err := Seed{}.Bind(Info{Meta: map[string]string{"seed": c.meta}, VocabSize: c.size})
		if c.ok != (err == nil) || c.ok && p.Name() != SeedName || !c.ok && batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSeedTokenizer(t *testing.T) {
	for _, pieces := range [][]string{{"x"}, {"ab", "ab"}} {
		if _, err := NewSeedTokenizer(pieces, nil); err == nil {
			t.Errorf("%q was accepted", pieces)
		}
	}
	tok := testSeed(t).tok
	// A word is found whole or not at all; a part is found anywhere.
	for text, n := range map[string]int{"_increase": 1, "_increases": 10, "xs": 1, "xsa": 3, "mother": 4, "$0 = $0": 3} {
		if got := tok.Encode(text); len(got) != n {
			t.Errorf("%q has %d entries, want %d", text, len(got), n)
		}
	}
}

func FuzzSeedTokenizer(f *testing.F) {
	for _, s := range []string{"", "self._p_changed = True", "$0$1", "é\n\x00", "_increase$0"} {
		f.Add(s)
	}
	tok := testSeed(f).tok
	f.Fuzz(func(t *testing.T, s string) {
		got, err := tok.Decode(tok.Encode(s))
		if err == nil && got != s || err != nil && strings.ToValidUTF8(s, "") == s {
			t.Errorf("%q came back as %q, %v", s, got, err)
		}
	})
}

// Whatever a model writes, the answer is a method of the right name or a
// refusal, and never a panic.
func FuzzSeedAnswer(f *testing.F) {
	for _, s := range []string{"return $0", "if a:\n return \"%0\"", "\"", "\\", "#0 $", "\"#0\\"} {
		f.Add(s)
	}
	s := testSeed(f)
	task := Task{Kind: Method, Selector: "total", Slots: slots("items", recordsOf(slots("price", of(IntShape))...)), Args: []Shape{of(StrShape)}}
	f.Fuzz(func(t *testing.T, body string) {
		source, err := s.Source(task, body)
		if err == nil && !strings.HasPrefix(source, "def total(self, text):\n") {
			t.Errorf("%q became %q", body, source)
		}
	})
}

func TestSingular(t *testing.T) {
	for plural, want := range map[string]string{
		"books": "book", "entries": "entry", "boxes": "box", "people": "person", "status": "status", "class": "class",
		"buses": "bus", "prices": "price", "gas": "gas", "movies": "movie", "qty": "quantity", "temps": "temperature", "batches": "batch",
	} {
		if got := singular(plural); got != want {
			t.Errorf("%s is %s, want %s", plural, got, want)
		}
	}
}

// A word that the corpus lacks is read as one that means the same, if there is
// one; what the corpus has is never touched.
func TestSeedKnownWords(t *testing.T) {
	lex := lexicon{words: wordSet("find remove capitalize color prize previous next")}
	for w, want := range map[string]string{
		"find": "find", "finds": "find", "detect": "find", "detects": "find", "demolish": "remove", "capitalise": "capitalize",
		"colour": "color", "colours": "color", "prize": "prize", "prior": "previous", "upcoming": "next", "frobnicate": "", "commence": "",
	} {
		if got, _ := lex.known(w); got != want {
			t.Errorf("%s is read as %q, want %q", w, got, want)
		}
	}
}
