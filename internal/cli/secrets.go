package cli

import (
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
)

func (a *app) secrets() *cobra.Command {
	cmd := &cobra.Command{Use: "secrets", Short: "Change database logins and bridge keys"}
	var environment string
	var tenants []string
	var detach bool
	path := func() (string, error) {
		if environment == "" {
			return "", usagef("waybill secrets needs --env: of which environment")
		}
		return "/api/v1/secrets/" + url.PathEscape(environment), nil
	}
	rotate := &cobra.Command{
		Use:   "rotate database|bridge",
		Short: "Put new ones in force, without a failed request",
		Long: `Put other secrets in force in an environment, and take the ones before out. No request fails.

database: the logins of its pools at PostgreSQL. A promotion starts pools of the same release
with other logins, moves the traffic there, and removes the old pools and their logins.
Exit code 0: done; 1: undone, the old login stays; 3: it waits for a person.

bridge: the key that Waybill's calls to the pools are signed with. Pools go on as they are.`,
		Args: exactly("database|bridge"),
		RunE: func(cmd *cobra.Command, args []string) error {
			base, err := path()
			if err != nil {
				return err
			}
			switch {
			case args[0] == "database":
				return a.askAndWatch(cmd, "POST", base+"/database", map[string]any{"tenants": tenants}, detach, false)
			case args[0] != "bridge":
				return usagef("waybill secrets rotate %s: expected database or bridge", args[0])
			case len(tenants) > 0:
				return usagef("waybill secrets rotate bridge: an environment's tenants share its key; leave --tenant out")
			}
			var list []api.Secret
			if err := a.call(cmd.Context(), "POST", base+"/bridge", nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				fmt.Fprintf(w, "The bridges of %s have a new key; the one before opens nothing any more.\n", environment)
			})
		},
	}
	rotate.Flags().StringSliceVar(&tenants, "tenant", nil, "only these: a dedicated one, or all that share their pools (database only)")
	rotate.Flags().BoolVar(&detach, "detach", false, "do not wait for the end (database only)")
	list := &cobra.Command{Use: "list", Short: "List the secrets by name, and when they were changed", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := path()
			if err != nil {
				return err
			}
			var list []api.Secret
			if err := a.call(cmd.Context(), "GET", base, nil, &list); err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "SECRET\tCHANGED\tTIMES\t")
				for _, s := range list {
					changed, note := "never", ""
					if s.ChangedAt != nil {
						changed = s.ChangedAt.Local().Format(time.DateTime)
					}
					if s.Overlap {
						note = "the one before opens too"
					}
					fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", s.Name, changed, s.Version, note)
				}
				_ = table.Flush()
			})
		}}
	cmd.PersistentFlags().StringVar(&environment, "env", "", "environment")
	cmd.AddCommand(rotate, list)
	return cmd
}
