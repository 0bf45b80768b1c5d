// Package codex reads the Persona Codex: one Markdown document that people
// read as prose and the system reads as law. It says who the personas are, how
// each is asked for each kind of work, which workflow answers which kind of
// query, and the states that a workflow walks through.
//
// Read in this order: [Codex] and its parts, [Parse], [Problems]. The document
// that ships is genesis/persona_codex.md; docs/workflows.md tells its form to
// people. The package is pure: it knows no image, no model and no clock.
package codex

import (
	"fmt"
	"slices"
	"strings"

	"batos"
)

// Codex is a document that was understood.
type Codex struct {
	Personas  []Persona
	Matrix    []Rule // of the Collaborative Dynamics Matrix, in order
	Workflows []Workflow
	Source    string
}

// Persona is one role of the mind.
type Persona struct {
	Name    string // BRICK
	Title   string
	Voice   string
	Duties  string
	Adapter string // name of the LoRA adapter; "base" is the model without one
	Prompts []Prompt
	Line    int
}

// Prompt is what a persona tells a model of one profile to do for one kind of
// work. {voice}, {title} and {duties} stand for the persona's own.
type Prompt struct {
	Kind    string
	Profile string
	Grammar string // what the answer is held to: see [Grammars]
	Text    string
	Line    int
}

// Rule is one row of the matrix: which queries it is about, and who does what.
type Rule struct {
	Query      string   // name of the kind of query
	Type       string   // mission type
	Selectors  []string // empty: any
	Workflow   string
	Lead       string
	Checks     string
	OnDemand   string
	Conclusion string
	Line       int
}

// Workflow is a row of states.
type Workflow struct {
	Name    string
	Purpose string
	Context string // root name of the prototype of its contexts
	Steps   []Step
	Line    int
}

// Step is one state of a workflow.
type Step struct {
	State      string // root name of the state, or what psm_prototypes_obj calls it
	Works      []Work
	Then, Else string // states; "" for an end
	Line       int
}

// Work is what one persona does in a state. Several in one state may go on at
// the same time.
type Work struct {
	Persona string // a name, or a place of the matrix: lead, checks, on demand, conclusion
	Kind    string
	Policy  Policy
	Except  []string // profiles for which the policy is the other way round
	Line    int
}

// Policy says whether a model is asked.
type Policy string

const (
	Asked   Policy = "asked"   // if the model in use serves the work
	Skipped Policy = "skipped" // the image's own facts do
)

// Asks reports whether a model of this profile is to be asked.
func (w Work) Asks(profile string) bool {
	return (w.Policy == Asked) != slices.Contains(w.Except, profile)
}

// Kinds of work that a step may name.
var Kinds = []string{"plan", "requirements", "describe", "method", "layout", "tests", "second_opinion", "answer"}

// Grammars that a prompt may ask for.
var Grammars = []string{"method", "plan", "sentence", "text", "requirements", "tests", "layout", "none"}

// Places of the matrix that a step may name instead of a persona.
var places = []string{"lead", "checks", "on demand", "conclusion"}

// Ends are the states that every workflow may name without a row for them.
var Ends = []string{"COMPLETE", "FAILED", "CANCELLED", "AWAITING_APPROVAL"}

// Persona gives the persona of that name, or nil.
func (c *Codex) Persona(name string) *Persona {
	for i := range c.Personas {
		if c.Personas[i].Name == name {
			return &c.Personas[i]
		}
	}
	return nil
}

// Workflow gives the workflow of that name, or nil.
func (c *Codex) Workflow(name string) *Workflow {
	for i := range c.Workflows {
		if c.Workflows[i].Name == name {
			return &c.Workflows[i]
		}
	}
	return nil
}

// filled are the places in a prompt that [Persona.Fill] fills.
var filled = []string{"voice", "title", "duties"}

// Fill puts the persona into one of its prompts.
func (p *Persona) Fill(text string) string {
	return strings.NewReplacer("{voice}", p.Voice, "{title}", p.Title, "{duties}", p.Duties).Replace(text)
}

// Problem is one thing that is wrong with a document.
type Problem struct {
	Line int
	Text string // what is wrong, and what to write
}

// Problems are all that was found, by line.
type Problems struct {
	File  string
	Found []Problem
}

// shownProblems bounds the text of the error.
const shownProblems = 5

// Err is nil if there are none, else an error of code invalid whose text is
// one line: "persona_codex.md:12: …; persona_codex.md:30: …".
func (p *Problems) Err() error {
	if len(p.Found) == 0 {
		return nil
	}
	slices.SortStableFunc(p.Found, func(a, b Problem) int { return a.Line - b.Line })
	var parts []string
	for i, f := range p.Found {
		if i == shownProblems {
			parts = append(parts, fmt.Sprintf("and %d more", len(p.Found)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s:%d: %s", p.File, f.Line, f.Text))
	}
	return batos.Errorf(batos.Invalid, "%s", strings.Join(parts, "; "))
}

func (p *Problems) add(line int, format string, args ...any) {
	p.Found = append(p.Found, Problem{Line: max(1, line), Text: fmt.Sprintf(format, args...)})
}
