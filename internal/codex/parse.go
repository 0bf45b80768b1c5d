package codex

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	table "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"batos"
)

// maxSource bounds a document, in bytes.
const maxSource = 256 << 10

// Parse reads a document; file is its name in errors. What it demands:
//
//	## Personas              a ### section for each: a list of Title, Voice,
//	                         Duties, Adapter; #### KIND for PROFILE with a
//	                         fenced prompt, whose info string may say
//	                         grammar=NAME
//	## Collaborative Dynamics Matrix   one table
//	## Workflows             a ### section for each: prose, and one table
//
// Other sections and all other prose are for people. The error, of code
// invalid, names the line and what is wrong with it.
func Parse(file, source string) (*Codex, error) {
	if len(source) > maxSource {
		return nil, batos.Errorf(batos.Limit, "%s: a codex has at most %d KiB", file, maxSource>>10)
	}
	if !utf8.ValidString(source) {
		return nil, batos.Errorf(batos.Invalid, "%s: the codex is not UTF-8 text", file)
	}
	source = strings.ReplaceAll(source, "\r\n", "\n")
	md := goldmark.New(goldmark.WithExtensions(extension.Table))
	src := []byte(source)
	p := &parser{src: src, problems: Problems{File: file}, out: &Codex{Source: source}}
	for n := md.Parser().Parse(text.NewReader(src)).FirstChild(); n != nil; n = n.NextSibling() {
		p.block(n)
	}
	p.finish()
	if err := p.problems.Err(); err != nil {
		return nil, err
	}
	return p.out, nil
}

type parser struct {
	src      []byte
	problems Problems
	out      *Codex

	section  string // of level 2, in lower case
	persona  *Persona
	prompt   *Prompt
	workflow *Workflow
	matrix   int // the line of its table; 0 before it
}

// line is the line, from 1, of a node or of the first text below it.
func (p *parser) line(n ast.Node) int {
	if at := p.offset(n); at >= 0 {
		return 1 + strings.Count(string(p.src[:at]), "\n")
	}
	return 1
}

func (p *parser) offset(n ast.Node) int {
	if t, ok := n.(*ast.Text); ok {
		return t.Segment.Start
	}
	if n.Type() != ast.TypeInline {
		if l := n.Lines(); l != nil && l.Len() > 0 {
			return l.At(0).Start
		}
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if at := p.offset(c); at >= 0 {
			return at
		}
	}
	return -1
}

// text is what a node says, without its marks.
func (p *parser) text(n ast.Node) string {
	var b strings.Builder
	var walk func(ast.Node)
	walk = func(n ast.Node) {
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Segment.Value(p.src))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
			return
		case *ast.String:
			b.Write(n.Value)
			return
		}
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			walk(c)
		}
	}
	walk(n)
	return strings.TrimSpace(b.String())
}

func (p *parser) block(n ast.Node) {
	switch n := n.(type) {
	case *ast.Heading:
		p.heading(n.Level, p.text(n), p.line(n))
	case *ast.List:
		if p.section == "personas" && p.persona != nil && p.prompt == nil {
			p.facts(n)
		}
	case *ast.FencedCodeBlock:
		p.fence(n)
	case *table.Table:
		p.table(n)
	case *ast.Paragraph:
		if p.section == "workflows" && p.workflow != nil && p.workflow.Purpose == "" {
			p.workflow.Purpose = p.text(n)
		}
	}
}

func (p *parser) heading(level int, title string, line int) {
	if level <= 2 {
		p.section, p.persona, p.prompt, p.workflow = strings.ToLower(title), nil, nil, nil
		return
	}
	switch {
	case p.section == "personas" && level == 3:
		p.prompt = nil
		if !isName(title) || strings.ToUpper(title) != title {
			p.problems.add(line, "%q cannot be a persona: write a name in capitals, like BRICK", title)
		}
		if p.out.Persona(title) != nil {
			p.problems.add(line, "the persona %s is described twice", title)
		}
		p.out.Personas = append(p.out.Personas, Persona{Name: title, Line: line})
		p.persona = &p.out.Personas[len(p.out.Personas)-1]
	case p.section == "personas" && level == 4:
		kind, profile, ok := strings.Cut(title, " for ")
		if !ok || p.persona == nil {
			p.problems.add(line, "%q does not say what the prompt is for: write KIND for PROFILE, like \"method for covenant\"", title)
			return
		}
		if !slices.Contains(Kinds, kind) {
			p.problems.add(line, "no kind of work is called %q: there are %s", kind, strings.Join(Kinds, ", "))
		}
		for _, o := range p.persona.Prompts {
			if o.Kind == kind && o.Profile == profile {
				p.problems.add(line, "%s has two prompts for %s", p.persona.Name, title)
			}
		}
		p.persona.Prompts = append(p.persona.Prompts, Prompt{Kind: kind, Profile: profile, Grammar: "none", Line: line})
		p.prompt = &p.persona.Prompts[len(p.persona.Prompts)-1]
	case p.section == "workflows" && level == 3:
		if !isName(title) {
			p.problems.add(line, "%q cannot be a workflow: write letters, digits and _", title)
		}
		if p.out.Workflow(title) != nil {
			p.problems.add(line, "the workflow %s is described twice", title)
		}
		p.out.Workflows = append(p.out.Workflows, Workflow{Name: title, Line: line})
		p.workflow = &p.out.Workflows[len(p.out.Workflows)-1]
	}
}

// facts reads a persona's list: Title, Voice, Duties, Adapter.
func (p *parser) facts(l *ast.List) {
	for item := l.FirstChild(); item != nil; item = item.NextSibling() {
		name, value, ok := strings.Cut(p.text(item), ":")
		line := p.line(item)
		if !ok || strings.TrimSpace(value) == "" {
			p.problems.add(line, "%s: write a name, a colon and a text, like \"Voice: calm\"", p.persona.Name)
			continue
		}
		value = strings.TrimSpace(value)
		to, ok := map[string]*string{
			"title": &p.persona.Title, "voice": &p.persona.Voice, "duties": &p.persona.Duties, "adapter": &p.persona.Adapter,
		}[strings.ToLower(name)]
		switch {
		case !ok:
			p.problems.add(line, "a persona has no %q: there are Title, Voice, Duties and Adapter", name)
		case *to != "":
			p.problems.add(line, "%s has two texts for %s", p.persona.Name, name)
		default:
			*to = value
		}
	}
}

// inPrompts are the places in prompts that a persona fills, promptFence how the
// next prompt would begin.
var (
	inPrompts   = regexp.MustCompile(`\{([a-z_]+)\}`)
	promptFence = regexp.MustCompile("^ {0,3}(```|~~~)prompt")
)

func (p *parser) fence(n *ast.FencedCodeBlock) {
	if p.section != "personas" || p.prompt == nil {
		return
	}
	first := p.line(n) // of the text
	if n.Lines().Len() == 0 {
		return
	}
	if p.prompt.Text != "" {
		p.problems.add(first-1, "%s for %s has a second text; write one", p.prompt.Kind, p.prompt.Profile)
		return
	}
	var b strings.Builder
	for i := range n.Lines().Len() {
		seg := n.Lines().At(i)
		line := string(seg.Value(p.src))
		if promptFence.MatchString(line) {
			p.problems.add(first-1, "the fence that begins here is not closed before the next prompt, line %d", first+i)
			p.prompt.Text = b.String()
			return
		}
		for _, m := range inPrompts.FindAllStringSubmatch(line, -1) {
			for _, f := range filled {
				if m[1] != f && near(m[1], f) { // other words in braces may be code
					p.problems.add(first+i, "nothing fills %s; write {%s}", m[0], f)
				}
			}
		}
		b.WriteString(line)
	}
	p.prompt.Text = strings.TrimSpace(b.String())
	if n.Info == nil {
		return
	}
	info := string(n.Info.Segment.Value(p.src))
	for _, word := range strings.Fields(info) {
		g, ok := strings.CutPrefix(word, "grammar=")
		if !ok {
			if word != "prompt" {
				p.problems.add(first-1, "%q means nothing on a fence: write prompt, and grammar=NAME", word)
			}
			continue
		}
		p.prompt.Grammar = g
		if !slices.Contains(Grammars, g) {
			p.problems.add(p.line(n)-1, "no grammar is called %q: there are %s", g, strings.Join(Grammars, ", "))
		}
	}
}

// row is one row of a table, by column name in lower case.
type row struct {
	cells map[string]string
	line  int
}

func (p *parser) rows(t *table.Table, columns ...string) []row {
	var names []string
	var out []row
	for n := t.FirstChild(); n != nil; n = n.NextSibling() {
		var cells []string
		for c := n.FirstChild(); c != nil; c = c.NextSibling() {
			cells = append(cells, p.text(c))
		}
		if _, ok := n.(*table.TableHeader); ok {
			for _, c := range cells {
				names = append(names, strings.ToLower(c))
			}
			for _, want := range columns {
				if !slices.Contains(names, want) {
					p.problems.add(p.line(n), "the table has no column %q: it needs %s", want, strings.Join(columns, ", "))
				}
			}
			continue
		}
		r := row{cells: map[string]string{}, line: p.line(n)}
		if written := p.cellsWritten(n); written != len(names) {
			p.problems.add(r.line, "the row has %d cells, and the table %d columns; write – for an empty one", written, len(names))
		}
		for i, c := range cells {
			if i < len(names) && c != "–" && c != "-" {
				r.cells[names[i]] = c
			}
		}
		out = append(out, r)
	}
	return out
}

// cellsWritten counts the cells of a row as they stand in the text: the parser
// fills up short rows and drops what long ones have too much.
func (p *parser) cellsWritten(n ast.Node) int {
	at := p.offset(n)
	if at < 0 {
		return 0
	}
	begin := 1 + strings.LastIndexByte(string(p.src[:at]), '\n')
	line, _, _ := strings.Cut(string(p.src[begin:]), "\n")
	line = strings.ReplaceAll(strings.TrimSpace(line), `\|`, "")
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	return 1 + strings.Count(line, "|")
}

func (p *parser) table(t *table.Table) {
	switch {
	case p.section == "collaborative dynamics matrix":
		if p.matrix > 0 {
			p.problems.add(p.line(t), "the matrix has a second table; write one")
			return
		}
		p.matrix = p.line(t)
		for _, r := range p.rows(t, "query", "type", "selectors", "workflow", "lead", "checks", "on demand", "conclusion") {
			p.out.Matrix = append(p.out.Matrix, Rule{
				Query: r.cells["query"], Type: r.cells["type"], Selectors: words(r.cells["selectors"]), Workflow: r.cells["workflow"],
				Lead: r.cells["lead"], Checks: r.cells["checks"], OnDemand: r.cells["on demand"], Conclusion: r.cells["conclusion"], Line: r.line,
			})
		}
	case p.section == "workflows" && p.workflow != nil:
		if len(p.workflow.Steps) > 0 {
			p.problems.add(p.line(t), "the workflow %s has a second table; write one", p.workflow.Name)
			return
		}
		for _, r := range p.rows(t, "state", "persona", "work", "model", "then", "else") {
			p.step(r)
		}
	}
}

// step reads one row of a workflow. Rows of one state stand together; each
// adds a work, and the first says where the state leads.
func (p *parser) step(r row) {
	w := p.workflow
	s := Step{State: r.cells["state"], Then: r.cells["then"], Else: r.cells["else"], Line: r.line}
	if s.State == "" {
		p.problems.add(r.line, "a row of %s has no state", w.Name)
		return
	}
	var work []Work
	if kind := r.cells["work"]; kind != "" {
		one := Work{Persona: r.cells["persona"], Kind: kind, Line: r.line}
		if !slices.Contains(Kinds, kind) {
			p.problems.add(r.line, "no kind of work is called %q: there are %s", kind, strings.Join(Kinds, ", "))
		}
		how, except, _ := strings.Cut(r.cells["model"], " except ")
		one.Policy, one.Except = Policy(how), words(except)
		if one.Policy != Asked && one.Policy != Skipped {
			p.problems.add(r.line, "state %s: the column model says %q; write asked or skipped, with or without \"except PROFILE\"", s.State, r.cells["model"])
		}
		work = append(work, one)
	}
	if n := len(w.Steps); n > 0 && w.Steps[n-1].State == s.State {
		last := &w.Steps[n-1]
		if s.Then != "" && s.Then != last.Then || s.Else != "" && s.Else != last.Else {
			p.problems.add(r.line, "state %s leads to two places; its first row, line %d, decides", s.State, last.Line)
		}
		last.Works = append(last.Works, work...)
		return
	}
	for _, o := range w.Steps {
		if o.State == s.State {
			p.problems.add(r.line, "state %s is described again; line %d has it", s.State, o.Line)
			return
		}
	}
	s.Works = work
	w.Steps = append(w.Steps, s)
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func isName(s string) bool {
	sel, err := batos.ParseSelector(s)
	return err == nil && string(sel) == s
}
