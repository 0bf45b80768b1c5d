// Package guardian reads one method before it may run and says whether it
// keeps the Persistence Covenant: every way out of a method that may have
// changed state is directly preceded by
//
//	self._p_changed = True
//
// It also refuses what no method may contain, whoever wrote it: more or other
// than one def, names that belong to the kernel, code that would run before
// the method is called.
//
// The audit is static and errs on the side of the covenant. It follows values
// through variables, containers, local functions and lambdas, and asks at
// every place that could change something: may this be part of what a slot
// holds? What it cannot decide, such as whether a method that is given a slot's
// list changes it, counts as a change. It never runs anything, never fails on
// any input, and takes time linear in the length of the source.
//
// Read in this order: [Audit], [Options], [Report], [Finding]. Inside:
// parse.go turns source into one resolved def, rules.go looks for forbidden
// constructs, value.go is the graph of what may share structure with what,
// build.go and call.go fill it from the syntax, block.go keeps control flow
// and the versions of local variables, and path.go walks the exits.
package guardian

import (
	"fmt"
	"slices"
	"strings"

	"batos"
)

// Options say what the method is for.
type Options struct {
	// Selector is the name that the def must have; "" accepts any.
	Selector batos.Selector
	// Call is the call that the method must accept; nil accepts any.
	Call *Call
	// Generated is set for code that no person wrote and genesis did not
	// ship. It must keep the covenant and may not touch volatile slots; for
	// other code both are warnings.
	Generated bool
}

// Call is the shape of one message: the receiver is not counted.
type Call struct {
	Args   int      // positional arguments
	Kwargs []string // names of the others
}

// Report is what an audit found out about one method.
type Report struct {
	Selector batos.Selector // name of the def, "" if there is none
	Params   []string       // as written, without self: "n", "step=1", "*rest", "**named"
	// Writes says that the method may change state, its own or that of
	// another object, other than by sending messages.
	Writes bool
	// Assigned, Reads and Sends name what the text names: slots of self that
	// are assigned, slots of self that are read, selectors that are sent.
	// Sorted, without duplicates.
	Assigned []string
	Reads    []string
	Sends    []batos.Selector
	Findings []Finding // in order of position
}

// Rule names what a finding is about.
type Rule string

const (
	Size        Rule = "size"        // source too long or too deeply nested
	Syntax      Rule = "syntax"      // not one def of the dialect
	Shape       Rule = "shape"       // self is not the first parameter, or is assigned
	Name        Rule = "selector"    // the def has another name
	Arity       Rule = "arity"       // the def does not accept the message
	Toplevel    Rule = "toplevel"    // code that would run before the method is called
	Kernel      Rule = "kernel"      // a name that belongs to the kernel
	Volatile    Rule = "volatile"    // a _v_ slot
	Undefined   Rule = "undefined"   // a name that nothing defines
	Exit        Rule = "covenant"    // an exit after a change without the covenant
	Needless    Rule = "needless"    // the covenant where nothing changes
	Unreachable Rule = "unreachable" // statements that never run
)

// Severity says whether a finding stops the method.
type Severity uint8

const (
	Warning Severity = iota // worth a look
	Refusal                 // the method must not be installed
)

func (s Severity) String() string {
	if s == Refusal {
		return "refusal"
	}
	return "warning"
}

// Finding is one thing that is wrong, at one place of the source.
type Finding struct {
	Line, Col int // both from 1; columns count characters
	Rule      Rule
	Severity  Severity
	Text      string // what is wrong and what to write instead
}

func (f Finding) String() string {
	return fmt.Sprintf("line %d, column %d: %s", f.Line, f.Col, f.Text)
}

// Audit reads one method. The report is never nil; the error is
// [Report.Err]'s.
func Audit(src string, o Options) (*Report, error) {
	a := &audit{opts: o}
	a.run(src)
	slices.SortStableFunc(a.report.Findings, func(x, y Finding) int {
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		return x.Col - y.Col
	})
	return &a.report, a.report.Err()
}

// Refusals lists the findings that stop the method.
func (r *Report) Refusals() []Finding {
	var out []Finding
	for _, f := range r.Findings {
		if f.Severity == Refusal {
			out = append(out, f)
		}
	}
	return out
}

// shownFindings bounds how many findings the text of an error carries: enough
// for one repair, few enough for one line.
const shownFindings = 3

// Err is nil if nothing stops the method. Otherwise it is a *batos.Error with
// code covenant, if the covenant is all that is missing, or refused. Its text
// is one line that names the first places.
func (r *Report) Err() error {
	bad := r.Refusals()
	if len(bad) == 0 {
		return nil
	}
	code := batos.Covenant
	for _, f := range bad {
		if f.Rule != Exit {
			code = batos.Refused
		}
	}
	var parts []string
	for i, f := range bad {
		if i == shownFindings {
			parts = append(parts, fmt.Sprintf("and %d more", len(bad)-i))
			break
		}
		parts = append(parts, f.String())
	}
	return batos.Errorf(code, "%s", strings.Join(parts, "; "))
}

// audit is one run over one method.
type audit struct {
	opts   Options
	report Report
	work   int // edges and blocks looked at; tests hold it to the source's length
}

func (a *audit) find(line, col int32, rule Rule, sev Severity, format string, args ...any) {
	a.report.Findings = append(a.report.Findings, Finding{
		Line: max(1, int(line)), Col: max(1, int(col)), Rule: rule, Severity: sev, Text: fmt.Sprintf(format, args...),
	})
}

// generated is the severity of a rule that binds generated code only.
func (a *audit) generated() Severity {
	if a.opts.Generated {
		return Refusal
	}
	return Warning
}
