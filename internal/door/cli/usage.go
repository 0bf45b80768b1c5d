package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"batos"
)

// CheckUsage finishes the whole tree of commands: a slip in how one is called
// is one line that says what the command takes and where its help is.
func (a *App) CheckUsage(root *cobra.Command) {
	root.InitDefaultCompletionCmd(root.Name())
	if root.RunE == nil {
		root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.HasSubCommands() {
			group(c)
		} else {
			leaf(c)
			a.completes(c)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// group makes a command with others below it tell which there are.
func group(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		c.SuggestionsMinimumDistance = 2
		hint := ""
		if s := c.SuggestionsFor(args[0]); len(s) > 0 {
			hint = "did you mean " + oneOf(s) + "? "
		}
		said := strings.TrimSpace(inProgram(c) + " " + args[0])
		return batos.Errorf(batos.Invalid, "there is no command %.40q; %ssee %s --help", said, hint, c.CommandPath())
	}
	if c.RunE == nil && c.Run == nil {
		c.RunE = func(c *cobra.Command, _ []string) error {
			var names []string
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return batos.Errorf(batos.Invalid, "say what: %s", oneOf(names))
		}
	}
}

func oneOf(names []string) string {
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " or " + names[n]
	}
	return strings.Join(names, "")
}

// inProgram is a command's path without the program's name.
func inProgram(c *cobra.Command) string {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	return path
}

// leaf makes a command tell what it takes.
func leaf(c *cobra.Command) {
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		_, takes, _ := strings.Cut(strings.Replace(c.Use, " [flags]", "", 1), " ")
		got := fmt.Sprintf("%d arguments", len(args))
		switch {
		case takes == "" && len(args) > 0:
			takes, got = "no arguments", fmt.Sprintf("%.40q", args[0])
		case len(args) == 0:
			got = "nothing"
		case len(args) == 1:
			got = fmt.Sprintf("only %.40q", args[0])
		}
		return batos.Errorf(batos.Invalid, "%s takes %s and got %s; see %s --help", inProgram(c), takes, got, c.CommandPath())
	}
}
