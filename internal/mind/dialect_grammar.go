package mind

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// What methodGrammar promises: whatever it derives is one def that the dialect
// parses. It derives every method whose blocks nest at most maxBlocks deep and
// whose brackets at most maxBrackets, with these left out: defs within the def,
// statements behind a colon or a semicolon on one line, *args and **kwargs,
// texts in triple quotes but for the first, raw texts and bytes, numbers that
// are not decimal, comments behind a statement, more than one empty line, and
// in the fields of f-strings everything but names, numbers, slots, items,
// calls and arithmetic.
const (
	maxBlocks   = 5
	maxBrackets = 5
)

// methodGrammar lets a model write one def with the given head, an indented
// body in which no error of syntax is possible, and nothing before or behind
// it.
func methodGrammar(sig string) string {
	return "root ::= " + literal(sig) + ` ("\n    " doc)? b1 b1*` + "\n" + dialect()
}

// reserved are the words that are no names in the dialect.
var reserved = strings.Fields(`and as assert async await break class continue def del elif else except finally for from
	global if import in is lambda load nonlocal not or pass raise return try while with yield`)

// dialect is the part of the grammar that all methods share.
var dialect = sync.OnceValue(func() string {
	var b strings.Builder
	rule := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s ::= %s\n", name, fmt.Sprintf(format, args...))
	}
	rule("doc", `"\"\"\"" ("\""{0,2} [^"\\\x00-\x09\x0b-\x1f\x7f])+ "\"\"\""`)
	rule("sp", `" "?`)
	rule("digit", `[0-9]`)
	rule("number", `("0" | [1-9] [0-9]{0,17}) ("." [0-9]{1,17})?`)
	rule("escape", `"\\" [nrt"'\\]`)
	rule("text", `"\"" ([^"\\\x00-\x1f\x7f] | escape)* "\"" | "'" ([^'\\\x00-\x1f\x7f] | escape)* "'"`)
	// Few alternatives make few branches for the engine to follow.
	rule("operator", `[-+*%%&|^] | "/" "/"? | "<<" | ">>"`)
	rule("augment", `operator "="`)
	rule("binary", `sp operator sp`)
	rule("compare", `sp ([=!] "=" | [<>] "="?) sp | " in " | " not in "`)
	names(rule)
	fstrings(rule)
	for level := range maxBrackets + 1 {
		expressions(rule, level)
	}
	for depth := 1; depth <= maxBlocks; depth++ {
		block(rule, depth, "b", false)
		block(rule, depth, "l", true)
	}
	return b.String()
})

// names makes rule name derive what is a name: letters, digits and _, no digit
// first, and not a reserved word. It walks the words' tree, letter by letter.
func names(rule func(name, format string, args ...any)) {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	rule("rest", `[a-zA-Z0-9_]*`)
	var walk func(prefix string) string
	walk = func(prefix string) string {
		var next []byte
		word := false
		for _, w := range reserved {
			if tail, ok := strings.CutPrefix(w, prefix); ok {
				if tail == "" {
					word = true
				} else if !slices.Contains(next, tail[0]) {
					next = append(next, tail[0])
				}
			}
		}
		var alts []string
		for _, c := range next {
			alts = append(alts, fmt.Sprintf(`"%c" %s`, c, walk(prefix+string(c))))
		}
		others := strings.Map(func(r rune) rune {
			if slices.Contains(next, byte(r)) {
				return -1
			}
			return r
		}, letters)
		if prefix == "" {
			others += "A-Z_"
		} else {
			others += "A-Z0-9_"
		}
		alts = append(alts, "["+others+"] rest")
		if prefix != "" && !word {
			alts = append(alts, `""`)
		}
		name := "name"
		if prefix != "" {
			name = "name-" + prefix
		}
		rule(name, "%s", strings.Join(alts, " | "))
		return name
	}
	walk("")
}

// fstrings makes rule ftext. A field has quotes only of the other kind, and
// neither braces nor colons of its own, so that it ends where it seems to.
func fstrings(rule func(name, format string, args ...any)) {
	rule("fspec", `":" [<>^]? [0-9]{0,2} ("." [0-9])? [dfs%%]?`)
	for _, q := range []struct{ tag, own, other string }{{"d", `"`, `'`}, {"s", `'`, `"`}} {
		own, other := strings.ReplaceAll(q.own, `"`, `\"`), strings.ReplaceAll(q.other, `"`, `\"`)
		rule("f"+q.tag, `"f%s" ([^%s\\{}\x00-\x1f\x7f] | "\\" [nrt\\] | "{{" | "}}" | "{" f%s2 ("!" [rs])? fspec? "}")* "%s"`, own, q.own, q.tag, own)
		rule("f"+q.tag+"key", `"%s" [^'"\\{}:!\x00-\x1f\x7f]* "%s"`, other, other)
		for level := range 3 {
			r := fmt.Sprintf("f%s%d", q.tag, level)
			arg := fmt.Sprintf("f%s%d", q.tag, level-1)
			rule(r, `"-"? %s-part (sp ("+" | "-" | "*" | "/" | "//" | "%%") sp "-"? %s-part)*`, r, r)
			if level == 0 {
				rule(r+"-part", `number | name ("." name)*`)
				continue
			}
			rule(r+"-part", `number | name %s-tail* | "(" %s ")"`, r, arg)
			item := fmt.Sprintf(`(%s | f%skey)`, arg, q.tag)
			rule(r+"-tail", `"." name | "[" %s "]" | "(" (%s (", " %s)*)? ")"`, item, item, item)
		}
	}
	rule("ftext", "fd | fs")
}

// expressions makes the rules of a level of brackets; the next level is what
// brackets may hold.
func expressions(rule func(name, format string, args ...any), level int) {
	r := func(s string) string { return strings.ReplaceAll(s, "@", fmt.Sprint(level)) }
	next := func(s string) string { return strings.ReplaceAll(r(s), "+1", fmt.Sprint(level+1)) }
	rule(r("test@"), "%s", r(`or@ (" if " or@ " else " test@)? | lambda@`))
	rule(r("lambda@"), "%s", r(`"lambda" (" " name (", " name)*)? ": " test@`))
	rule(r("or@"), "%s", r(`and@ (" or " and@)*`))
	rule(r("and@"), "%s", r(`not@ (" and " not@)*`))
	rule(r("not@"), "%s", r(`"not " not@ | sum@ (compare sum@)?`))
	rule(r("sum@"), "%s", r(`unary@ (binary unary@)*`))
	rule(r("unary@"), "%s", r(`[-+~]? (number | primary@)`))
	if level == maxBrackets {
		rule(r("primary@"), "%s", r(`(name | text) tail@* | ftext`))
		rule(r("tail@"), "%s", `"." name | "()"`)
		return
	}
	rule(r("primary@"), "%s", r(`(name | text | list@ | dict@ | group@) tail@* | ftext`))
	rule(r("tail@"), "%s", r(`"." name | call@ | item@`))
	// A line may end after an opening bracket, after a comma, and before the
	// closing one.
	if level == 0 {
		rule("open", `("\n" [ ]{0,40})?`)
		rule("comma", `"," (" " | "\n" [ ]{0,40})`)
		rule("close", `(","? "\n" [ ]{0,40})?`)
	}
	// Arguments with names come last.
	rule(r("call@"), "%s", next(`"(" (open (test+1 (comma test+1)* (comma named+1)* | named+1 (comma named+1)*) close)? ")"`))
	rule(next("named+1"), "%s", next(`name "=" test+1`))
	rule(r("item@"), "%s", next(`"[" (test+1 | test+1? sp ":" sp test+1? (":" sp test+1?)?) "]"`))
	rule(r("list@"), "%s", next(`"[" (open test+1 ((comma test+1)* close | for+1))? "]"`))
	rule(r("dict@"), "%s", next(`"{" (open pair+1 ((comma pair+1)* close | for+1))? "}"`))
	rule(next("pair+1"), "%s", next(`test+1 ":" sp test+1`))
	rule(next("for+1"), "%s", next(`(" for " vars " in " or+1 (" if " or+1)*)+`))
	rule(r("group@"), "%s", next(`"(" (open test+1 (comma test+1)* close | test+1 ",")? ")"`))
	if level == 0 {
		rule("vars", `var (", " var)*`)
		rule("var", `name | "(" name (", " name)* ")"`)
	}
}

// block makes the rules of the statements at one depth: tag "b", or "l" within
// a loop.
func block(rule func(name, format string, args ...any), depth int, tag string, loop bool) {
	margin := strings.Repeat("    ", depth)
	line := fmt.Sprintf(`"\n%s"`, margin)
	me, in := fmt.Sprintf("%s%d", tag, depth), fmt.Sprintf("%s%d", tag, depth+1)
	statement := "simple"
	if loop {
		statement += ` | "break" | "continue"`
	}
	if depth < maxBlocks {
		statement += " | " + me + "-if | " + me + "-for | " + me + "-while"
		body := func(s string) string { return fmt.Sprintf(`":" %s %s*`, s, s) }
		rule(me+"-if", "%s", fmt.Sprintf(`"if " test0 %s (%s "elif " test0 %s)* (%s "else" %s)?`, body(in), line, body(in), line, body(in)))
		rule(me+"-for", "%s", fmt.Sprintf(`"for " vars " in " test0 %s`, body(fmt.Sprintf("l%d", depth+1))))
		rule(me+"-while", "%s", fmt.Sprintf(`"while " test0 %s`, body(fmt.Sprintf("l%d", depth+1))))
	}
	rule(me, "%s", fmt.Sprintf(`"\n"? (%s "#" [^\x00-\x1f\x7f]*)* %s (%s)`, line, line, statement))
	if depth > 1 || loop {
		return
	}
	rule("simple", `"pass" | "return" (" " tests)? | name after`)
	rule("tests", `test0 (", " test0)*`)
	// A name that begins a statement is assigned, alone, with others or
	// through its slots and items, or a call is at its end.
	rule("after", `assign | (", " target)+ " = " tests | "." name after | item0 after | call0 called`)
	rule("assign", `" = " tests | " " augment " " tests`)
	rule("called", `"" | "." name after | item0 after | call0 called`)
	rule("target", `name reached?`)
	rule("reached", `"." name reached? | item0 reached? | call0 (call0)* ("." name reached? | item0 reached?)`)
}
