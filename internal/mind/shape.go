package mind

import (
	"slices"

	"batos/object"
)

// shapeItems is how many items of a container are looked at for its shape.
const shapeItems = 32

// ShapeOf says what kind of value v is, without its value: lists by what
// their items have in common, dicts with string keys as records when they are
// items of a list, else as maps.
func ShapeOf(v object.Value) Shape {
	switch v := v.(type) {
	case object.None:
		return Shape{Kind: NoneShape}
	case object.Bool:
		return Shape{Kind: BoolShape}
	case object.Int, object.Counter:
		return Shape{Kind: IntShape}
	case object.Float:
		return Shape{Kind: FloatShape}
	case object.Str:
		return Shape{Kind: StrShape}
	case *object.List:
		return Shape{Kind: ListShape, Elem: commonShape(v.Items)}
	case *object.Tuple:
		return Shape{Kind: ListShape, Elem: commonShape(v.Items)}
	case *object.Set:
		return Shape{Kind: ListShape, Elem: commonShape(v.Items)}
	case *object.Dict:
		values := make([]object.Value, 0, len(v.Entries))
		for _, e := range v.Entries {
			values = append(values, e.Value)
		}
		s := Shape{Kind: DictShape, Elem: commonShape(values)}
		if s.Elem != nil && s.Elem.Kind == AnyShape && len(v.Entries) <= shapeItems {
			s.Fields, _ = recordFields(v) // values of several kinds: more a record than a map
		}
		return s
	case object.Ref:
		return Shape{Kind: ObjShape}
	}
	return Shape{Kind: AnyShape}
}

// commonShape is the shape that all items share, any if they differ, nil for
// none. Dicts that share their string keys are records.
func commonShape(items []object.Value) *Shape {
	if len(items) > shapeItems {
		items = items[:shapeItems]
	}
	var common *Shape
	for _, it := range items {
		s := ShapeOf(it)
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
		case common.Kind != s.Kind && common.number() && s.number():
			common.Kind = FloatShape
		case common.Kind != s.Kind:
			return &Shape{Kind: AnyShape}
		}
	}
	return common
}

func recordFields(d *object.Dict) ([]NamedShape, bool) {
	var out []NamedShape
	for _, e := range d.Entries {
		k, ok := e.Key.(object.Str)
		if !ok {
			return nil, false
		}
		out = append(out, NamedShape{Name: string(k), Shape: ShapeOf(e.Value)})
	}
	return out, len(out) > 0
}

func sharedFields(a, b []NamedShape) []NamedShape {
	var out []NamedShape
	for _, x := range a {
		for _, y := range b {
			if x.Name != y.Name {
				continue
			}
			switch {
			case x.Shape.Kind == y.Shape.Kind:
			case x.Shape.number() && y.Shape.number():
				x.Shape = Shape{Kind: FloatShape}
			default:
				x.Shape = Shape{Kind: AnyShape}
			}
			out = append(out, x)
		}
	}
	return out
}

// number reports whether the value is a number.
func (s Shape) number() bool { return s.Kind == IntShape || s.Kind == FloatShape }

// Regrouped tells the same slots in another order, for one who is to come to
// an opinion of his own: the types change places, slots of one type stay in
// order, since which is the first of its type means something.
func Regrouped(in []NamedShape) []NamedShape {
	var kinds []ShapeKind
	for _, s := range in {
		if !slices.Contains(kinds, s.Shape.Kind) {
			kinds = append(kinds, s.Shape.Kind)
		}
	}
	slices.Reverse(kinds)
	var out []NamedShape
	for _, k := range kinds {
		for _, s := range in {
			if s.Shape.Kind == k {
				out = append(out, s)
			}
		}
	}
	return out
}
