package codex

import (
	"slices"
	"strings"
)

// contexts are the prototypes of contexts by what leads a workflow there.
const (
	missionContext  = "cycle_context_obj"
	workflowContext = "orchestrator_context_obj"
)

// finish checks that all parts fit together.
func (p *parser) finish() {
	c := p.out
	if len(c.Personas) == 0 {
		p.problems.add(1, "there is no section \"Personas\" with a ### heading for each")
	}
	if len(c.Matrix) == 0 {
		p.problems.add(1, "there is no section \"Collaborative Dynamics Matrix\" with a table")
	}
	if len(c.Workflows) == 0 {
		p.problems.add(1, "there is no section \"Workflows\" with a ### heading for each")
	}
	for i := range c.Personas {
		p.checkPersona(&c.Personas[i])
	}
	for i := range c.Matrix {
		p.checkRule(&c.Matrix[i])
	}
	p.checkTypes()
	for i := range c.Workflows {
		p.checkWorkflow(&c.Workflows[i])
	}
}

func (p *parser) checkPersona(who *Persona) {
	for _, need := range []struct{ name, text string }{{"Title", who.Title}, {"Voice", who.Voice}, {"Duties", who.Duties}, {"Adapter", who.Adapter}} {
		if need.text == "" {
			p.problems.add(who.Line, "%s has no %s", who.Name, need.name)
		}
	}
	for _, q := range who.Prompts {
		if q.Text == "" {
			p.problems.add(q.Line, "%s has no text for %s for %s: write it in a fenced block", who.Name, q.Kind, q.Profile)
		}
	}
}

func (p *parser) names() string {
	var names []string
	for _, who := range p.out.Personas {
		names = append(names, who.Name)
	}
	return strings.Join(names, ", ")
}

func (p *parser) checkRule(r *Rule) {
	if r.Query == "" || r.Type == "" {
		p.problems.add(r.Line, "a row of the matrix needs a query and a type")
	}
	for _, s := range r.Selectors {
		if !isName(s) {
			p.problems.add(r.Line, "%q cannot be a selector", s)
		}
	}
	for _, who := range []struct{ place, name string }{{"lead", r.Lead}, {"checks", r.Checks}, {"on demand", r.OnDemand}, {"conclusion", r.Conclusion}} {
		switch {
		case who.name == "" && (who.place == "lead" || who.place == "conclusion"):
			p.problems.add(r.Line, "%s has nobody in the column %q", r.Query, who.place)
		case who.name != "" && p.out.Persona(who.name) == nil:
			p.problems.add(r.Line, "no persona is called %q: there are %s", who.name, p.names())
		}
	}
	if p.out.Workflow(r.Workflow) == nil {
		p.problems.add(r.Line, "no workflow is called %q", r.Workflow)
	}
	for _, o := range p.out.Matrix {
		if &o != r && o.Line < r.Line && o.Type == r.Type && len(o.Selectors) == 0 {
			p.problems.add(r.Line, "%s is never reached: line %d takes all of type %s", r.Query, o.Line, r.Type)
		}
	}
}

// types are the types of mission that the system itself begins; the first is
// that of messages that nobody understood.
var types = []string{"unhandled_message", "question", "self_audit"}

// checkTypes demands a workflow for whatever is not understood, and finds slips
// in the names of types. People may add types of their own; what of the
// system's has no row, a codex does without.
func (p *parser) checkTypes() {
	for _, r := range p.out.Matrix {
		for _, t := range types {
			if r.Type != t && near(r.Type, t) {
				p.problems.add(r.Line, "%s: there is no type %q; write %s", r.Query, r.Type, t)
			}
		}
	}
	if p.matrix == 0 {
		return
	}
	if !slices.ContainsFunc(p.out.Matrix, func(r Rule) bool { return r.Type == types[0] && len(r.Selectors) == 0 }) {
		p.problems.add(p.matrix, "the matrix needs a row of type %s without selectors, for all that no other row takes", types[0])
	}
}

// near reports whether two words differ in at most two letters.
func near(a, b string) bool {
	x, y := []rune(a), []rune(b)
	above := make([]int, len(y)+1) // distances of what was read of x to each beginning of y
	for j := range above {
		above[j] = j
	}
	for i := range x {
		row := []int{i + 1}
		for j := range y {
			d := above[j]
			if x[i] != y[j] {
				d++
			}
			row = append(row, min(d, above[j+1]+1, row[j]+1))
		}
		above = row
	}
	return above[len(y)] <= 2
}

func (p *parser) checkWorkflow(w *Workflow) {
	if len(w.Steps) == 0 {
		p.problems.add(w.Line, "the workflow %s has no table of states", w.Name)
		return
	}
	w.Context = missionContext
	known := func(state string) bool {
		return slices.Contains(Ends, state) || slices.ContainsFunc(w.Steps, func(s Step) bool { return s.State == state })
	}
	for _, s := range w.Steps {
		if strings.HasSuffix(s.State, "_state") {
			w.Context = workflowContext
		}
		if !isName(s.State) {
			p.problems.add(s.Line, "%q cannot be a state", s.State)
		}
		end := slices.Contains(Ends, s.State)
		for _, to := range []struct{ column, state string }{{"then", s.Then}, {"else", s.Else}} {
			switch {
			case to.state == "" && !end && to.column == "then":
				p.problems.add(s.Line, "state %s leads nowhere: the column then is empty", s.State)
			case to.state != "" && !known(to.state):
				p.problems.add(s.Line, "state %s leads to %q, which has no row in %s", s.State, to.state, w.Name)
			}
		}
		for _, k := range s.Works {
			if !slices.Contains(places, k.Persona) && p.out.Persona(k.Persona) == nil {
				p.problems.add(k.Line, "no persona is called %q: there are %s, and the places %s", k.Persona, p.names(), strings.Join(places, ", "))
			}
		}
	}
	reached := map[string]bool{}
	var walk func(string)
	walk = func(state string) {
		if state == "" || reached[state] {
			return
		}
		reached[state] = true
		for _, s := range w.Steps {
			if s.State == state {
				walk(s.Then)
				walk(s.Else)
			}
		}
	}
	walk(w.Steps[0].State)
	if !reached["COMPLETE"] {
		p.problems.add(w.Line, "the workflow %s cannot end well: COMPLETE is not reached from %s", w.Name, w.Steps[0].State)
	}
	for _, s := range w.Steps {
		if !reached[s.State] && !slices.Contains(Ends, s.State) {
			p.problems.add(s.Line, "state %s is not reached from %s", s.State, w.Steps[0].State)
		}
	}
}
