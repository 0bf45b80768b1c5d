package seedmind

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"slices"
	"strings"

	"batos"
	"batos/internal/mind"
	"batos/object"
)

//go:embed families/*.txt
var familyFiles embed.FS

// Areas are the files of families, in the order in which they are read: where
// two families claim one phrase, the earlier keeps it.
var Areas = []string{"numbers", "pairs", "strings", "lists", "tags", "dicts", "records", "flags", "statistics", "text", "functions"}

// Corpus is everything the model is taught.
type Corpus struct {
	Families []*Family
	Hash     string // SHA-256 of the files, hex
	Things   []string
	Names    []string // of slots and fields, for evaluation

	readings []reading
	claims   map[uint64]uint32 // see claim
	dropped  int               // phrases that an earlier family had
	words    map[string]bool
}

// Load reads the families and works out what every phrase means.
func Load() (*Corpus, error) { return load(familyFiles) }

func load(files fs.FS) (*Corpus, error) {
	c := &Corpus{}
	if err := c.parse(files); err != nil {
		return nil, err
	}
	c.claim()
	return c, nil
}

// parse reads the families, and works out no phrase.
func (c *Corpus) parse(files fs.FS) error {
	hash := sha256.New()
	read := func(name string) (string, error) {
		b, err := fs.ReadFile(files, "families/"+name+".txt")
		hash.Write([]byte(name))
		hash.Write(b)
		return string(b), err
	}
	text, err := read("classes")
	if err != nil {
		return err
	}
	cl, err := parseClasses(text)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	add := func(fs []*Family, err error) error {
		for _, f := range fs {
			if seen[f.Name] {
				return batos.Errorf(batos.Invalid, "family %s is there twice", f.Name)
			}
			seen[f.Name] = true
		}
		c.Families = append(c.Families, fs...)
		return err
	}
	if text, err = read("layouts"); err != nil {
		return err
	}
	if err := add(parseLayouts(text, cl)); err != nil {
		return err
	}
	for _, area := range Areas {
		if text, err = read(area); err != nil {
			return err
		}
		if err := add(parseFamilies(area, text, cl)); err != nil {
			return err
		}
	}
	if text, err = read("nouns"); err != nil {
		return err
	}
	if err := c.nouns(text); err != nil {
		return err
	}
	c.Hash = hex.EncodeToString(hash.Sum(nil))
	return nil
}

// nouns reads nouns.txt: sections of names.
func (c *Corpus) nouns(text string) error {
	var to *[]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "[things]":
			to = &c.Things
		case line == "[names]":
			to = &c.Names
		case to == nil:
			return batos.Errorf(batos.Invalid, "nouns.txt: %q is in no section", line)
		default:
			*to = append(*to, strings.Fields(line)...)
		}
	}
	return nil
}

// parser reads one file of families.
type parser struct {
	area string
	cl   classes
	out  []*Family
	now  *Family
	num  int // line
}

func (p *parser) errorf(format string, args ...any) error {
	e := batos.Errorf(batos.Invalid, format, args...)
	return batos.Errorf(batos.Invalid, "%s.txt:%d: %w", p.area, p.num, e)
}

func parseFamilies(area, text string, cl classes) ([]*Family, error) {
	p := &parser{area: area, cl: cl}
	var grid []string
	for line := range strings.Lines(text) {
		p.num++
		line = strings.TrimRight(line, "\n")
		if line == "grid" {
			grid = []string{}
			continue
		}
		if grid != nil {
			grid = append(grid, line)
			continue
		}
		if err := p.line(line); err != nil {
			return p.out, err
		}
	}
	if grid != nil {
		if err := p.grid(grid); err != nil {
			return p.out, err
		}
	}
	for _, f := range p.out {
		if len(f.Lines) == 0 || len(f.Code) == 0 || len(f.Examples) == 0 {
			return p.out, batos.Errorf(batos.Invalid, "%s.txt: family %s needs phrases, code and an example", area, f.Name)
		}
	}
	return p.out, nil
}

func (p *parser) line(line string) error {
	switch {
	case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
		return nil
	case !strings.HasPrefix(line, " "):
		f, err := p.head(line)
		p.now = f
		p.out = append(p.out, f)
		return err
	case p.now == nil:
		return p.errorf("%q belongs to no family", line)
	case strings.HasPrefix(line, "  | "):
		l, err := p.cl.line(line[4:])
		if err != nil {
			return p.errorf("%w", err)
		}
		p.now.Lines = append(p.now.Lines, l)
		return nil
	case strings.HasPrefix(line, "  > "):
		p.now.Code = append(p.now.Code, line[4:])
		return nil
	case strings.HasPrefix(line, "  = "):
		e, err := parseExample(line[4:])
		if err != nil {
			return p.errorf("%w", err)
		}
		p.now.Examples = append(p.now.Examples, e)
		return nil
	}
	return p.errorf("%q begins with none of \"  | \", \"  > \", \"  = \"", line)
}

// head reads "name on types with args: sentence".
func (p *parser) head(line string) (*Family, error) {
	f := &Family{Area: p.area}
	left, tell, ok := strings.Cut(line, ": ")
	if !ok {
		return f, p.errorf("%q has no sentence", line)
	}
	f.Tell = tell
	left, args, _ := strings.Cut(left, " with ")
	name, on, ok := strings.Cut(left, " on ")
	if !ok {
		return f, p.errorf("%q says not what it works on", line)
	}
	f.Name = name
	for _, a := range strings.Fields(args) {
		f.Args = append(f.Args, ArgSpec(a))
	}
	forms, err := parseForms(on)
	if err != nil {
		return f, p.errorf("%w", err)
	}
	f.Forms = forms
	for _, a := range f.Args {
		if !a.known(f.Forms[0]) {
			return f, p.errorf("%s is no argument", a)
		}
	}
	return f, nil
}

func (a ArgSpec) known(form Form) bool {
	switch a {
	case argNumber, argLow, argHigh, argPositive, argIndex, argPlace, argStr, argPart, argChar, argKey, argHeldKey,
		argItem, argHeld, argList, argNumbers, argKeys, argDict, argRecord, argBool, argAny:
		return true
	case argSlotT:
		return len(form) > 1
	}
	return len(form) > 0 && slices.ContainsFunc(form[0].Fields, func(f FieldSpec) bool { return string(a) == string(f.Letter) })
}

// typeGroups are names for several types.
var typeGroups = map[string][]mind.SeedType{
	"num":  {mind.SeedInt, mind.SeedFloat},
	"list": {mind.SeedNumbers, mind.SeedStrs, mind.SeedList},
	"map":  {mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap},
}

var fieldGroups = map[string][]mind.SeedType{
	"num": {mind.SeedNumber}, "num!": {mind.SeedNumber}, "str": {mind.SeedStr}, "bool": {mind.SeedBool}, "one": {mind.SeedStr, mind.SeedNumber},
}

// parseForms reads the types that a family works on, "-" for none.
func parseForms(on string) ([]Form, error) {
	var out []Form
	for _, alt := range splitOutside(on, ' ') {
		if alt == "-" {
			out = append(out, Form{})
			continue
		}
		forms := []Form{nil}
		for _, one := range splitOutside(alt, '+') {
			specs, err := parseSlot(one)
			if err != nil {
				return nil, err
			}
			var next []Form
			for _, f := range forms {
				for _, s := range specs {
					next = append(next, append(slices.Clone(f), s))
				}
			}
			forms = next
		}
		out = append(out, forms...)
	}
	return out, nil
}

// splitOutside splits at sep where it is in no parentheses.
func splitOutside(s string, sep byte) []string {
	var out []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case sep:
			if depth == 0 {
				out = append(out, s[start:i])
				start = i + 1
			}
		}
	}
	return append(out, s[start:])
}

func parseSlot(text string) ([]SlotSpec, error) {
	if inner, ok := strings.CutPrefix(text, "recs("); ok {
		return parseRecord(mind.SeedRecords, strings.TrimSuffix(inner, ")"))
	}
	if inner, ok := strings.CutPrefix(text, "rec("); ok {
		return parseRecord(mind.SeedRecord, strings.TrimSuffix(inner, ")"))
	}
	name, role, _ := strings.Cut(text, ":")
	types, ok := typeGroups[name]
	if !ok {
		types = []mind.SeedType{mind.SeedType(name)}
	}
	if !ok && !slices.Contains([]mind.SeedType{mind.SeedInt, mind.SeedFloat, mind.SeedStr, mind.SeedBool, mind.SeedNumbers, mind.SeedStrs, mind.SeedBools,
		mind.SeedList, mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap, mind.SeedNone, mind.SeedObj, mind.SeedAny}, types[0]) {
		return nil, batos.Errorf(batos.Invalid, "%q is no type", name)
	}
	if role != "" && !slices.Contains(mind.SeedRoles(), role) {
		return nil, batos.Errorf(batos.Invalid, "%q is no role", role)
	}
	var out []SlotSpec
	for _, t := range types {
		out = append(out, SlotSpec{Type: t, Role: role})
	}
	return out, nil
}

func parseRecord(t mind.SeedType, text string) ([]SlotSpec, error) {
	out := []SlotSpec{{Type: t}}
	for _, one := range strings.Fields(text) {
		part := strings.Split(one, ":")
		if len(part) < 2 || len(part[0]) != 1 || strings.IndexByte(fieldLetters, part[0][0]) < 0 || fieldGroups[part[1]] == nil {
			return nil, batos.Errorf(batos.Invalid, "%q is no field", one)
		}
		role := ""
		if len(part) > 2 {
			role = part[2]
		}
		if part[1] == "num!" {
			role = onlyNumber
		}
		var next []SlotSpec
		for _, s := range out {
			for _, ft := range fieldGroups[part[1]] {
				n := s
				n.Fields = append(slices.Clone(s.Fields), FieldSpec{part[0][0], ft, role})
				next = append(next, n)
			}
		}
		out = next
	}
	return out, nil
}

// parseExample reads "[slots] [args] -> want [after]".
func parseExample(text string) (Example, error) {
	var e Example
	left, right, ok := strings.Cut(text, " -> ")
	if !ok {
		return e, batos.Errorf(batos.Invalid, "example %q has no ->", text)
	}
	before, err := parseValues(left)
	if err != nil {
		return e, err
	}
	after, err := parseValues(right)
	if err != nil {
		return e, err
	}
	if len(before) != 2 || len(after) < 1 || len(after) > 2 {
		return e, batos.Errorf(batos.Invalid, "example %q: want [slots] [args] -> result [slots after]", text)
	}
	e.Slots, e.Args, e.Want = items(before[0]), items(before[1]), after[0]
	e.After = e.Slots
	if len(after) == 2 {
		e.After = items(after[1])
	}
	if len(e.After) != len(e.Slots) {
		return e, batos.Errorf(batos.Invalid, "example %q has %d slots before and %d after", text, len(e.Slots), len(e.After))
	}
	return e, nil
}

func items(v object.Value) []object.Value {
	if l, ok := v.(*object.List); ok {
		return l.Items
	}
	return nil
}
