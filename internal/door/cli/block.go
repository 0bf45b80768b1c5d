package cli

import "strings"

// block collects lines until they are whole: brackets and long texts are
// closed, and what begins with def, if, for or while has ended with a blank
// line.
type block struct{ lines []string }

func (b *block) begun() bool { return len(b.lines) > 0 }

// add takes a line. whole says that text is all there is to wait for; the block
// is empty then.
func (b *block) add(line string) (text string, whole bool) {
	b.lines = append(b.lines, line)
	text = strings.Join(b.lines, "\n")
	if unfinished(text) {
		return "", false
	}
	b.lines = nil
	return text, true
}

// end gives what is there, whole or not.
func (b *block) end() string {
	text := strings.Join(b.lines, "\n")
	b.lines = nil
	return text
}

// blockWords begin statements that have a body.
var blockWords = []string{"def", "if", "for", "while"}

// unfinished reports whether more lines have to follow.
func unfinished(text string) bool {
	start := strings.TrimSpace(text)
	if strings.HasPrefix(start, ":") || strings.HasPrefix(start, "#") {
		return false
	}
	depth := 0
	quote := "" // that closes the text that is open
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case quote != "":
			switch {
			case text[i] == '\\':
				i++
			case strings.HasPrefix(rest, quote):
				i += len(quote) - 1
				quote = ""
			case text[i] == '\n' && len(quote) == 1:
				quote = "" // an error, and the server's to tell
			}
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, `'''`):
			quote = rest[:3]
			i += 2
		case text[i] == '"', text[i] == '\'':
			quote = rest[:1]
		case text[i] == '#':
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				i += end
			} else {
				i = len(text)
			}
		case strings.IndexByte("([{", text[i]) >= 0:
			depth++
		case strings.IndexByte(")]}", text[i]) >= 0:
			depth--
		}
	}
	if len(quote) == 3 || quote == "" && depth > 0 || strings.HasSuffix(text, "\\") {
		return true
	}
	for _, w := range blockWords {
		if after, ok := strings.CutPrefix(start, w); ok && after != "" && strings.ContainsAny(after[:1], " \t(") && strings.Contains(text, ":") {
			last := text[strings.LastIndexByte(text, '\n')+1:]
			return strings.TrimSpace(last) != ""
		}
	}
	return false
}
