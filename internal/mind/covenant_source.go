package mind

import (
	"strings"

	"batos"
)

// methodSource finds the method in an answer: out of code fences and prose,
// moved to the left margin, with nothing behind it. An answer that is only a
// body gets the def line sig. Notes say what was done; both are "" if there is
// no method.
func methodSource(text, sig string, sel batos.Selector) (source, notes string) {
	code := unfence(text)
	if code != text {
		notes = "code fence removed"
	}
	lines := strings.Split(dedent(code), "\n")
	at := findDef(lines, string(sel))
	if at < 0 {
		body, ok := bodyOf(lines)
		if !ok || sig == "" {
			return "", ""
		}
		return sig + "\n" + body, join(notes, "def line added")
	}
	end := defEnd(lines, at)
	if at > 0 || strings.TrimSpace(strings.Join(lines[end:], "")) != "" {
		notes = join(notes, "text around the method removed")
	}
	return strings.TrimRight(dedent(strings.Join(lines[at:end], "\n")), " \n") + "\n", notes
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}

// unfence gives the inside of the first fenced block that has a def, else of
// the first fenced block, else the text. A fence that is never closed ends
// with the text.
func unfence(text string) string {
	var first string
	found := false
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		mark := fence(lines[i])
		if mark == "" {
			continue
		}
		var block []string
		for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), mark); i++ {
			block = append(block, lines[i])
		}
		inside := strings.Join(block, "\n")
		if findDef(block, "") >= 0 {
			return inside
		}
		if !found {
			first, found = inside, true
		}
	}
	if found {
		return first
	}
	return text
}

func fence(line string) string {
	line = strings.TrimSpace(line)
	for _, mark := range []string{"```", "~~~"} {
		if strings.HasPrefix(line, mark) {
			return mark
		}
	}
	return ""
}

// findDef gives the line of the def named name, else of the first def of any
// name, else -1.
func findDef(lines []string, name string) int {
	first := -1
	for i, l := range lines {
		rest, ok := strings.CutPrefix(strings.TrimLeft(l, " \t"), "def ")
		if !ok {
			continue
		}
		got, _, ok := strings.Cut(rest, "(")
		if !ok {
			continue
		}
		if name != "" && strings.TrimSpace(got) == name {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// defEnd is the line after the def at line at: the first later one that has
// text and is indented no deeper, outside brackets and long strings.
func defEnd(lines []string, at int) int {
	margin := indent(lines[at])
	var s scanner
	s.line(lines[at])
	for i := at + 1; i < len(lines); i++ {
		l := lines[i]
		if !s.open() && strings.TrimSpace(l) != "" && indent(l) <= margin {
			return i
		}
		s.line(l)
	}
	return len(lines)
}

// scanner follows brackets and triple-quoted strings from line to line.
type scanner struct {
	depth int
	quote string // the triple quote we are in, or ""
}

func (s *scanner) open() bool { return s.depth > 0 || s.quote != "" }

func (s *scanner) line(l string) {
	for i := 0; i < len(l); i++ {
		if s.quote != "" {
			end := strings.Index(l[i:], s.quote)
			if end < 0 {
				return
			}
			i += end + len(s.quote) - 1
			s.quote = ""
			continue
		}
		switch c := l[i]; c {
		case '#':
			return
		case '(', '[', '{':
			s.depth++
		case ')', ']', '}':
			s.depth = max(0, s.depth-1)
		case '"', '\'':
			if triple := strings.Repeat(string(c), 3); strings.HasPrefix(l[i:], triple) {
				s.quote = triple
				i += 2
				continue
			}
			for i++; i < len(l) && l[i] != c; i++ {
				if l[i] == '\\' {
					i++
				}
			}
		}
	}
}

// bodyOf takes lines as the body of a method, if they look like statements
// and not like prose, and indents them.
func bodyOf(lines []string) (string, bool) {
	code := false
	for _, l := range lines {
		word, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		switch {
		case word == "return", word == "if", word == "for", word == "while", word == "pass":
			code = true
		case strings.HasPrefix(word, "self."), strings.HasPrefix(word, "fail("):
			code = true
		}
	}
	if !code {
		return "", false
	}
	var b strings.Builder
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			l = "    " + l
		}
		b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n", true
}

func indent(l string) int { return len(l) - len(strings.TrimLeft(l, " \t")) }

// dedent moves all lines left by the least indentation that a line with text
// has.
func dedent(text string) string {
	lines := strings.Split(text, "\n")
	least := -1
	for _, l := range lines {
		if strings.TrimSpace(l) == "" {
			continue
		}
		if n := indent(l); least < 0 || n < least {
			least = n
		}
	}
	for i, l := range lines {
		if least > 0 && len(l) >= least {
			lines[i] = l[least:]
		}
	}
	return strings.Join(lines, "\n")
}
