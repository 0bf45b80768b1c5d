package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

// repl reads expressions and messages line by line.
func (a *App) repl() *cobra.Command {
	self := "genesis"
	c := &cobra.Command{
		Use: "repl", Short: "Talk to objects line by line, with history and completion", Args: cobra.NoArgs,
		Long: replHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var s wire.Status
			if err := client.Do(cmd.Context(), http.MethodGet, "/status", nil, &s); err != nil {
				return err
			}
			r := &repl{app: a, client: client, self: self}
			if _, err := r.object(cmd.Context(), self); err != nil {
				return err
			}
			if f, ok := a.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				return r.terminal(cmd.Context(), f)
			}
			return r.lines(cmd.Context(), a.In)
		},
	}
	c.Flags().StringVar(&self, "self", self, "what self is at first")
	return c
}

const replHelp = `An expression is evaluated with self bound to an object:
    self.count * 2
A line that begins with a dot sends self a message, and waits through a mission; one that names an object sends it to that:
    .increment_by 4
    counter.increment_by 4      or counter.increment_by(4)
    :self counter     what self is from now on
    :look             show self
    :names            names of objects
    :help  :quit      or Ctrl-D
Statements are run as they are; what begins with def, if, for or while, or leaves a bracket open, goes on in the next
line, and a blank line ends it. return answers something:
    for b in self.books:
        b.dust()
Tab completes names, slots and selectors, Ctrl-C drops the line or stops waiting. The history is kept in the image folder.`

type repl struct {
	app    *App
	client *wire.Client
	self   string
}

// errQuit ends the conversation.
var errQuit = errors.New("quit")

// lines is a conversation without a terminal: a script. The first error ends
// it.
func (r *repl) lines(ctx context.Context, in io.Reader) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxArgument)
	var typed block
	begin := 0 // the line in which what is collected began
	for n := 1; ; n++ {
		more := s.Scan()
		if !typed.begun() {
			begin = n
		}
		var text string
		whole := true
		if more {
			text, whole = typed.add(s.Text())
		} else {
			text = typed.end()
		}
		if whole {
			if err := r.do(ctx, text); errors.Is(err, errQuit) {
				return nil
			} else if err != nil {
				return inLine(begin, err)
			}
		}
		if !more {
			return s.Err()
		}
	}
}

// inLine says in which line of a script an error was.
func inLine(n int, err error) error {
	if code := batos.CodeOf(err); code != "" {
		return batos.Errorf(code, "line %d: %w", n, err)
	}
	return fmt.Errorf("line %d: %w", n, err)
}

func (r *repl) do(ctx context.Context, line string) error {
	text := line
	line = strings.TrimSpace(line)
	switch {
	case line == "" || strings.HasPrefix(line, "#"):
		return nil
	case strings.HasPrefix(line, ":"):
		return r.command(ctx, strings.Fields(line[1:]))
	case line == "?" || line == "help" || line == "quit" || line == "exit":
		return r.command(ctx, []string{line})
	}
	if target, selector, args, ok := r.message(ctx, line); ok {
		return r.send(ctx, target, selector, args)
	}
	var out wire.Result
	if err := r.client.Do(ctx, http.MethodPost, "/eval", wire.Eval{Expression: text, Target: r.self}, &out); err != nil {
		return err
	}
	r.show(out.Value.Value)
	return nil
}

// show prints an answer; with --json as JSON, in one line.
func (r *repl) show(v object.Value) {
	if r.app.json {
		r.app.line("%s", wire.AppendValue(nil, v))
		return
	}
	r.app.Show(v)
}

// callForm is a message as an expression has it.
var callForm = regexp.MustCompile(`^([A-Za-z_0-9.]*)\.([A-Za-z_][A-Za-z_0-9]*)\((.*)\)$`)

// called reads a line as NAME.SELECTOR(ARG, …), if NAME is an object and each
// ARG is JSON; all else is an expression.
func (r *repl) called(ctx context.Context, line string) (target, selector string, args []string, ok bool) {
	m := callForm.FindStringSubmatch(line)
	if m == nil || m[1] == "self" {
		return "", "", nil, false
	}
	if strings.TrimSpace(m[3]) != "" {
		args = split(m[3], ',')
	}
	for i, a := range args {
		if args[i] = strings.TrimSpace(a); !json.Valid([]byte(a)) {
			return "", "", nil, false
		}
	}
	target = cmp.Or(m[1], r.self)
	return target, m[2], args, r.exists(ctx, target)
}

// message reads a line as a message: .SELECTOR ARG… or NAME.SELECTOR ARG…, if
// NAME is an object.
func (r *repl) message(ctx context.Context, line string) (target, selector string, args []string, ok bool) {
	if target, selector, args, ok = r.called(ctx, line); ok {
		return target, selector, args, true
	}
	words := strings.Fields(line)
	head := words[0]
	if strings.ContainsAny(head, "()[]{}=+*/\"'") {
		return "", "", nil, false
	}
	at := strings.LastIndexByte(head, '.')
	if at < 0 {
		return "", "", nil, false
	}
	target, selector = head[:at], head[at+1:]
	if target == "" {
		target = r.self
	} else if target == "self" || !r.exists(ctx, target) {
		return "", "", nil, false
	}
	if selector == "" {
		return "", "", nil, false
	}
	rest := strings.TrimSpace(strings.TrimPrefix(line, head))
	return target, selector, arguments(rest), true
}

// arguments splits a line at blanks.
func arguments(s string) []string { return split(s, ' ') }

// split cuts a line at separators that stand in no brackets or quotes.
func split(s string, at rune) []string {
	var out []string
	depth, begin := 0, -1
	quoted, escaped := false, false
	for i, c := range s {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == at && depth <= 0:
			if begin >= 0 {
				out = append(out, s[begin:i])
			}
			begin = -1
			continue
		}
		if begin < 0 {
			begin = i
		}
	}
	if begin >= 0 {
		out = append(out, s[begin:])
	}
	return out
}

// replWait is how long a message of the conversation is waited for.
const replWait = 2 * time.Minute

func (r *repl) send(ctx context.Context, target, selector string, args []string) error {
	m := wire.Send{ID: string(batos.NewMessageID()), Target: target, Selector: selector}
	for _, a := range args {
		v, err := r.app.value(a)
		if err != nil {
			return err
		}
		m.Args = append(m.Args, v)
	}
	ctx, cancel := context.WithTimeout(ctx, replWait)
	defer cancel()
	stop := r.app.watch(ctx, r.client, m.ID)
	o, err := r.client.Send(ctx, m)
	stop()
	switch {
	case err != nil:
		return err
	case o.Error != nil:
		return o.Error.Err()
	case o.Value != nil:
		r.show(o.Value.Value)
	}
	return nil
}

func (r *repl) object(ctx context.Context, name string) (*wire.Object, error) {
	var o wire.Object
	if err := r.client.Do(ctx, http.MethodGet, "/objects/"+url.PathEscape(name), nil, &o); err != nil {
		return nil, err
	}
	return &o, nil
}

func (r *repl) exists(ctx context.Context, name string) bool {
	_, err := r.object(ctx, name)
	return err == nil
}

func (r *repl) command(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return batos.Errorf(batos.Invalid, "say which command; :help lists them")
	}
	switch words[0] {
	case "quit", "q", "exit":
		return errQuit
	case "help", "h", "?":
		fmt.Fprintln(r.app.Out, replHelp)
		return nil
	case "self":
		if len(words) != 2 {
			return batos.Errorf(batos.Invalid, ":self wants the name of an object")
		}
		if _, err := r.object(ctx, words[1]); err != nil {
			return err
		}
		r.self = words[1]
		return nil
	case "look":
		o, err := r.object(ctx, r.self)
		if err != nil {
			return err
		}
		for _, s := range o.Slots {
			r.app.line("  %-24s %-8s %s", s.Name, s.Kind, s.Text)
		}
		for _, m := range o.Methods {
			r.app.line("  %-24s method   by %s", m.Selector, m.AuthorName)
		}
		return nil
	case "names":
		names, err := r.names(ctx)
		if err != nil {
			return err
		}
		r.app.line("%s", strings.Join(names, " "))
		return nil
	}
	return batos.Errorf(batos.Invalid, "there is no command :%.40s; :help lists them", words[0])
}

func (r *repl) names(ctx context.Context) ([]string, error) {
	var n wire.Names
	err := r.client.Do(ctx, http.MethodGet, "/names", nil, &n)
	return n.Names, err
}

// complete finishes the word before the cursor: as far as all that fits agrees.
func (r *repl) complete(ctx context.Context, line string, pos int) (string, int, bool) {
	begin := strings.LastIndexAny(line[:pos], " ([{,=+-*/") + 1
	word := line[begin:pos]
	var fit []string
	if at := strings.LastIndexByte(word, '.'); at >= 0 {
		of := word[:at]
		if of == "" || of == "self" {
			of = r.self
		}
		o, err := r.object(ctx, of)
		if err != nil {
			return "", 0, false
		}
		for _, name := range slotNames(o) {
			fit = append(fit, word[:at+1]+name)
		}
	} else {
		names, err := r.names(ctx)
		if err != nil {
			return "", 0, false
		}
		fit = names
	}
	fit = slices.DeleteFunc(fit, func(s string) bool { return !strings.HasPrefix(s, word) })
	if len(fit) == 0 {
		return "", 0, false
	}
	common := fit[0]
	for _, f := range fit[1:] {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	if common == word && len(fit) > 1 {
		fmt.Fprintln(r.app.Out, strings.Join(fit, "  "))
		return line, pos, true
	}
	return line[:begin] + common + line[pos:], begin + len(common), true
}
