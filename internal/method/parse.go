package method

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"batos"
)

// Bounds of a source. They keep parsing and compiling linear in effect, and
// what the interpreter allocates without being asked (frames, operand stacks)
// small.
const (
	// MaxSource is the most bytes a method, or a file of methods, may have.
	MaxSource   = 64 << 10
	maxFile     = 1 << 20
	maxStack    = 4096 // operands alive at once in one function
	maxLocals   = 1024 // names in one function
	maxChain    = 2000 // elif branches in one if, and functions nested in one another
	maxFields   = 80   // fields of one f-string
	maxFStrings = 4    // f-strings nested in one another's fields
)

var options = &syntax.FileOptions{Set: true, While: true, Recursion: true}

// Parse reads the source of one method and gives its syntax tree. F-strings
// appear as calls of [FString], with the positions of the source; nothing
// else differs from what was written. name is what positions begin with.
func Parse(name, source string) (*syntax.DefStmt, error) { return parseMethod(name, source, 1) }

func parseMethod(name, source string, line int32) (*syntax.DefStmt, error) {
	if len(source) > MaxSource {
		return nil, batos.Errorf(batos.Limit, "%s: a method has at most %d KiB of source, not %d", name, MaxSource>>10, len(source)>>10)
	}
	file, err := parseFile(name, source, line)
	if err != nil {
		return nil, err
	}
	var def *syntax.DefStmt
	for _, s := range file.Stmts {
		d, ok := s.(*syntax.DefStmt)
		if !ok || def != nil {
			return nil, errAt(syntax.Start(s), batos.Invalid, "a method is one def and nothing beside it")
		}
		def = d
	}
	if def == nil {
		return nil, batos.Errorf(batos.Invalid, "%s:%d:1: no def: a method is one def selector(self, …)", name, line)
	}
	return def, nil
}

// parseFile parses any source, with f-strings lowered.
func parseFile(name, source string, line int32) (*syntax.File, error) {
	masked, found, err := maskFStrings(name, unixLines(source), place{line, 1}, 0)
	if err != nil {
		return nil, err
	}
	file, err := options.Parse(name, syntax.FilePortion{Content: []byte(masked), FirstLine: line, FirstCol: 1}, 0)
	if err != nil {
		return nil, sourceError(name, err)
	}
	l := lowerer{name: name, found: found}
	if err := l.stmts(file.Stmts); err != nil {
		return nil, err
	}
	return file, nil
}

// unixLines gives the source with the line ends that positions count by.
func unixLines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// errAt is an error of a source, with its position.
func errAt(pos syntax.Position, code batos.Code, format string, args ...any) *batos.Error {
	return batos.Errorf(code, "%s: %s", pos, fmt.Sprintf(format, args...))
}

// sourceError turns what parser, resolver and compiler report into one line.
func sourceError(name string, err error) error {
	var own *batos.Error
	if errors.As(err, &own) {
		return own
	}
	var syn syntax.Error
	if errors.As(err, &syn) {
		return errAt(syn.Pos, batos.Invalid, "%s", shorten(syn.Msg)+hint(syn.Msg))
	}
	var list resolve.ErrorList
	if errors.As(err, &list) && len(list) > 0 {
		return errAt(list[0].Pos, batos.Invalid, "%s", shorten(list[0].Msg))
	}
	var eval *starlark.EvalError
	if errors.As(err, &eval) {
		if at := position(err); at != "" {
			return batos.Errorf(batos.Invalid, "%s: %s", at, shorten(eval.Msg))
		}
	}
	return batos.Errorf(batos.Invalid, "%s: %s", name, shorten(err.Error()))
}

// hints say what to write instead of what Python has and the dialect has not,
// by how the parser's message begins.
var hints = []struct{ begins, hint string }{
	{"got is,", "write == instead of is"},
	{"got '**',", "there is no power operator; multiply, or use math.pow"},
	{"got import", "nothing can be imported; json, math and time are there"},
	{"got from", "nothing can be imported; json, math and time are there"},
	{"got try", "there are no exceptions; check before"},
	{"got raise", "fail(text) ends the message with an error"},
	{"got del", "use pop(key) or remove(value)"},
	{"got class", "there are no classes; clone an object"},
	{"got with", "there is no with"},
	{"got global", "there are no global variables; use slots of self"},
	{"got nonlocal", "a function cannot assign outer variables; use slots or a list"},
	{"got yield", "there are no generators; collect a list"},
	{"got string literal,", "texts are joined with +"},
}

func hint(msg string) string {
	for _, h := range hints {
		if strings.HasPrefix(msg, h.begins) {
			return "; " + h.hint
		}
	}
	return ""
}

// checkLiteral refuses integers beyond what methods compute with.
func checkLiteral(l *syntax.Literal) error {
	if b, ok := l.Value.(*big.Int); ok && b.BitLen() > maxBits {
		return errAt(l.TokenPos, batos.Limit, "an integer in a method has at most %d bits", maxBits)
	}
	return nil
}
