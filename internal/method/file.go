package method

import (
	"math/big"
	"strings"

	"go.starlark.net/syntax"

	"batos"
	"batos/object"
)

// DefKind says what a [Def] puts into its slot.
type DefKind uint8

const (
	DefData      DefKind = iota // Value
	DefMethod                   // Source, Program
	DefPrimitive                // Value, an object.Primitive
	DefRef                      // Refs[0], a root name
	DefRefs                     // Refs, a list of root names
	DefTree                     // a new, empty tree
	DefCounter                  // Value, an object.Counter
)

// Def is one slot of the object that a .star file describes.
type Def struct {
	Name    string // of the slot; parents end in "*"
	Kind    DefKind
	Value   object.Value
	Refs    []string
	Source  string   // of a method: its def, exactly as written
	Program *Program // of a method: Source compiled under the method's name
	Line    int      // of the file, from 1
}

// ParseFile reads the description of one object, in the order of the file:
//
//	"""What the object is for."""               → slot doc
//	count = 3                                   → a data slot; any literal
//	total = counter(0)                          → a counter
//	notes = tree()                              → an empty tree
//	home = ref("genesis_obj")                   → a reference, or a list of them
//	clone = primitive("object.clone")           → a primitive
//	parents = [ref("traits_obj")]               → slot parent*
//	starred("state", ref("idle_state"))         → slot state*
//	def double(self, n): …                      → a method
//
// The file is parsed and its methods are compiled, but nothing in it runs.
// Errors are those of [Compile], with positions in the file.
func ParseFile(name, src string) ([]Def, error) {
	if len(src) > maxFile {
		return nil, batos.Errorf(batos.Limit, "%s: a file has at most %d KiB", name, maxFile>>10)
	}
	src = unixLines(src)
	file, err := parseFile(name, src, 1)
	if err != nil {
		return nil, err
	}
	f := fileReader{name: name, lines: strings.SplitAfter(src, "\n"), seen: map[string]bool{}}
	for i, s := range file.Stmts {
		end := len(f.lines) + 1
		if i+1 < len(file.Stmts) {
			end = int(syntax.Start(file.Stmts[i+1]).Line)
		}
		d, err := f.def(i, s, end)
		if err != nil {
			return nil, err
		}
		at := syntax.Start(s)
		if f.seen[d.Name] {
			return nil, errAt(at, batos.Invalid, "slot %s is defined twice", d.Name)
		}
		f.seen[d.Name] = true
		d.Line = int(at.Line)
		f.defs = append(f.defs, d)
	}
	return f.defs, nil
}

type fileReader struct {
	name  string
	lines []string
	defs  []Def
	seen  map[string]bool
}

// def reads statement i of the file; the next one begins on line end.
func (f *fileReader) def(i int, s syntax.Stmt, end int) (Def, error) {
	switch s := s.(type) {
	case *syntax.DefStmt:
		return f.method(s, end)
	case *syntax.AssignStmt:
		id, ok := s.LHS.(*syntax.Ident)
		if !ok || s.Op != syntax.EQ {
			break
		}
		if id.Name == "parents" {
			return starred("parent", s.RHS)
		}
		if err := slotName(id.Name, id.NamePos); err != nil {
			return Def{}, err
		}
		return slotDef(id.Name, s.RHS)
	case *syntax.ExprStmt:
		if lit, ok := s.X.(*syntax.Literal); ok && i == 0 && lit.Token == syntax.STRING {
			return Def{Name: "doc", Value: object.Str(strings.TrimSpace(lit.Value.(string)))}, nil
		}
		if args, ok := callTo(s.X, "starred"); ok && len(args) == 2 {
			name, err := stringOf(args[0])
			if err != nil {
				return Def{}, err
			}
			if err := slotName(name, syntax.Start(args[0])); err != nil {
				return Def{}, err
			}
			return starred(name, args[1])
		}
	}
	return Def{}, errAt(syntax.Start(s), batos.Invalid, "a file holds def, name = value and starred(name, ref) only")
}

// method takes the source of a def: its lines without what follows it.
func (f *fileReader) method(s *syntax.DefStmt, end int) (Def, error) {
	if s.Def.Col != 1 {
		return Def{}, errAt(s.Def, batos.Invalid, "a def begins its line")
	}
	lines := f.lines[s.Def.Line-1 : end-1]
	if len(lines) == 0 {
		return Def{}, errAt(s.Def, batos.Invalid, "a def stands on lines of its own")
	}
	for n := len(lines); n > 1 && (strings.TrimSpace(lines[n-1]) == "" || lines[n-1][0] == '#'); n-- {
		lines = lines[:n-1]
	}
	source := strings.TrimRight(strings.Join(lines, ""), "\n") + "\n"
	if len(source) > MaxSource {
		return Def{}, errAt(s.Def, batos.Limit, "a method has at most %d KiB of source", MaxSource>>10)
	}
	p, err := Compile(s.Name.Name, source)
	if err != nil { // once more, for the position in the file
		if _, inFile := compileAt(f.name, source, s.Def.Line); inFile != nil {
			err = inFile
		}
		return Def{}, err
	}
	return Def{Name: s.Name.Name, Kind: DefMethod, Source: source, Program: p}, nil
}

func slotName(name string, pos syntax.Position) error {
	if _, err := batos.ParseSelector(name); err != nil {
		return errAt(pos, batos.Invalid, "%s", err)
	}
	return nil
}

// starred reads the parents of a slot that delegates: a ref or a list of them.
func starred(name string, e syntax.Expr) (Def, error) {
	d, err := slotDef(name+"*", e)
	if err == nil && d.Kind != DefRef && d.Kind != DefRefs {
		err = errAt(syntax.Start(e), batos.Invalid, "%s* holds ref(…) or a list of them", name)
	}
	return d, err
}

func slotDef(name string, e syntax.Expr) (Def, error) {
	d := Def{Name: name}
	if args, ok := callTo(e, "primitive"); ok && len(args) == 1 {
		p, err := stringOf(args[0])
		d.Kind, d.Value = DefPrimitive, object.Primitive(p)
		return d, err
	}
	if args, ok := callTo(e, "ref"); ok && len(args) == 1 {
		to, err := stringOf(args[0])
		d.Kind, d.Refs = DefRef, []string{to}
		return d, err
	}
	if args, ok := callTo(e, "tree"); ok && len(args) == 0 {
		d.Kind = DefTree
		return d, nil
	}
	if args, ok := callTo(e, "counter"); ok && len(args) == 1 {
		v, err := literalValue(args[0], 0)
		if err != nil {
			return d, err
		}
		n, _ := v.(object.Int)
		i, fits := n.Int64()
		if v.Kind() != object.KindInt || !fits {
			return d, errAt(syntax.Start(args[0]), batos.Invalid, "a counter begins with an int")
		}
		d.Kind, d.Value = DefCounter, object.Counter(i)
		return d, nil
	}
	if list, ok := e.(*syntax.ListExpr); ok && len(list.List) > 0 {
		if _, ok := callTo(list.List[0], "ref"); ok {
			return refsDef(d, list)
		}
	}
	v, err := literalValue(e, 0)
	d.Value = v
	return d, err
}

func refsDef(d Def, list *syntax.ListExpr) (Def, error) {
	d.Kind = DefRefs
	for _, x := range list.List {
		args, ok := callTo(x, "ref")
		if !ok || len(args) != 1 {
			return d, errAt(syntax.Start(x), batos.Invalid, "a list of references holds ref(…) only")
		}
		to, err := stringOf(args[0])
		if err != nil {
			return d, err
		}
		d.Refs = append(d.Refs, to)
	}
	return d, nil
}

// callTo gives the arguments if e is a call of the function name.
func callTo(e syntax.Expr, name string) ([]syntax.Expr, bool) {
	c, ok := e.(*syntax.CallExpr)
	if !ok {
		return nil, false
	}
	id, ok := c.Fn.(*syntax.Ident)
	return c.Args, ok && id.Name == name
}

func stringOf(e syntax.Expr) (string, error) {
	if lit, ok := e.(*syntax.Literal); ok && lit.Token == syntax.STRING {
		return lit.Value.(string), nil
	}
	return "", errAt(syntax.Start(e), batos.Invalid, "want a string")
}

// literalValue reads data.
func literalValue(e syntax.Expr, depth int) (object.Value, error) {
	if depth > MaxNesting {
		return nil, errAt(syntax.Start(e), batos.Limit, "nested more than %d deep", MaxNesting)
	}
	switch e := e.(type) {
	case *syntax.Literal:
		switch v := e.Value.(type) {
		case string:
			if e.Token == syntax.BYTES {
				return object.Bytes(v), nil
			}
			return object.Str(v), nil
		case int64:
			return object.NewInt(v), nil
		case *big.Int:
			return object.BigInt(v), checkLiteral(e)
		case float64:
			return object.Float(v), nil
		}
	case *syntax.Ident:
		switch e.Name {
		case "None":
			return object.None{}, nil
		case "True", "False":
			return object.Bool(e.Name == "True"), nil
		}
	case *syntax.ParenExpr:
		return literalValue(e.X, depth+1)
	case *syntax.UnaryExpr:
		if e.Op == syntax.MINUS {
			return negative(e, depth)
		}
	case *syntax.ListExpr:
		items, err := literalValues(e.List, depth)
		return &object.List{Items: items}, err
	case *syntax.TupleExpr:
		items, err := literalValues(e.List, depth)
		return &object.Tuple{Items: items}, err
	case *syntax.DictExpr:
		return literalDict(e, depth)
	}
	return nil, errAt(syntax.Start(e), batos.Invalid, "want a literal, ref(…), primitive(…), tree() or counter(…)")
}

func negative(e *syntax.UnaryExpr, depth int) (object.Value, error) {
	v, err := literalValue(e.X, depth+1)
	if err != nil {
		return nil, err
	}
	switch n := v.(type) {
	case object.Int:
		b := n.Big()
		return object.BigInt(b.Neg(b)), nil
	case object.Float:
		return -n, nil
	}
	return nil, errAt(e.OpPos, batos.Invalid, "a %s has no negative", v.Kind())
}

func literalValues(es []syntax.Expr, depth int) ([]object.Value, error) {
	out := make([]object.Value, len(es))
	for i, x := range es {
		var err error
		if out[i], err = literalValue(x, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func literalDict(e *syntax.DictExpr, depth int) (object.Value, error) {
	d := &object.Dict{}
	seen := map[object.Value]bool{}
	for _, x := range e.List {
		entry := x.(*syntax.DictEntry)
		k, err := literalValue(entry.Key, depth+1)
		if err != nil {
			return nil, err
		}
		switch k.Kind() {
		case object.KindStr, object.KindInt, object.KindBool, object.KindNone, object.KindBytes:
		default:
			return nil, errAt(syntax.Start(entry.Key), batos.Invalid, "a %s cannot be a key here", k.Kind())
		}
		if n, ok := k.(object.Int); !ok || fitsWord(n) {
			if seen[k] {
				return nil, errAt(syntax.Start(entry.Key), batos.Invalid, "duplicate key")
			}
			seen[k] = true
		}
		v, err := literalValue(entry.Value, depth+1)
		if err != nil {
			return nil, err
		}
		d.Entries = append(d.Entries, object.Entry{Key: k, Value: v})
	}
	return d, nil
}

func fitsWord(n object.Int) bool {
	_, ok := n.Int64()
	return ok
}
