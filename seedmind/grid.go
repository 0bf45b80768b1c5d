package seedmind

import (
	"slices"
	"strings"
)

// grid reads a crossing of containers, aggregates and filters: every cell is a
// family of its own.
//
//	container:  name on types: what its items are called = expression
//	              | phrase with AGG and FIL
//	aggregate:  name: what it answers = words = code on xs
//	filter:     name: which items = words = condition on x = arguments
func (p *parser) grid(lines []string) error {
	type container struct {
		name, on, tell, expr string
		phrases              []string
	}
	type part struct{ name, tell, words, code, args string }
	var containers []container
	var aggregates, filters []part
	section := ""
	for _, line := range lines {
		text := strings.TrimSpace(line)
		switch {
		case text == "":
			continue
		case text == "containers" || text == "aggregates" || text == "filters":
			section = text
			continue
		case strings.HasPrefix(text, "| "):
			c := &containers[len(containers)-1]
			c.phrases = append(c.phrases, text[2:])
			continue
		}
		head, rest, ok := strings.Cut(text, ": ")
		if !ok {
			return p.errorf("grid: %q has no colon", text)
		}
		f := strings.Split(rest, " = ")
		for i := range f {
			f[i] = strings.TrimSpace(strings.Trim(f[i], "="))
		}
		if section == "containers" {
			name, on, _ := strings.Cut(head, " on ")
			containers = append(containers, container{name: name, on: on, tell: f[0], expr: f[1]})
			continue
		}
		f = append(f, "", "", "", "")
		if strings.HasPrefix(rest, "=") {
			f = []string{"", "", "", ""}
		}
		one := part{name: head, tell: f[0], words: f[1], code: f[2], args: f[3]}
		if section == "aggregates" {
			aggregates = append(aggregates, one)
		} else {
			filters = append(filters, one)
		}
	}
	for _, c := range containers {
		for _, a := range aggregates {
			for _, f := range filters {
				if f.code == "" && (a.name == "count" || a.name == "all") {
					continue // plain families do that
				}
				fam := &Family{Name: "grid_" + c.name + "_" + a.name + "_" + f.name, Area: p.area, cell: true}
				fam.Tell = "Answers " + strings.Replace(a.tell, "%", strings.TrimSpace(c.tell+" "+f.tell), 1) + "."
				for _, arg := range strings.Fields(f.args) {
					fam.Args = append(fam.Args, ArgSpec(arg))
				}
				forms, err := parseForms(c.on)
				if err != nil {
					return p.errorf("%w", err)
				}
				fam.Forms = forms
				words := a.words
				if c.name == "records" || c.name == "only" {
					words, _, _ = strings.Cut(words, "|") // the oldest of records is a record, not its age
				}
				for _, ph := range c.phrases {
					ph = strings.ReplaceAll(strings.ReplaceAll(ph, "FIL", f.words), "AGG", words)
					l, err := p.cl.line(ph)
					if err != nil {
						return p.errorf("%w", err)
					}
					fam.Lines = append(fam.Lines, l)
				}
				switch {
				case f.code != "":
					fam.Code = []string{"xs = [x for x in " + c.expr + " if " + f.code + "]", a.code}
				case c.name == "list":
					fam.Code = []string{strings.ReplaceAll(a.code, "xs", "$s")}
				case c.name == "dict":
					fam.Code = []string{strings.NewReplacer("(xs)", "("+c.expr+")", "if xs", "if $s").Replace(a.code)}
				default:
					fam.Code = []string{"xs = " + c.expr, a.code}
				}
				e, err := gridExample(c.name, a.name, f.name)
				if err != nil {
					return p.errorf("%w", err)
				}
				fam.Examples = []Example{e}
				p.out = append(p.out, fam)
			}
		}
	}
	return nil
}

// gridExample works an example out by itself, not by the family's code.
func gridExample(container, aggregate, filter string) (Example, error) {
	slots := map[string]string{
		"list": "[[4, 7, 2, 5, 8]]", "dict": `[{"p": 4, "q": 7, "r": 2, "s": 5, "t": 8}]`,
		"records": `[[{"g": 4}, {"g": 7}, {"g": 2}, {"g": 5}, {"g": 8}]]`,
	}
	slots["only"] = slots["records"]
	kept := map[string]string{
		"none": "4 7 2 5 8", "over": "7 5 8", "under": "2", "equal": "4", "between": "4 5", "even": "4 2 8", "odd": "7 5",
	}[filter]
	args := map[string]string{"over": "[4]", "under": "[4]", "equal": "[4]", "between": "[4, 6]"}[filter]
	if args == "" {
		args = "[]"
	}
	vs, err := parseValues(kept)
	if err != nil {
		return Example{}, err
	}
	var ns []float64
	for _, v := range vs {
		n, _ := asFloat(v) // all are numbers
		ns = append(ns, n)
	}
	sum := 0.0
	for _, n := range ns {
		sum += n
	}
	var want string
	switch aggregate {
	case "sum":
		want = formatFloat(sum)
	case "max":
		want = formatFloat(slices.Max(ns))
	case "min":
		want = formatFloat(slices.Min(ns))
	case "average":
		want = formatFloat(sum / float64(len(ns)))
	case "count":
		want = formatFloat(float64(len(ns)))
	case "all":
		want = "[" + strings.ReplaceAll(kept, " ", ", ") + "]"
	}
	return parseExample(slots[container] + " " + args + " -> " + want)
}
