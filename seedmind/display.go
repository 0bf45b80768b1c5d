package seedmind

import (
	"fmt"
	"slices"
	"strings"

	"batos/internal/mind"
)

// display is what the code of a layout shows, taken apart.
type display struct {
	title    string // the text between the quotes, or the slot whose text it is: "$1"
	children []shownFact
}

// shownFact is one view of a display.
type shownFact struct {
	view, label string
	slot        int
	fact        string // "" is the value itself; else what is derived from it
}

// derivedFacts are the expressions of layouts over a slot, by their form.
var derivedFacts = map[string]string{
	"$": "", "str($)": "", "len($)": "count", "sum($)": "sum", "max($) if $ else 0": "largest",
}

// displayOf reads the code of a layout; ok is false if it is none.
func displayOf(body string) (d display, ok bool) {
	lines := strings.Split(body, "\n")
	head, ok := strings.CutPrefix(lines[0], `return {"view": "panel", "title": `)
	if !ok {
		return d, false
	}
	title, _, ok := strings.Cut(head, `, "children": [`)
	if !ok {
		return d, false
	}
	d.title = strings.Trim(title, `"`)
	for _, line := range lines[1:] {
		if line == "]}" {
			break
		}
		var f shownFact
		rest, found := strings.CutPrefix(strings.TrimSpace(line), `{"view": "`)
		if !found {
			return d, false
		}
		f.view, rest, _ = strings.Cut(rest, `", "label": "`)
		f.label, rest, _ = strings.Cut(rest, `", "value": `)
		value := strings.TrimSuffix(rest, "},")
		at := strings.IndexByte(value, '$')
		if at < 0 {
			return d, false
		}
		f.slot = number(value[at+1:])
		if f.fact, found = derivedFacts[strings.ReplaceAll(value, "$"+itoa(f.slot), "$")]; !found {
			return d, false
		}
		d.children = append(d.children, f)
	}
	return d, true
}

// requirements lists what the display must show, as JSON: the slot, the fact
// if it is not the value itself, the view, and of records which columns.
func (d display) requirements(p mind.SeedPrompt) string {
	var parts []string
	if strings.HasPrefix(d.title, "$") {
		parts = append(parts, fmt.Sprintf(`{"slot": "%s", "view": "title"}`, d.title))
	}
	for _, c := range d.children {
		text := fmt.Sprintf(`{"slot": "$%d", `, c.slot)
		if c.fact != "" {
			text += fmt.Sprintf(`"fact": "%s", `, c.fact)
		}
		text += `"view": "` + c.view + `"`
		if s := p.Slots[c.slot]; c.fact == "" && len(s.Fields) > 0 {
			var columns []string
			for k := range s.Fields {
				columns = append(columns, fmt.Sprintf(`"#%d"`, firstField(p, c.slot)+k))
			}
			text += `, "columns": [` + strings.Join(columns, ", ") + `]`
		}
		parts = append(parts, text+"}")
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// layout is the tree of views, as JSON. A title is a text, or that of a slot.
func (d display) layout() string {
	var parts []string
	for _, c := range d.children {
		text := fmt.Sprintf(`{"view": "%s", "label": "%s", "slot": "$%d"`, c.view, c.label, c.slot)
		if c.fact != "" {
			text += fmt.Sprintf(`, "fact": "%s"`, c.fact)
		}
		parts = append(parts, text+"}")
	}
	key := "title"
	if strings.HasPrefix(d.title, "$") {
		key = "title_slot"
	}
	return fmt.Sprintf(`{"view": "panel", "%s": "%s", "children": [%s]}`, key, d.title, strings.Join(parts, ", "))
}

// firstField is the number of a slot's first field.
func firstField(p mind.SeedPrompt, slot int) int {
	n := 0
	for _, s := range p.Slots[:slot] {
		n += len(s.Fields)
	}
	return n
}

// displays are the families that a display or its requirements can be drawn
// from, those of the whole object more often.
func displays(families []*Family) []*Family {
	var out []*Family
	for _, f := range families {
		if f.Area != "layouts" || f.Name == "layout_text" {
			continue
		}
		times := 1
		switch {
		case f.Name == "layout_panel":
			times = 60
		case f.all != nil:
			times = 12
		case len(f.Forms) > 1 || !strings.HasPrefix(f.Name, "layout_one_") && !strings.HasPrefix(f.Name, "layout_two_"):
			times = 12
		}
		if slices.Contains(out, f) {
			continue
		}
		for range times {
			out = append(out, f)
		}
	}
	return out
}
