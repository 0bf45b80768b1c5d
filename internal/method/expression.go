package method

import (
	"strings"

	"go.starlark.net/syntax"

	"batos"
)

// Snippet makes the source of a method of what a person typed: one expression,
// which the method returns, or statements, which are its body. shift says where
// a position in the source lies in the text, counted from 1. name is what
// positions in errors begin with; those of an error made here are positions in
// the text.
func Snippet(name string, sel batos.Selector, text string) (source string, shift func(line, col int) (int, int), err error) {
	text = strings.TrimRight(unixLines(text), " \t\n")
	if strings.TrimSpace(text) == "" {
		return "", nil, batos.Errorf(batos.Invalid, "nothing to evaluate")
	}
	head := "def " + string(sel) + "(self):\n"
	exprErr := parseExpression(name, text)
	if exprErr == nil {
		// Between brackets neither indentation nor a line's end means anything.
		return head + "    return (\n" + text + "\n)\n", func(line, col int) (int, int) { return line - 2, col }, nil
	}
	indent, whole, first := "    ", text, int32(1)
	if start := strings.TrimLeft(text, "\n"); start[0] == ' ' || start[0] == '\t' {
		indent, whole, first = "", head+text, 0 // it is indented as a body is
	}
	file, err := parseFile(name, whole+"\n", first)
	if err != nil {
		if !strings.Contains(text, "\n") {
			err = exprErr // what was likelier meant
		}
		return "", nil, err
	}
	inside := insideTexts(file)
	lines := strings.Split(text, "\n")
	for i := range lines {
		if !inside[i+1] {
			lines[i] = indent + lines[i]
		}
	}
	return head + strings.Join(lines, "\n") + "\n", func(line, col int) (int, int) {
		if line--; !inside[line] {
			col = max(1, col-len(indent))
		}
		return line, col
	}, nil
}

// parseExpression checks that a text is one expression.
func parseExpression(name, text string) error {
	start := strings.TrimLeft(text, " \t\n")
	lead := text[:len(text)-len(start)]
	from := place{int32(1 + strings.Count(lead, "\n")), int32(len(lead) - strings.LastIndex(lead, "\n"))}
	masked, found, err := maskFStrings(name, start, from, 0)
	if err != nil {
		return err
	}
	e, err := options.ParseExpr(name, syntax.FilePortion{Content: []byte(masked), FirstLine: from.line, FirstCol: from.col}, 0)
	if err != nil {
		return sourceError(name, err)
	}
	l := lowerer{name: name, found: found}
	return l.stmts([]syntax.Stmt{&syntax.ExprStmt{X: e}})
}

// insideTexts are the lines that begin within a string literal.
func insideTexts(file *syntax.File) map[int]bool {
	inside := map[int]bool{}
	syntax.Walk(file, func(n syntax.Node) bool {
		if l, ok := n.(*syntax.Literal); ok && l.Token == syntax.STRING {
			for i := range strings.Count(l.Raw, "\n") {
				inside[int(l.TokenPos.Line)+i+1] = true
			}
		}
		return true
	})
	return inside
}
