package kernel

import (
	"strings"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/object"
)

// shapeItems is how many items of a container are looked at for its shape.
const shapeItems = 32

// shapeOf says what kind of value v is, without its value: lists by what
// their items have in common, dicts with string keys as records when they are
// items of a list, else as maps.
func shapeOf(v object.Value) mind.Shape {
	switch v := v.(type) {
	case object.None:
		return mind.Shape{Kind: mind.NoneShape}
	case object.Bool:
		return mind.Shape{Kind: mind.BoolShape}
	case object.Int, object.Counter:
		return mind.Shape{Kind: mind.IntShape}
	case object.Float:
		return mind.Shape{Kind: mind.FloatShape}
	case object.Str:
		return mind.Shape{Kind: mind.StrShape}
	case *object.List:
		return mind.Shape{Kind: mind.ListShape, Elem: commonShape(v.Items)}
	case *object.Tuple:
		return mind.Shape{Kind: mind.ListShape, Elem: commonShape(v.Items)}
	case *object.Set:
		return mind.Shape{Kind: mind.ListShape, Elem: commonShape(v.Items)}
	case *object.Dict:
		values := make([]object.Value, 0, len(v.Entries))
		for _, e := range v.Entries {
			values = append(values, e.Value)
		}
		s := mind.Shape{Kind: mind.DictShape, Elem: commonShape(values)}
		if s.Elem != nil && s.Elem.Kind == mind.AnyShape && len(v.Entries) <= shapeItems {
			s.Fields, _ = recordFields(v) // values of several kinds: more a record than a map
		}
		return s
	case object.Ref:
		return mind.Shape{Kind: mind.ObjShape}
	}
	return mind.Shape{Kind: mind.AnyShape}
}

// commonShape is the shape that all items share, any if they differ, nil for
// none. Dicts that share their string keys are records.
func commonShape(items []object.Value) *mind.Shape {
	if len(items) > shapeItems {
		items = items[:shapeItems]
	}
	var common *mind.Shape
	for _, it := range items {
		s := shapeOf(it)
		if d, ok := it.(*object.Dict); ok {
			if fields, ok := recordFields(d); ok {
				s.Elem, s.Fields = nil, fields
			}
		}
		switch {
		case common == nil:
			common = &s
		case len(common.Fields) > 0 && len(s.Fields) > 0:
			common.Fields = sharedFields(common.Fields, s.Fields)
		case common.Kind != s.Kind:
			return &mind.Shape{Kind: mind.AnyShape}
		}
	}
	return common
}

func recordFields(d *object.Dict) ([]mind.NamedShape, bool) {
	var out []mind.NamedShape
	for _, e := range d.Entries {
		k, ok := e.Key.(object.Str)
		if !ok {
			return nil, false
		}
		out = append(out, mind.NamedShape{Name: string(k), Shape: shapeOf(e.Value)})
	}
	return out, len(out) > 0
}

func sharedFields(a, b []mind.NamedShape) []mind.NamedShape {
	var out []mind.NamedShape
	for _, x := range a {
		for _, y := range b {
			if x.Name != y.Name {
				continue
			}
			if x.Shape.Kind != y.Shape.Kind {
				x.Shape = mind.Shape{Kind: mind.AnyShape}
			}
			out = append(out, x)
		}
	}
	return out
}

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
		Kind: mind.Kind(kind), Selector: batos.Selector(f.str("selector")), Kwargs: namedFrom(f.list("kwargs")),
		Slots: namedFrom(f.list("slots")), Intent: f.str("intent"), Receiver: f.str("receiver"),
		Methods: stringsOf(f.get("methods")), Example: f.str("example"),
	}
	for _, a := range f.list("args") {
		t.Args = append(t.Args, shapeFrom(a))
	}
	return t
}

// maxExample bounds the JSON example of a brief, in bytes.
const maxExample = 2000

// briefOf is the brief of a mission for a message with these arguments.
func briefOf(tx *image.Tx, receiver batos.OID, sel batos.Selector, args []object.Value, kwargs []object.Slot) (*object.Dict, error) {
	argShapes := &object.List{}
	for _, a := range args {
		argShapes.Items = append(argShapes.Items, shapeValue(shapeOf(a)))
	}
	var kwShapes []mind.NamedShape
	for _, kw := range kwargs {
		kwShapes = append(kwShapes, mind.NamedShape{Name: kw.Name, Shape: shapeOf(kw.Value)})
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
				if foreign || slot.Name == "self_written" || slot.Name == "doc" {
					continue
				}
				slots = append(slots, mind.NamedShape{Name: slot.Name, Shape: shapeOf(v)})
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
	text := strings.Join(example, "\n")
	if len(text) > maxExample {
		text = text[:maxExample]
	}
	return new(dict).str("type", "unhandled_message").str("receiver", name).str("selector", string(sel)).
		set("args", args).set("kwargs", kwargs).set("slots", namedValues(slots)).
		set("methods", strList(methods)).str("example", strings.ToValidUTF8(text, "")).value(), nil
}
