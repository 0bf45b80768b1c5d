package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"batos/internal/door/cli"
	"batos/internal/kernel"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
)

// The test binary is two programs beside itself, found on the PATH: batos as
// it ships, and batos-scripted, which is batos with a scripted engine in place
// of a model. Each is also its own children.
const (
	program  = "batos"
	scripted = "batos-scripted"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		program:  main,
		scripted: func() { os.Exit(run(os.Args[1:], script)) },
	})
}

// holdEnv names selectors, separated by blanks, whose methods the scripted
// engine never comes to an end with.
const holdEnv = "BATOS_TEST_HOLD"

// script is the brain of batos-scripted.
var script = brain{
	source: func(upFlags) (*kernel.ModelSource, error) {
		return &kernel.ModelSource{ID: mindtest.ModelID, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("no weights")), nil
		}}, nil
	},
	profiles: []mind.Profile{mind.Covenant{}},
	open: func(upFlags) func(context.Context, kernel.Model) (mind.Engine, error) {
		return func(context.Context, kernel.Model) (mind.Engine, error) {
			return &mindtest.Script{Reply: reply}, nil
		}
	},
}

// methods is what the scripted engine can write, by selector.
var methods = map[string]string{
	"increment_by":     "def increment_by(self, a):\n    self.count = self.count + a\n    self._p_changed = True\n    return self.count\n",
	"display_yourself": "def display_yourself(self):\n    return {\"view\": \"panel\", \"title\": \"it\", \"children\": [{\"view\": \"text\", \"label\": \"hello\", \"value\": \"there\"}]}\n",
	"never_right":      "def never_right(self):\n    fail(\"never\")\n",
	"shout":            "def shout(self):\n    return \"HEY\"\n",
}

// reply writes the method whose selector the newest request names.
func reply(_ int, r mind.Request) mindtest.Answer {
	if len(r.Chat) > 0 && strings.Contains(r.Chat[0].Text, "JSON object") {
		return mindtest.Answer{Text: `{"purpose": "add", "reads": ["count"], "changes": ["count"], "steps": ["add"]}`}
	}
	var asked strings.Builder
	for _, t := range r.Chat {
		asked.WriteString(t.Text)
	}
	for sel, source := range methods {
		if !strings.Contains(asked.String(), "Message: "+sel+"(") {
			continue
		}
		if strings.Contains(" "+os.Getenv(holdEnv)+" ", " "+sel+" ") {
			return mindtest.Answer{Wait: make(chan struct{})}
		}
		return mindtest.Answer{Text: source}
	}
	return mindtest.Answer{Err: errors.New("the script has no such method")}
}

func TestFailPrintsOneLine(t *testing.T) {
	var out, report strings.Builder
	app := &cli.App{Out: &out, Err: &report, Getenv: func(string) string { return "" }}
	if exit := app.Fail(errors.Join(errors.New("first"), errors.New("second\n  third"))); exit != 1 {
		t.Errorf("exit %d", exit)
	}
	if want := "batos: first; second; third\n"; report.String() != want || out.String() != "" {
		t.Errorf("printed %q and %q, want %q", report.String(), out.String(), want)
	}
}
