package mind

import (
	"strings"

	"batos"
)

// Lesson is an example to train an adapter on: what the model reads, in words
// or in tokens, and what it should have written.
type Lesson struct {
	System         string  `json:"system,omitempty"` // before the prompt, where the model takes chats
	Prompt         string  `json:"prompt,omitempty"`
	Response       string  `json:"response,omitempty"`
	PromptTokens   []int32 `json:"prompt_tokens,omitempty"` // instead of Prompt
	ResponseTokens []int32 `json:"response_tokens,omitempty"`
}

// Teacher is a profile that can say what its model should have written.
type Teacher interface {
	// Lesson gives the example whose answer is read as source. The error is
	// refused for a source that the model could not have written.
	Lesson(t Task, source string) (Lesson, error)
}

var (
	_ Teacher = (*Seed)(nil)
	_ Teacher = Covenant{}
)

// Lesson gives the conversation that ends with source.
func (c Covenant) Lesson(t Task, source string) (Lesson, error) {
	r, err := c.Compose(t, nil)
	if err != nil {
		return Lesson{}, err
	}
	l := Lesson{Prompt: r.Text, Response: strings.TrimRight(source, "\n") + "\n"}
	for _, turn := range r.Chat {
		switch turn.Role {
		case System:
			l.System = turn.Text
		case User:
			l.Prompt = turn.Text
		}
	}
	return l, nil
}

// Lesson gives the prompt and the method's body in tokens, without names.
func (s *Seed) Lesson(t Task, source string) (Lesson, error) {
	r, err := s.Compose(t, nil)
	if err != nil {
		return Lesson{}, err
	}
	body, err := s.Body(t, source)
	if err != nil {
		return Lesson{}, err
	}
	return Lesson{PromptTokens: r.Tokens, ResponseTokens: append(s.tok.Encode(body), SeedEnd)}, nil
}

// Body takes the names out of a method's source: the inverse of what
// [Seed.Read] does. The error is refused for what the model has no words for.
func (s *Seed) Body(t Task, source string) (string, error) {
	n, err := s.names(t)
	if err != nil {
		return "", err
	}
	lines := strings.Split(strings.TrimRight(source, "\n"), "\n")
	params, ok := parameters(lines[0])
	if !ok || len(params) != len(n.params) {
		return "", batos.Errorf(batos.Refused, "%q is no def line of %s with %d arguments on one line", lines[0], t.Selector, len(n.params))
	}
	back := aliases{n: n, letters: map[string]string{}}
	for i, p := range params {
		back.letters[p] = string(rune('a' + i))
	}
	unit := 0
	var out []string
	for _, line := range lines[1:] {
		code := strings.TrimLeft(line, " ")
		if code == "" || code[0] == '#' {
			continue
		}
		indent := len(line) - len(code)
		if unit == 0 {
			unit = indent
		}
		if unit == 0 || indent%unit != 0 || indent == 0 {
			return "", batos.Errorf(batos.Refused, "%q is not indented in steps", line)
		}
		text, err := back.line(code)
		if err != nil {
			return "", err
		}
		out = append(out, strings.Repeat(" ", indent/unit-1)+text)
	}
	body := strings.Join(out, "\n")
	if len(out) == 0 {
		return "", batos.Errorf(batos.Refused, "the method is empty")
	}
	if _, err := n.source(t.Selector, body); err != nil {
		return "", err
	}
	return body, nil
}

// parameters gives the names after self in a def line.
func parameters(line string) ([]string, bool) {
	_, rest, ok := strings.Cut(line, "(self")
	if !ok || !strings.HasPrefix(line, "def ") || !strings.HasSuffix(strings.TrimSpace(rest), "):") {
		return nil, false
	}
	rest = strings.TrimSuffix(strings.TrimSpace(rest), "):")
	var out []string
	for _, p := range strings.Split(rest, ",")[1:] {
		if p = strings.TrimSpace(p); !isIdentifier(p) {
			return nil, false // a default, a star: nothing of the model's
		}
		out = append(out, p)
	}
	return out, true
}

// aliases puts aliases where names stand.
type aliases struct {
	n       *seedNames
	letters map[string]string // by parameter
}

func (a aliases) line(code string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(code); {
		c := code[i]
		switch {
		case c == '"':
			j := i + 1
			for j < len(code) && code[j] != '"' {
				if code[j] == '\\' {
					j++
				}
				j++
			}
			if j >= len(code) {
				return "", batos.Errorf(batos.Refused, "a text has no end in %q", code)
			}
			text, err := a.text(code[i+1:j], strings.HasPrefix(code[j+1:], ":"))
			if err != nil {
				return "", err
			}
			b.WriteString(`"` + text + `"`)
			i = j + 1
		case c == '\'' || c == '`' || c == '$' || c == '#':
			return "", batos.Errorf(batos.Refused, "the model has no word for %q in %q", string(c), code)
		case isLetter(c) || c == '_':
			j := i
			for j < len(code) && (isLetter(code[j]) || code[j] == '_' || isDigit(code[j])) {
				j++
			}
			word := code[i:j]
			if word == "self" && j < len(code) && code[j] == '.' {
				k := j + 1
				for k < len(code) && (isLetter(code[k]) || code[k] == '_' || isDigit(code[k])) {
					k++
				}
				if at := indexOf(a.n.slots, code[j+1:k]); at >= 0 {
					word, j = "$"+itoa(at), k
				} else {
					word, j = code[i:k], k
				}
			} else if i == 0 || code[i-1] != '.' {
				if letter, ok := a.letters[word]; ok {
					word = letter
				} else if len(word) == 1 && word >= "a" && word <= "d" {
					return "", batos.Errorf(batos.Refused, "the model's word for an argument, %s, is another name in %q", word, code)
				}
			}
			b.WriteString(word)
			i = j
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), nil
}

// viewKeys are the keys of a layout, which are no fields of records there.
var viewKeys = wordSet("view title label value children")

// text gives a quoted text with aliases: for the name of a field, and for the
// names of slots and receiver as words of it. key: a colon follows.
func (a aliases) text(s string, key bool) (string, error) {
	if key && viewKeys[s] {
		return s, nil
	}
	if at := indexOf(a.n.fields, s); at >= 0 {
		return "#" + itoa(at), nil
	}
	for i := range s {
		if (s[i] == '%' || s[i] == '#') && i+1 < len(s) && (isDigit(s[i+1]) || s[i+1] == '~') {
			return "", batos.Errorf(batos.Refused, "the model would read %q as an alias", s)
		}
	}
	words := strings.Split(s, " ")
	for i, w := range words {
		if at := indexOf(a.n.slots, w); at >= 0 {
			words[i] = "%" + itoa(at)
		} else if w == escape(a.n.receiver) && w != "" {
			words[i] = "%~"
		}
	}
	return strings.Join(words, " "), nil
}

func indexOf(names []string, name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}
