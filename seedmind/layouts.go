package seedmind

import (
	"fmt"
	"slices"
	"strings"

	"batos/internal/mind"
)

// allSlots is a family whose code shows every slot of the object, or all of
// some types.
type allSlots struct {
	min   int  // fewest slots
	named bool // slot s is meant besides
	code  func(p mind.SeedPrompt, b binding) []string
}

// widgetOf is the view of a slot and the expression that it shows.
func widgetOf(t mind.SeedType, ref string) (view, value string) {
	switch t {
	case mind.SeedInt, mind.SeedFloat:
		return "number", ref
	case mind.SeedBool:
		return "toggle", ref
	case mind.SeedStr:
		return "text", ref
	case mind.SeedNumbers, mind.SeedStrs, mind.SeedBools, mind.SeedList:
		return "list", ref
	case mind.SeedRecords, mind.SeedRecord, mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap:
		return "table", ref
	}
	return "text", "str(" + ref + ")"
}

// child is the line of a layout that shows one slot; sign and ref are "$0".
func child(t mind.SeedType, alias string) string {
	view, value := widgetOf(t, "$"+alias)
	return fmt.Sprintf(` {"view": "%s", "label": "%%%s", "value": %s},`, view, alias, value)
}

func panel(title string, children []string) []string {
	if len(children) == 0 {
		return []string{`return {"view": "panel", "title": ` + title + `, "children": []}`}
	}
	out := []string{`return {"view": "panel", "title": ` + title + `, "children": [`}
	return append(append(out, children...), "]}")
}

const receiverTitle = `"%~"`

// ofTypes makes a panel with the slots of some types.
func ofTypes(types ...mind.SeedType) func(mind.SeedPrompt, binding) []string {
	return func(p mind.SeedPrompt, b binding) []string {
		var children []string
		for i, s := range p.Slots {
			if len(types) == 0 || slices.Contains(types, s.Type) {
				children = append(children, child(s.Type, fmt.Sprint(i)))
			}
		}
		return panel(receiverTitle, children)
	}
}

func cardCode(p mind.SeedPrompt, b binding) []string {
	var children []string
	for i, s := range p.Slots {
		if i != b.slots[0] {
			children = append(children, child(s.Type, fmt.Sprint(i)))
		}
	}
	return panel("$s", children)
}

func textCode(p mind.SeedPrompt, b binding) []string {
	var parts []string
	for i := range p.Slots {
		sep := ""
		if i > 0 {
			sep = ", "
		}
		parts = append(parts, fmt.Sprintf(`"%s%%%d: " + str($%d)`, sep, i, i))
	}
	return []string{"return " + strings.Join(parts, " + ")}
}

// layoutKinds are the families of layouts.txt that look at all slots.
var layoutKinds = map[string]*allSlots{
	"panel":       {min: 0, code: ofTypes()},
	"numbers":     {min: 1, code: ofTypes(mind.SeedInt, mind.SeedFloat)},
	"flags":       {min: 1, code: ofTypes(mind.SeedBool)},
	"texts":       {min: 1, code: ofTypes(mind.SeedStr)},
	"collections": {min: 1, code: ofTypes(mind.SeedNumbers, mind.SeedStrs, mind.SeedBools, mind.SeedList, mind.SeedRecords, mind.SeedRecord, mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap)},
	"card":        {min: 2, named: true, code: cardCode},
	"text":        {min: 4, code: textCode},
}

var shownTypes = []mind.SeedType{mind.SeedInt, mind.SeedFloat, mind.SeedStr, mind.SeedBool, mind.SeedNumbers, mind.SeedStrs, mind.SeedList,
	mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap, mind.SeedRecords, mind.SeedRecord, mind.SeedNone, mind.SeedObj, mind.SeedAny}

// parseLayouts reads layouts.txt: "layout NAME: sentence" and phrases. The
// code of each is made here.
func parseLayouts(text string, cl classes) ([]*Family, error) {
	p := &parser{area: "layouts", cl: cl}
	var lines []Line
	var name, tell string
	var out []*Family
	done := func() {
		if name != "" {
			out = append(out, layoutFamilies(name, tell, lines)...)
		}
		lines = nil
	}
	for line := range strings.Lines(text) {
		p.num++
		line = strings.TrimRight(line, "\n")
		head, isHead := strings.CutPrefix(line, "layout ")
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		case isHead:
			done()
			var ok bool
			if name, tell, ok = strings.Cut(head, ": "); !ok {
				return nil, p.errorf("%q has no sentence", line)
			}
			if layoutKinds[name] == nil && layoutForms[name] == nil {
				return nil, p.errorf("%q is no layout", name)
			}
		case strings.HasPrefix(line, "  | "):
			l, err := cl.line(line[4:])
			if err != nil {
				return nil, p.errorf("%w", err)
			}
			lines = append(lines, l)
		default:
			return nil, p.errorf("%q is no line of a layout", line)
		}
	}
	done()
	return out, nil
}

// layoutForms make the families of layouts.txt that show given slots: one for
// each combination of views.
var layoutForms = map[string]func(name string) []*Family{
	"one":     oneForms,
	"two":     twoForms,
	"size":    figureForms([]mind.SeedType{mind.SeedNumbers, mind.SeedStrs, mind.SeedList, mind.SeedNumberMap, mind.SeedStrMap, mind.SeedMap, mind.SeedRecords}, "len($s)"),
	"total":   figureForms([]mind.SeedType{mind.SeedNumbers}, "sum($s)"),
	"figures": figuresForms,
	"title":   titleForms,
}

func layoutFamilies(name, tell string, lines []Line) []*Family {
	if all := layoutKinds[name]; all != nil {
		f := &Family{Name: "layout_" + name, Area: "layouts", Tell: tell, Lines: lines, all: all}
		if all.named {
			f.Forms = []Form{{{Type: mind.SeedStr}}}
		}
		return []*Family{f}
	}
	out := layoutForms[name]("layout_" + name)
	for _, f := range out {
		f.Area, f.Tell, f.Lines = "layouts", tell, lines
	}
	return out
}

func oneForms(name string) []*Family {
	var out []*Family
	for _, t := range shownTypes {
		out = append(out, &Family{Name: name + "_" + string(t), Forms: []Form{{{Type: t}}}, Code: panel(receiverTitle, []string{child(t, "s")})})
	}
	return out
}

func twoForms(name string) []*Family {
	var out []*Family
	for _, a := range shownTypes {
		for _, b := range shownTypes {
			out = append(out, &Family{Name: name + "_" + string(a) + "_" + string(b), Forms: []Form{{{Type: a}, {Type: b}}},
				Code: panel(receiverTitle, []string{child(a, "s"), child(b, "t")})})
		}
	}
	return out
}

func numberChild(label, value string) string {
	return ` {"view": "number", "label": "` + label + `", "value": ` + value + `},`
}

func figureForms(types []mind.SeedType, value string) func(string) []*Family {
	return func(name string) []*Family {
		f := &Family{Name: name, Code: panel(receiverTitle, []string{numberChild("%s", value)})}
		for _, t := range types {
			f.Forms = append(f.Forms, Form{{Type: t}})
		}
		return []*Family{f}
	}
}

func figuresForms(name string) []*Family {
	return []*Family{{Name: name, Forms: []Form{{{Type: mind.SeedNumbers}}}, Code: panel(`"%s"`, []string{
		numberChild("count", "len($s)"), numberChild("sum", "sum($s)"), numberChild("largest", "max($s) if $s else 0"),
	})}}
}

func titleForms(name string) []*Family {
	return []*Family{{Name: name, Forms: []Form{{{Type: mind.SeedStr}}}, Code: panel("$s", nil)}}
}
