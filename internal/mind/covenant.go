package mind

import (
	"fmt"
	"math"
	"strings"

	"batos"
)

// CovenantName is the name of the profile for any chat model.
const CovenantName = "covenant"

// Covenant speaks to any instruction-following chat model in plain words: the
// rules that the Persona Codex has for the work ([Task].Rules), the facts of the task, and for a repair what was
// written before and why it was turned down. Its grammars hold the model to
// one method with the right head, or to one JSON object. Its zero value is
// ready.
type Covenant struct{}

var _ Profile = Covenant{}

// Bounds of the answers, in tokens, and of what of earlier attempts is told.
const (
	methodTokens   = 768
	planTokens     = 192
	listTokens     = 256 // of requirements and tests
	describeTokens = 96
	toldAttempts   = 2
	maxTold        = 4000 // bytes of a source or an error that goes back to the model
)

// Name is "covenant".
func (Covenant) Name() string { return CovenantName }

// Serves reports whether chat models are asked for this kind of work: all but
// layouts.
func (Covenant) Serves(kind Kind) bool {
	switch kind {
	case Method, Plan, Describe, Requirements, Tests, Reply:
		return true
	}
	return false
}

// Compose writes the conversation. It refuses a message whose named arguments
// could not be parameters, and a kind of work it does not serve; a task without
// rules is invalid.
func (c Covenant) Compose(t Task, earlier []Attempt) (Request, error) {
	sig, err := signature(t)
	if err != nil {
		return Request{}, err
	}
	if !c.Serves(t.Kind) {
		return Request{}, batos.Errorf(batos.Refused, "a chat model is not asked for work of the kind %q", t.Kind)
	}
	if t.Rules == "" {
		return Request{}, batos.Errorf(batos.Invalid, "the codex has no prompt for work of the kind %q and the profile %q", t.Kind, CovenantName)
	}
	facts := describe(t)
	var r Request
	r.Grammar, r.Schema = formOf(t, sig)
	ask := ""
	switch t.Kind {
	case Method:
		ask, r.MaxTokens = "\n\nWrite the method. It begins with\n"+sig, methodTokens
	case Plan:
		r.MaxTokens = planTokens
	case Describe:
		ask, r.MaxTokens = "\n\nWhat is it for?", describeTokens
	case Requirements, Tests, Reply:
		r.MaxTokens = listTokens
	}
	r.Chat = []Turn{{System, t.Rules}, {User, facts + ask}}
	if n := len(earlier); n > 0 && t.Kind == Method {
		// The same words at temperature zero would give the same answer.
		r.Temperature, r.TopP, r.Seed = min(0.3*float32(n), 0.9), 0.95, uint64(n)
		for _, a := range earlier[max(0, n-toldAttempts):] {
			r.Chat = append(r.Chat, Turn{Assistant, short(a.Source)},
				Turn{User, "That was turned down: " + short(a.Error) + "\nWrite the whole method again. It begins with\n" + sig})
		}
	}
	return r, nil
}

func short(s string) string {
	if len(s) <= maxTold {
		return s
	}
	return strings.ToValidUTF8(s[:maxTold], "") + " …"
}

// describe tells the facts of a task, one line each.
func describe(t Task) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if t.Receiver != "" {
		line("Object: %s", t.Receiver)
	}
	if len(t.Slots) == 0 {
		line("Slots: none")
	} else {
		line("Slots:")
		for _, s := range t.Slots {
			line("  %s: %s", s.Name, s.Shape)
		}
	}
	if len(t.Methods) > 0 {
		line("It understands: %s", strings.Join(t.Methods, ", "))
	}
	if t.Example != "" {
		line("Now: %s", short(t.Example))
	}
	if t.Selector != "" {
		var args []string
		for _, a := range t.Args {
			args = append(args, a.String())
		}
		for _, k := range t.Kwargs {
			args = append(args, k.Name+"="+k.Shape.String())
		}
		line("Message: %s(%s)", t.Selector, strings.Join(args, ", "))
	}
	if t.Intent != "" {
		line("Purpose: %s", short(t.Intent))
	}
	if t.Findings != "" {
		line("%s", short(t.Findings))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// String writes a shape as a person would say it: "list of {name: str}".
func (s Shape) String() string {
	switch {
	case len(s.Fields) > 0:
		var fields []string
		for _, f := range s.Fields {
			fields = append(fields, f.Name+": "+f.Shape.String())
		}
		return "{" + strings.Join(fields, ", ") + "}"
	case s.Elem == nil:
		return string(s.Kind)
	case s.Kind == DictShape:
		return "dict from str to " + s.Elem.String()
	}
	return string(s.Kind) + " of " + s.Elem.String()
}

// signature is the def line that a method for the task has. Positional
// arguments have no names in a message, so they are named by their type.
func signature(t Task) (string, error) {
	if t.Kind != Method {
		return "", nil
	}
	params := []string{"self"}
	taken := map[string]bool{"self": true}
	for _, k := range t.Kwargs {
		if _, err := batos.ParseSelector(k.Name); err != nil || strings.Contains(k.Name, ":") || taken[k.Name] {
			return "", batos.Errorf(batos.Refused, "the named argument %.60q cannot be a parameter", k.Name)
		}
		taken[k.Name] = true
	}
	for _, a := range t.Args {
		base := parameterNames[a.Kind]
		if base == "" {
			base = "value"
		}
		name := base
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s%d", base, n)
		}
		taken[name] = true
		params = append(params, name)
	}
	for _, k := range t.Kwargs {
		params = append(params, k.Name)
	}
	return "def " + string(t.Selector) + "(" + strings.Join(params, ", ") + "):", nil
}

var parameterNames = map[ShapeKind]string{
	IntShape: "value", FloatShape: "value", StrShape: "text", BoolShape: "flag",
	ListShape: "items", DictShape: "record", ObjShape: "other",
}

// Read takes the method, plan or sentence out of what the model wrote. The
// error is invalid, and another attempt may help, when there is none or it was
// cut off. The answer is filled in as far as it goes in any case.
func (Covenant) Read(t Task, _ []Attempt, r *Result) (Answer, error) {
	a := Answer{Confidence: confidence(r.Logprobs)}
	text := strings.ReplaceAll(r.Text, "\r\n", "\n")
	switch t.Kind {
	case Method:
		sig, err := signature(t)
		if err != nil {
			return a, err
		}
		a.Source, a.Notes = methodSource(text, sig, t.Selector)
	case Plan, Requirements, Tests:
		a.Source = strings.TrimSpace(unfence(text))
	default:
		a.Source = strings.TrimSpace(text)
	}
	switch {
	case r.Stop == StopLength:
		return a, batos.Errorf(batos.Invalid, "the model did not come to an end within %d tokens", len(r.Tokens))
	case a.Source == "" && t.Kind == Method:
		return a, batos.Errorf(batos.Invalid, "the model wrote no method: %.80q", text)
	case a.Source == "":
		return a, batos.Errorf(batos.Invalid, "the model wrote nothing")
	}
	return a, nil
}

// confidence is the geometric mean of the token probabilities; 0 without
// tokens.
func confidence(logprobs []float32) float64 {
	if len(logprobs) == 0 {
		return 0
	}
	sum := 0.0
	for _, p := range logprobs {
		sum += float64(p)
	}
	return math.Exp(sum / float64(len(logprobs)))
}
