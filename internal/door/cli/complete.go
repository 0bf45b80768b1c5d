package cli

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// Words of a command's usage that stand for files; a shell completes them
// itself.
var fileWords = []string{"FILE", "PATH", "FOLDER", "BACKUP"}

// completes lets a shell finish what a command takes by the word for it in its
// usage, unless the command says how itself; of what is neither known here nor
// a file it offers nothing.
func (a *App) completes(c *cobra.Command) {
	for _, flag := range []string{"self", "parent", "on"} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, a.offered((*App).allNames, true)) // registered once, and it is there
		}
	}
	if c.ValidArgsFunction != nil || c.Parent() != nil && c.Parent().Name() == "completion" {
		return
	}
	_, takes, _ := strings.Cut(c.Use, " ")
	for _, w := range fileWords {
		if strings.Contains(takes, w) {
			return
		}
	}
	word := strings.Trim(strings.Fields(takes + " –")[0], "[]…")
	more := strings.Contains(takes, "…")
	var offer func(*App, context.Context) ([]string, error)
	switch {
	case word == "MISSION":
		offer = (*App).missionOIDs
	case word == "TID" || word == "FROM":
		offer, more = (*App).recentTIDs, word == "FROM"
	case word == "DOCUMENT":
		offer = (*App).documentIDs
	case word == "NAME":
		offer = namesOf[c.Parent().Name()]
	}
	c.ValidArgsFunction = a.offered(offer, !more)
}

// namesOf are the names of what a group of commands is about.
var namesOf = map[string]func(*App, context.Context) ([]string, error){
	"adapter": (*App).adapterNames, "model": (*App).modelNames, "token": (*App).tokenNames,
}

// offered makes a completion of a list; only of the first argument if one.
func (a *App) offered(list func(*App, context.Context) ([]string, error), one bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if list == nil || one && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionWait)
		defer cancel()
		words, err := list(a, ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp // without a server there is nothing to offer
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func (a *App) allNames(ctx context.Context) ([]string, error) {
	var n wire.Names
	err := a.call(ctx, http.MethodGet, "/names", nil, &n)
	return n.Names, err
}

// missionOIDs are the missions, the newest first, with what each is about.
func (a *App) missionOIDs(ctx context.Context) (out []string, err error) {
	var m wire.Missions
	err = a.call(ctx, http.MethodGet, "/missions", nil, &m)
	for _, x := range slices.Backward(m.Missions) {
		out = append(out, x.OID+"\t"+x.State+": "+x.Name+" "+x.Selector)
	}
	return out, err
}

func (a *App) recentTIDs(ctx context.Context) (out []string, err error) {
	var l wire.Log
	err = a.call(ctx, http.MethodGet, "/log", nil, &l)
	for _, e := range l.Entries {
		out = append(out, e.TID+"\t"+strings.TrimSpace(e.Time.Local().Format(time.DateTime)+" "+e.Note))
	}
	return out, err
}

func (a *App) adapterNames(ctx context.Context) (out []string, err error) {
	var l wire.Adapters
	err = a.call(ctx, http.MethodGet, "/adapters", nil, &l)
	for _, x := range l.Adapters {
		out = append(out, x.Name)
	}
	return out, err
}

func (a *App) modelNames(ctx context.Context) (out []string, err error) {
	var l wire.Models
	err = a.call(ctx, http.MethodGet, "/models", nil, &l)
	for _, x := range l.Models {
		out = append(out, x.Name)
	}
	return out, err
}

func (a *App) documentIDs(ctx context.Context) (out []string, err error) {
	all, err := a.documents(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range all.Items {
		out = append(out, text(get(d, "id")))
	}
	return out, nil
}

func (a *App) tokenNames(ctx context.Context) (out []string, err error) {
	var l wire.Tokens
	err = a.call(ctx, http.MethodGet, "/tokens", nil, &l)
	for _, x := range l.Tokens {
		out = append(out, x.Name)
	}
	return out, err
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
