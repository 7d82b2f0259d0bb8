package cli

import (
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/impact"
)

func (a *app) impact() *cobra.Command {
	var tenants []string
	cmd := &cobra.Command{
		Use:   "impact RELEASE ENVIRONMENT",
		Short: "Say what a release would do to each tenant, before the first one",
		Long: `Say what a release would do to each tenant of an environment: which modules change, its class and
where that comes from, how long people wait and how long a restore takes, when it may go and who must agree,
and what stands against it now: open tills, running imports, databases that are not as their release left
them, modules and views that nobody else has. Nothing is changed, and nothing is rehearsed.

Exit code 0: every tenant could be looked at; 1: one could not.`,
		Args: exactly("RELEASE", "ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"release": {args[0]}, "environment": {args[1]}}
			if len(tenants) > 0 {
				query.Set("tenant", strings.Join(tenants, ","))
			}
			var found impact.Assessment
			if err := a.call(cmd.Context(), "GET", "/api/v1/impact?"+query.Encode(), nil, &found); err != nil {
				return err
			}
			if err := a.print(found, func(w io.Writer) { impact.WriteText(w, &found) }); err != nil {
				return err
			}
			if !found.Whole() {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&tenants, "tenant", nil, "only these tenants")
	return cmd
}
