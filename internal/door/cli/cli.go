// Package cli is the command line as a door: each command is one request to a
// running server, its answer as text or with --json as it came, and an exit
// status from the table of error codes. Commands that need no server are in
// cmd/batos.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

// Exit statuses beside those of error codes.
const (
	exitNoServer    = 4
	exitInterrupted = 130
)

// App is one call of the program.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string

	json          bool
	image, server string
}

// Root is the command with everything that talks to a server. The caller adds
// the commands that don't.
func (a *App) Root() *cobra.Command {
	root := &cobra.Command{
		Use:           "batos",
		Short:         "A living image for language-model agents",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error { return checkText(c.Flags(), args) }
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return batos.Errorf(batos.Invalid, "%w; see %s --help", err, c.CommandPath())
	})
	p := root.PersistentFlags()
	p.BoolVar(&a.json, "json", false, "print JSON")
	p.StringVar(&a.image, "image", a.env("BATOS_IMAGE", "live_image"), "image folder (BATOS_IMAGE)")
	p.StringVar(&a.server, "server", a.env("BATOS_SERVER", wire.DefaultServer), "server to talk to (BATOS_SERVER)")
	root.AddCommand(a.completesTarget(a.send(), true), a.new(), a.completesTarget(a.set(), true), a.completesTarget(a.def(), false),
		a.completesTarget(a.inspect(), false), a.completesTarget(a.log(), false), a.diff(), a.undo(), a.eval(), a.mission(), a.codex(), a.status(), a.token(), a.adapter(), a.catalog(), a.repl())
	return root
}

// fileFlags name files, which may be called anything.
var fileFlags = []string{"image", "model", "lib"}

// checkText accepts what can be said in JSON.
func checkText(flags *pflag.FlagSet, args []string) (err error) {
	for _, s := range args {
		if !utf8.ValidString(s) {
			return batos.Errorf(batos.Invalid, "argument %.60q is not UTF-8", s)
		}
	}
	flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains(fileFlags, f.Name) && !utf8.ValidString(f.Value.String()) {
			err = batos.Errorf(batos.Invalid, "--%s is not UTF-8", f.Name)
		}
	})
	return err
}

func (a *App) env(name, or string) string {
	if v := a.Getenv(name); v != "" {
		return v
	}
	return or
}

// Image is the image folder that was asked for.
func (a *App) Image() string { return filepath.Clean(a.image) }

// errNoImage is wrapped by errors of commands that need an image where there is
// none.
var errNoImage = errors.New("there is no image in")

// NoImage is the error for that there is no image in the folder that was asked
// for. Its exit status is that of a server that is missing.
func (a *App) NoImage() error { return batos.Errorf(batos.NotFound, "%w %s", errNoImage, a.Image()) }

// JSON reports whether --json was given.
func (a *App) JSON() bool { return a.json }

// Fail prints err as one line and gives the exit status.
func (a *App) Fail(err error) int {
	code := batos.CodeOf(err)
	exit := 1
	switch {
	case errors.Is(err, wire.ErrNoServer), errors.Is(err, errNoImage):
		exit = exitNoServer
	case code == "" && errors.Is(err, context.Canceled):
		exit = exitInterrupted
	case code != "":
		exit = code.Exit()
	}
	if a.json {
		if code == "" {
			code = "internal"
			switch exit {
			case exitNoServer:
				code = "no_server"
			case exitInterrupted:
				code = batos.Cancelled
			}
		}
		a.print(wire.Problem{Error: wire.Error{Code: code, Message: err.Error()}})
		return exit
	}
	fmt.Fprintln(a.Err, "batos: "+oneLine(err.Error()))
	return exit
}

// oneLine makes one line of what a message or a library had to say.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "; ")
}

// print writes v as indented JSON.
func (a *App) print(v any) {
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // standard output is gone: nobody is left to tell
}

// Print writes v as JSON for commands that need no server.
func (a *App) Print(v any) error {
	a.print(v)
	return nil
}

// Line writes one line.
func (a *App) Line(format string, args ...any) { a.line(format, args...) }

// Show writes a value for people.
func (a *App) Show(v object.Value) { a.show(v) }

// Survey says in a line each what image folder and server this call would use.
func (a *App) Survey(ctx context.Context) (image, server string) {
	image = a.Image() + ": no image yet; batos up makes one"
	if _, err := wire.ReadToken(a.Image()); err == nil {
		image = a.Image()
	}
	var s wire.Status
	if err := a.call(ctx, "GET", "/status", nil, &s); err != nil {
		return image, a.server + ": " + err.Error()
	}
	core := s.Core.Reason
	if s.Core.Online {
		core = "model " + s.Core.Model
	}
	return image, fmt.Sprintf("%s: batos %s, %d objects, %s", a.server, s.Release, s.Objects, core)
}

// client finds the token and makes a client.
func (a *App) client() (*wire.Client, error) {
	token := a.Getenv("BATOS_TOKEN")
	if token == "" {
		var err error
		token, err = wire.ReadToken(a.Image())
		if batos.CodeOf(err) == batos.NotFound {
			return nil, fmt.Errorf("%w: in %s there is no image that was ever served; start with: batos up --image %s", wire.ErrNoServer, a.Image(), a.Image())
		}
		if err != nil {
			return nil, err
		}
	}
	return wire.NewClient(a.server, token)
}

// maxArgument bounds an argument read from a file, in bytes.
const maxArgument = 16 << 20

// argument reads one ARG: @FILE and @- are files, the rest is itself.
func (a *App) argument(s string) (string, error) {
	name, isFile := strings.CutPrefix(s, "@")
	if !isFile {
		return s, nil
	}
	r := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", batos.Errorf(batos.Invalid, "argument %s: %w", s, err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxArgument+1))
	if err != nil {
		return "", batos.Errorf(batos.Invalid, "argument %s: %w", s, err)
	}
	if len(b) > maxArgument {
		return "", batos.Errorf(batos.Limit, "argument %s is larger than %d MiB; large data belongs in a blob", s, maxArgument>>20)
	}
	return string(b), nil
}
