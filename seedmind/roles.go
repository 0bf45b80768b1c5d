package seedmind

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"batos"
	"batos/internal/method"
	"batos/internal/mind"
	"batos/object"
)

// Role is what a persona's adapter is trained on.
type Role struct {
	Persona string
	Text    string      // for people
	Kinds   []mind.Kind // its work, as often as it stands there
}

// Roles are the personas' roles, in the order of [Personas].
func Roles() []Role {
	return []Role{
		{"BRICK", "writes methods, and plans what they read and change", []mind.Kind{mind.Method, mind.Method, mind.Plan}},
		{"ROBIN", "describes methods in a sentence, and lays out displays", []mind.Kind{mind.Describe, mind.Layout}},
		{"BABS", "lists what a display must show", []mind.Kind{mind.Requirements}},
		{"ALFRED", "writes tests: a call with its outcome", []mind.Kind{mind.Tests}},
	}
}

// RoleOf gives the role of a persona.
func RoleOf(persona string) (Role, error) {
	for _, r := range Roles() {
		if r.Persona == persona {
			return r, nil
		}
	}
	return Role{}, batos.Errorf(batos.Invalid, "%q is no persona; there are %s", persona, strings.Join(Personas, ", "))
}

// RoleExamples gives the training examples of a role, as the trainer takes
// them.
type RoleExamples struct {
	Examples
	role    Role
	methods *Generator // as the model's own training ended
}

// NewRoleExamples makes the source of an adapter's training. seed must not be
// that of the model's own training, nor of a held-out set.
func NewRoleExamples(c *Corpus, tok *mind.SeedTokenizer, role Role, seed uint64, longest int) *RoleExamples {
	gen := NewGenerator(c, seed)
	gen.grown = true
	e := Examples{gen: gen, tok: tok, max: longest}
	return &RoleExamples{Examples: e, role: role, methods: e.Polished(1, Standard().Polish[0], longest).gen}
}

// Example gives the n-th example. Of methods, some are of those that the model
// is to refuse, as in its own training.
func (e *RoleExamples) Example(n int) (tokens []int32, supervised []bool) {
	return e.draw(n, func(r *rand.Rand) Sample {
		kind := e.role.Kinds[r.IntN(len(e.role.Kinds))]
		if kind == mind.Method {
			if r.IntN(100) < partRefuse {
				return e.methods.refusal(r)
			}
			return e.methods.work(r, kind)
		}
		return e.gen.work(r, kind)
	})
}

// RoleSet is a held-out set of a role, as a source of examples and as prompts
// with right answers.
type RoleSet struct {
	Samples []Sample
	tok     *mind.SeedTokenizer
}

// NewRoleSet draws n examples that no training has seen: half of them with
// phrases that are held out, half with objects that are.
func NewRoleSet(c *Corpus, tok *mind.SeedTokenizer, role Role, n int, seed uint64) *RoleSet {
	seen, held := NewGenerator(c, seed), NewGenerator(c, seed)
	seen.grown, held.grown = true, true
	held.held = func(m Meaning) bool { return !m.Held || heldCell(m.Family) }
	r := rand.New(rand.NewPCG(seed, 0x0b5e55ed))
	set := &RoleSet{tok: tok}
	for i := range n {
		g := seen
		if i%2 == 1 {
			g = held
		}
		set.Samples = append(set.Samples, g.work(r, role.Kinds[i/2%len(role.Kinds)]))
	}
	return set
}

// Example gives the n-th sample in tokens; after the last one the first comes
// again.
func (s *RoleSet) Example(n int) (tokens []int32, supervised []bool) {
	sample := s.Samples[n%len(s.Samples)]
	prompt, answer, err := Tokens(s.tok, sample)
	if err != nil {
		panic(err) // every kind of a role has a mark
	}
	return marked(prompt, answer)
}

// Ask is the request for a sample's answer, under the adapter with that hash.
func (s *RoleSet) Ask(i int, adapter string) (mind.Request, error) {
	prompt, _, err := Tokens(s.tok, s.Samples[i])
	return mind.Request{
		Tokens: prompt, Gloss: s.Samples[i].Prompt.Text(), Adapter: adapter, StopTokens: []int32{mind.SeedEnd}, MaxTokens: 200,
	}, err
}

// Right reports whether an answer to a sample is right: a method does what the
// right one does, a test's outcome is what the right method makes of its call,
// and all else is what it should be, word for word.
func (s *RoleSet) Right(ctx context.Context, i int, r *mind.Result) bool {
	sample := s.Samples[i]
	if r.Stop != mind.StopEnd {
		return false
	}
	text, err := s.tok.Decode(r.Tokens)
	if err != nil {
		return false
	}
	switch sample.Kind {
	case mind.Method:
		return sample.sameMethod(ctx, text, uint64(i))
	case mind.Tests:
		return sample.holds(ctx, text)
	}
	return text == sample.Answer
}

// trialSeed is the seed of the states that answers are tried on.
const trialSeed = 4711

func (s Sample) sameMethod(ctx context.Context, body string, seed uint64) bool {
	ref, err := newReference(s)
	if err != nil {
		return false
	}
	source, err := mind.SeedSource(selectorForTrials, s.Prompt, ref.slots, ref.fields, "thing", body)
	if err != nil {
		return false
	}
	program, err := method.Compile(string(selectorForTrials), source)
	if err != nil {
		return false
	}
	same, _ := ref.agrees(ctx, program, states{r: rand.New(rand.NewPCG(trialSeed, seed))}, trialStates)
	return same
}

// holds runs the method of the sample's meaning on a test's call.
func (s Sample) holds(ctx context.Context, text string) bool {
	var test struct {
		Slots, After map[string]json.RawMessage
		Args         []json.RawMessage
		Want         json.RawMessage
	}
	if json.Unmarshal([]byte(text), &test) != nil || test.Want == nil || len(test.Args) != len(s.Prompt.Args) {
		return false
	}
	if used := s.Meaning.slots(); len(test.Slots) != used || len(test.After) != used {
		return false
	}
	method := s
	method.Kind, method.Answer = mind.Method, s.Meaning.Body(s.Prompt)
	ref, err := newReference(method)
	if err != nil {
		return false
	}
	slots := ref.state(states{r: rand.New(rand.NewPCG(trialSeed, 3)), plain: true})
	if !putInto(slots, test.Slots) {
		return false
	}
	var args []object.Value
	for _, raw := range test.Args {
		v, err := oneValue(raw)
		if err != nil {
			return false
		}
		args = append(args, v)
	}
	want, err := oneValue(test.Want)
	if err != nil {
		return false
	}
	got, after, err := ref.world.Call(ctx, ref.program, slots, args)
	if err != nil {
		return false
	}
	expected := append([]object.Slot(nil), after...)
	return putInto(expected, test.After) && call{want: want, after: expected}.differs(got, after) == ""
}

// putInto gives slots by alias the values of a test; false if there is no such
// slot or value.
func putInto(slots []object.Slot, values map[string]json.RawMessage) bool {
	for alias, raw := range values {
		if !strings.HasPrefix(alias, "$") || number(alias[1:]) >= len(slots) {
			return false
		}
		v, err := oneValue(raw)
		if err != nil {
			return false
		}
		slots[number(alias[1:])].Value = v
	}
	return true
}

func oneValue(raw json.RawMessage) (object.Value, error) {
	vs, err := parseValues(string(raw))
	if err != nil {
		return nil, err
	}
	if len(vs) != 1 {
		return nil, batos.Errorf(batos.Invalid, "%q is not one value", raw)
	}
	return vs[0], nil
}

// slots is how many slots the meaning is about.
func (m Meaning) slots() int {
	if len(m.Family.Forms) == 0 {
		return 0
	}
	return len(m.Family.Forms[0])
}

// AdapterRecipe is everything that, together with model and corpus, decides
// an adapter.
type AdapterRecipe struct {
	Seed                                      uint64
	Rank                                      int
	Alpha                                     float32
	Targets                                   []string // empty: every matrix of a block
	Steps, BatchTokens, RowTokens, HeadTokens int
	LR, FinalLR                               float32
	Warmup                                    int // steps
	BF16                                      bool
}

// StandardAdapter is the recipe of a shipped adapter. BRICK's work is what the
// model can do already, so his goes gently; ALFRED's is the hardest.
func StandardAdapter(persona string) AdapterRecipe {
	r := AdapterRecipe{
		Seed: 1001, Rank: 8, Alpha: 16, Steps: 300, BatchTokens: 1536, RowTokens: 128, HeadTokens: 896,
		LR: 4e-3, FinalLR: 1e-4, Warmup: 20, BF16: true,
	}
	switch persona {
	case "BRICK":
		r.LR, r.FinalLR, r.Steps = 2e-3, 2e-5, 900
	case "ROBIN":
		r.Steps = 500
	case "BABS":
		r.LR, r.Steps, r.RowTokens = 6e-3, 700, 192
	case "ALFRED":
		r.Rank, r.Alpha, r.LR, r.Steps = 16, 32, 8e-3, 1100
		r.Targets = []string{"attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}
	}
	return r
}

func (r AdapterRecipe) String() string {
	type plain AdapterRecipe
	return fmt.Sprintf("%+v", plain(r))
}

// Text is what the model wrote, for people.
func (s *RoleSet) Text(r *mind.Result) string {
	text, err := s.tok.Decode(r.Tokens)
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return text
}
