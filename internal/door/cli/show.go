package cli

import (
	"fmt"
	"io"
	"strings"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

func (a *App) line(format string, args ...any) {
	fmt.Fprintf(a.Out, format+"\n", args...)
}

// show prints a value for people: strings as they are, layouts drawn, the
// rest as JSON.
func (a *App) show(v object.Value) {
	if s, ok := v.(object.Str); ok {
		a.line("%s", string(s))
		return
	}
	if Layout(a.Out, v) {
		return
	}
	a.line("%s", wire.AppendValue(nil, v))
}

// layoutWidth is the width of a drawn panel, in characters.
const layoutWidth = 64

// Layout draws a layout tree as text; false if v is none.
func Layout(w io.Writer, v object.Value) bool {
	if get(v, "view") != object.Str("panel") {
		return false
	}
	title := text(get(v, "title"))
	fmt.Fprintf(w, "┌─ %s %s┐\n", title, strings.Repeat("─", max(1, layoutWidth-len([]rune(title))-3)))
	children, _ := get(v, "children").(*object.List)
	if children != nil {
		for _, c := range children.Items {
			for _, l := range widget(c) {
				r := []rune(l)
				if len(r) > layoutWidth-2 {
					r = append(r[:layoutWidth-3], '…')
				}
				fmt.Fprintf(w, "│ %s%s│\n", string(r), strings.Repeat(" ", layoutWidth-1-len(r)))
			}
		}
	}
	fmt.Fprintf(w, "└%s┘\n", strings.Repeat("─", layoutWidth))
	return true
}

func get(v object.Value, key string) object.Value {
	d, ok := v.(*object.Dict)
	if !ok {
		return nil
	}
	for _, e := range d.Entries {
		if e.Key == object.Value(object.Str(key)) {
			return e.Value
		}
	}
	return nil
}

func text(v object.Value) string {
	switch v := v.(type) {
	case nil, object.None:
		return "—"
	case object.Str:
		return string(v)
	}
	return string(wire.AppendValue(nil, v))
}

// widget draws one node of a layout as lines.
func widget(n object.Value) []string {
	label, value := text(get(n, "label")), get(n, "value")
	switch get(n, "view") {
	case object.Str("toggle"):
		mark := "[ ]"
		if value == object.Value(object.Bool(true)) {
			mark = "[x]"
		}
		return []string{fmt.Sprintf("%-12s %s", label, mark)}
	case object.Str("list"), object.Str("table"):
		out := []string{label}
		for _, it := range items(value) {
			out = append(out, "  • "+it)
		}
		return out
	case object.Str("panel"):
		var b strings.Builder
		Layout(&b, n)
		return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	}
	return []string{fmt.Sprintf("%-12s %s", label, text(value))}
}

func items(v object.Value) []string {
	var out []string
	switch v := v.(type) {
	case *object.List:
		for _, it := range v.Items {
			out = append(out, text(it))
		}
	case *object.Dict:
		for _, e := range v.Entries {
			out = append(out, text(e.Key)+": "+text(e.Value))
		}
	default:
		out = append(out, text(v))
	}
	return out
}

func (a *App) object(o *wire.Object) {
	a.line("<%s %s>  %s, made by %s, at %s", o.OID, o.Name, o.Protection, o.Creator, o.TID)
	if len(o.Parents) > 0 {
		a.line("parents  %s", strings.Join(o.Parents, ", "))
	}
	for _, s := range o.Slots {
		if strings.HasSuffix(s.Name, "*") {
			continue
		}
		a.line("  %-20s %-9s %s", s.Name, s.Kind, s.Text)
	}
	for i := range o.Methods {
		a.method(&o.Methods[i])
	}
}

func (a *App) method(m *wire.Method) {
	a.line("")
	a.line("  %s  version %d, by %s (%s), at %s", m.Selector, m.Version, m.AuthorName, m.Author, m.TID)
	if m.Mission != "" {
		a.line("    mission     %s", m.Mission)
	}
	if m.Provenance != nil {
		p := m.Provenance.Value
		a.line("    model       %s", text(get(p, "model")))
		a.line("    model hash  %s", text(get(p, "model_hash")))
		if s := text(get(p, "adapter")); s != "" {
			a.line("    adapter     %s", s)
		}
		a.line("    prompt      %s", strings.ReplaceAll(strings.TrimRight(text(get(p, "prompt")), "\n "), "\n", "\n                "))
		a.line("    verdicts    %s", strings.Join(verdicts(get(p, "verdicts")), ", "))
		a.line("    tokens      %s generated, %s read", text(get(p, "tokens")), text(get(p, "prompt_tokens")))
	}
	a.line("")
	for _, l := range strings.Split(strings.TrimRight(m.Source, "\n"), "\n") {
		a.line("    │ %s", l)
	}
}

// verdicts are what the gate said: the Guardian in words, a trial by the object
// that keeps it.
func verdicts(v object.Value) []string {
	var out []string
	if l, ok := v.(*object.List); ok {
		for _, it := range l.Items {
			if r, ok := it.(object.Ref); ok {
				out = append(out, "trial "+batos.OID(r).String())
				continue
			}
			out = append(out, text(it))
		}
	}
	return out
}
