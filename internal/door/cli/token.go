package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"batos/internal/wire"
)

// token gives tokens away and takes them back.
func (a *App) token() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Give a program a token of its own, with less rights than yours",
		Long: "The token in the image folder may do everything. A program gets one of its own, with scopes:\n" +
			"  read        look at objects, messages, missions and history\n" +
			"  send        send messages\n" +
			"  synthesize  have missing methods written\n" +
			"  admin       everything\n" +
			"What is sent with a token that is not admin runs with the authority of generated code: it cannot write what is protected.",
	}
	var scopes []string
	var quota int
	give := &cobra.Command{
		Use: "new NAME", Short: "Make a token and print it, once", Args: cobra.ExactArgs(1),
		Example: "  batos token new editor --scope read,send,synthesize --per-minute 600",
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.GivenToken
			if err := a.call(cmd.Context(), http.MethodPost, "/tokens", wire.NewToken{Name: args[0], Scopes: scopes, PerMinute: quota}, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			a.line("%s", out.Secret)
			return nil
		},
	}
	give.Flags().StringSliceVar(&scopes, "scope", []string{"read", "send"}, "what it may do")
	give.Flags().IntVar(&quota, "per-minute", 0, "most requests a minute; 0 is no bound")
	list := &cobra.Command{
		Use: "list", Short: "List the tokens that were given away", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Tokens
			if err := a.call(cmd.Context(), http.MethodGet, "/tokens", nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			for _, t := range out.Tokens {
				quota := ""
				if t.PerMinute > 0 {
					quota = fmt.Sprintf(", %d requests a minute", t.PerMinute)
				}
				a.line("%-20s %s%s, since %s", t.Name, strings.Join(t.Scopes, ","), quota, t.Created.Format("2006-01-02"))
			}
			return nil
		},
	}
	back := &cobra.Command{
		Use: "revoke NAME", Short: "Make a token worthless", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.call(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
		},
	}
	c.AddCommand(give, list, back)
	return c
}
