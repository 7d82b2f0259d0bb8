package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/estate"
)

func (a *app) user() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Aliases: []string{"users"}, Short: "The users that the estate declares (kind: Access)"}
	cmd.AddCommand(
		a.userPassword(),
		&cobra.Command{Use: "list", Short: "List users with their roles", Args: exactly(),
			RunE: func(cmd *cobra.Command, _ []string) error {
				users, err := whole[api.User](cmd.Context(), a, "/api/v1/users")
				if err != nil {
					return err
				}
				return a.print(users, func(w io.Writer) { userTable(w, users) })
			}},
		&cobra.Command{Use: "show NAME", Short: "Show a user and the tokens made for it", Args: exactly("NAME"),
			RunE: func(cmd *cobra.Command, args []string) error {
				var shown struct {
					api.User
					Tokens []api.Token `json:"tokens"`
				}
				if err := a.call(cmd.Context(), "GET", "/api/v1/users/"+url.PathEscape(args[0]), nil, &shown.User); err != nil {
					return err
				}
				var err error
				if shown.Tokens, err = whole[api.Token](cmd.Context(), a, "/api/v1/tokens?user="+url.QueryEscape(args[0])); err != nil {
					return err
				}
				return a.print(shown, func(w io.Writer) {
					showUser(w, shown.User)
					if len(shown.Tokens) > 0 {
						fmt.Fprintln(w)
						tokenTable(w, shown.Tokens)
					}
				})
			}},
	)
	return cmd
}

func (a *app) whoami() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Who you are to the server, and what you may", Args: exactly(),
		Long: `Who you are to the server, and what you may: by the token that is shown, which is the data folder's own
unless --token-file or WAYBILL_TOKEN gives another.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var u api.User
			if err := a.call(cmd.Context(), "GET", "/api/v1/whoami", nil, &u); err != nil {
				return err
			}
			return a.print(u, func(w io.Writer) { showUser(w, u) })
		},
	}
}

func userTable(w io.Writer, users []api.User) {
	if len(users) == 0 {
		fmt.Fprintln(w, "The estate declares no users (kind: Access): the owner of the data folder is alone.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tROLES\tGROUPS\tEMAILS")
	for _, u := range users {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", u.Name, grants(u.Grants), strings.Join(u.Groups, ", "), strings.Join(u.Emails, ", "))
	}
	_ = t.Flush()
}

func showUser(w io.Writer, u api.User) {
	fmt.Fprintf(w, "%s\nroles   %s\n", u.Name, grants(u.Grants))
	if len(u.Groups) > 0 {
		fmt.Fprintf(w, "groups  %s\n", strings.Join(u.Groups, ", "))
	}
	if len(u.Emails) > 0 {
		fmt.Fprintf(w, "emails  %s\n", strings.Join(u.Emails, ", "))
	}
	if u.Token != "" {
		fmt.Fprintf(w, "token   %s", u.Token)
		if u.Expires != nil {
			fmt.Fprintf(w, ", until %s", u.Expires.Local().Format(time.DateTime))
		}
		fmt.Fprintln(w)
	}
}

func grants(list []estate.Grant) string {
	if len(list) == 0 {
		return "none"
	}
	words := make([]string, len(list))
	for i, g := range list {
		where := "everywhere"
		if len(g.Environments) > 0 {
			where = "in " + strings.Join(g.Environments, ", ")
		}
		words[i] = string(g.Role) + " " + where
	}
	return strings.Join(words, "; ")
}
