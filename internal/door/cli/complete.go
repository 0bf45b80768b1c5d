package cli

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"batos/internal/wire"
)

// completionWait is how long a shell's Tab waits for the server.
const completionWait = 2 * time.Second

// completesTarget lets a shell finish a command's TARGET and, of commands whose
// second word is a slot or selector, that.
func (a *App) completesTarget(c *cobra.Command, second bool) *cobra.Command {
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionWait)
		defer cancel()
		switch {
		case len(args) == 0:
			var n wire.Names
			if a.call(ctx, http.MethodGet, "/names", nil, &n) == nil { // without a server there is nothing to offer
				return n.Names, cobra.ShellCompDirectiveNoFileComp
			}
		case len(args) == 1 && second:
			var o wire.Object
			if a.call(ctx, http.MethodGet, "/objects/"+url.PathEscape(args[0]), nil, &o) == nil {
				return slotNames(&o), cobra.ShellCompDirectiveNoFileComp
			}
		case len(args) == 1 && !second:
			return nil, cobra.ShellCompDirectiveDefault // a file
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// slotNames are the names of all slots, methods after data.
func slotNames(o *wire.Object) (names []string) {
	for _, s := range o.Slots {
		names = append(names, s.Name)
	}
	for _, m := range o.Methods {
		names = append(names, m.Selector)
	}
	return names
}
