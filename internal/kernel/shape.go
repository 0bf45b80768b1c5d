package kernel

import (
	"strings"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/internal/mind"
	"batos/object"
)

// shapeValue and shapeFrom carry a shape through the image as a dict.
func shapeValue(s mind.Shape) *object.Dict {
	d := new(dict).str("kind", string(s.Kind))
	if s.Elem != nil {
		d.set("elem", shapeValue(*s.Elem))
	}
	if len(s.Fields) > 0 {
		d.set("fields", namedValues(s.Fields))
	}
	return d.value()
}

func namedValues(ns []mind.NamedShape) *object.List {
	l := &object.List{}
	for _, n := range ns {
		l.Items = append(l.Items, new(dict).str("name", n.Name).set("shape", shapeValue(n.Shape)).value())
	}
	return l
}

func shapeFrom(v object.Value) mind.Shape {
	f := fieldsOf(v)
	s := mind.Shape{Kind: mind.ShapeKind(f.str("kind")), Fields: namedFrom(f.list("fields"))}
	if e := f.get("elem"); e != nil {
		elem := shapeFrom(e)
		s.Elem = &elem
	}
	return s
}

func namedFrom(items []object.Value) []mind.NamedShape {
	var out []mind.NamedShape
	for _, it := range items {
		f := fieldsOf(it)
		out = append(out, mind.NamedShape{Name: f.str("name"), Shape: shapeFrom(f.get("shape"))})
	}
	return out
}

// taskFrom reads the task out of a mission brief.
func taskFrom(kind string, brief object.Value) mind.Task {
	f := fieldsOf(brief)
	t := mind.Task{
		Kind: kindOf(kind), Selector: batos.Selector(f.str("selector")), Kwargs: namedFrom(f.list("kwargs")),
		Slots: namedFrom(f.list("slots")), Intent: f.str("intent"), Receiver: f.str("receiver"),
		Methods: stringsOf(f.get("methods")), Example: f.str("example"),
		Findings: f.str("findings"),
	}
	if t.Kind == mind.Reply {
		t.Intent = f.str("question")
	}
	for _, a := range f.list("args") {
		t.Args = append(t.Args, shapeFrom(a))
	}
	if kind == secondOpinion {
		t.Slots = mind.Regrouped(t.Slots)
	}
	return t
}

// maxExample bounds the JSON example of a brief, in bytes.
const maxExample = 2000

// briefOf is the brief of a mission for a message with these arguments.
func briefOf(tx *image.Tx, receiver batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) (*object.Dict, error) {
	argShapes := &object.List{}
	for _, a := range args {
		argShapes.Items = append(argShapes.Items, shapeValue(mind.ShapeOf(a)))
	}
	var kwShapes []mind.NamedShape
	for _, kw := range kwargs {
		kwShapes = append(kwShapes, mind.NamedShape{Name: kw.Name, Shape: mind.ShapeOf(kw.Value)})
	}
	return factsOf(tx, receiver, sel, argShapes, namedValues(kwShapes))
}

// factsOf tells a mission's receiver in facts: the shapes of its data slots
// (its own first, then those inherited from objects that people made), the
// selectors it understands, and the shapes of the arguments as given.
func factsOf(tx *image.Tx, receiver batos.OID, sel batos.Selector, args, kwargs object.Value) (*object.Dict, error) {
	name, err := nameOf(tx, receiver)
	if err != nil {
		return nil, err
	}
	var slots []mind.NamedShape
	var methods []string
	var example []string
	seen := map[string]bool{}
	done := map[batos.OID]bool{}
	var visit func(oid batos.OID) error
	visit = func(oid batos.OID) error {
		if done[oid] {
			return nil
		}
		done[oid] = true
		s, err := tx.Load(oid)
		if err != nil {
			return err
		}
		foreign := oid != receiver && s.Protection != object.Open
		for _, slot := range s.Slots() {
			if object.IsParent(slot.Name) || strings.HasPrefix(slot.Name, "_") || seen[slot.Name] {
				continue
			}
			seen[slot.Name] = true
			switch v := slot.Value.(type) {
			case *object.Method:
				methods = append(methods, slot.Name)
			case object.Primitive:
				if !foreign {
					methods = append(methods, slot.Name)
				}
			default:
				if foreign || slot.Name == exec.SelfWritten || slot.Name == "doc" {
					continue
				}
				slots = append(slots, mind.NamedShape{Name: slot.Name, Shape: mind.ShapeOf(v)})
				example = append(example, slot.Name+" = "+object.Text(v, 200))
			}
		}
		for _, p := range s.Parents() {
			if err := visit(p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(receiver); err != nil {
		return nil, err
	}
	out := new(dict)
	if p, err := loadProbation(tx, receiver, sel); err != nil {
		return nil, err
	} else if p != nil && p.State == "demoted" {
		out.set("demoted", new(dict).str("source", p.Source).str("error", "it was taken back after it failed in use: "+p.Error).value())
	}
	text := strings.Join(example, "\n")
	if len(text) > maxExample {
		text = text[:maxExample]
	}
	return out.str("type", "unhandled_message").str("receiver", name).str("selector", string(sel)).
		set("args", args).set("kwargs", kwargs).set("slots", namedValues(slots)).
		set("methods", strList(methods)).str("example", strings.ToValidUTF8(text, "")).value(), nil
}
