package mind

import (
	"strconv"
	"strings"

	"batos"
)

// source makes a method of the model's answer: the def line, four columns for
// each level, and names where aliases stood. An alias without a name and a
// text that is not in the model's form are refused.
func (n *seedNames) source(sel batos.Selector, body string) (string, error) {
	var b strings.Builder
	b.WriteString("def " + string(sel) + "(self")
	for _, p := range n.params {
		b.WriteString(", " + p)
	}
	b.WriteString("):\n")
	rename, err := n.renaming(body)
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(strings.Trim(body, "\n"), "\n") {
		code := strings.TrimLeft(line, " ")
		text, err := n.line(code, rename)
		if err != nil {
			return "", err
		}
		b.WriteString(strings.Repeat("    ", 1+len(line)-len(code)) + text + "\n")
	}
	return b.String(), nil
}

// renaming maps the letters of arguments to parameters, and a variable of the
// body that has a parameter's name to a name of its own.
func (n *seedNames) renaming(body string) (map[string]string, error) {
	m := map[string]string{}
	taken := map[string]bool{}
	for i, p := range n.params {
		m[string(rune('a'+i))] = p
		taken[p] = true
	}
	for _, word := range identifiers(body) {
		if _, arg := m[word]; !arg && taken[word] {
			m[word] = word + "_"
		}
		if len(word) == 1 && word >= "a" && word <= "d" && int(word[0]-'a') >= len(n.params) {
			return nil, batos.Errorf(batos.Refused, "the model used an argument that the message does not have")
		}
	}
	return m, nil
}

// line puts names into one line of code.
func (n *seedNames) line(code string, rename map[string]string) (string, error) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(code); {
		c := code[i]
		switch {
		case c == '\\' && quoted && i+1 < len(code):
			b.WriteString(code[i : i+2])
			i += 2
		case c == '"':
			quoted = !quoted
			b.WriteByte(c)
			i++
		case quoted && c == '%' && i+1 < len(code) && code[i+1] == '~':
			b.WriteString(escape(n.receiver))
			i += 2
		case (c == '$' && !quoted || (c == '%' || c == '#') && quoted) && i+1 < len(code) && isDigit(code[i+1]):
			k, size := number(code[i+1:])
			name, err := n.name(c, k)
			if err != nil {
				return "", err
			}
			b.WriteString(name)
			i += 1 + size
		case !quoted && (isLetter(c) || c == '_'):
			j := i
			for j < len(code) && (isLetter(code[j]) || code[j] == '_' || isDigit(code[j])) {
				j++
			}
			word := code[i:j]
			if to, ok := rename[word]; ok && (i == 0 || code[i-1] != '.') {
				word = to
			}
			b.WriteString(word)
			i = j
		default:
			b.WriteByte(c)
			i++
		}
	}
	if quoted {
		return "", batos.Errorf(batos.Refused, "the model's answer has a text without an end")
	}
	return b.String(), nil
}

func (n *seedNames) name(kind byte, k int) (string, error) {
	names := n.slots
	if kind == '#' {
		names = n.fields
	}
	if k >= len(names) {
		return "", batos.Errorf(batos.Refused, "the model named a slot or field that there is not: %c%d", kind, k)
	}
	if kind == '$' {
		return "self." + names[k], nil
	}
	return escape(names[k]), nil
}

// escape writes a name inside a quoted text.
func escape(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func number(s string) (value, size int) {
	for size < len(s) && size < 3 && isDigit(s[size]) {
		value = value*10 + int(s[size]-'0')
		size++
	}
	return value, size
}

// identifiers lists the names in code that are not in texts and not after a
// dot.
func identifiers(code string) []string {
	var out []string
	quoted := false
	for i := 0; i < len(code); i++ {
		c := code[i]
		switch {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (isLetter(c) || c == '_'):
			j := i
			for j < len(code) && (isLetter(code[j]) || code[j] == '_' || isDigit(code[j])) {
				j++
			}
			if i == 0 || code[i-1] != '.' {
				out = append(out, code[i:j])
			}
			i = j - 1
		}
	}
	return out
}

// SeedSource makes a method of an answer to a prompt whose aliases stand for
// the given names; its arguments are a, b, c, d. Training and evaluation use
// it where there is no task.
func SeedSource(sel batos.Selector, p SeedPrompt, slots, fields []string, receiver, body string) (string, error) {
	n := &seedNames{prompt: p, slots: slots, fields: fields, receiver: receiver}
	for i := range p.Args {
		n.params = append(n.params, string(rune('a'+i)))
	}
	return n.source(sel, body)
}
