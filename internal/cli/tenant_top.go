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

func (a *app) tenantTop() *cobra.Command {
	return &cobra.Command{
		Use:   "top ENVIRONMENT",
		Short: "Show which tenants take most of their pool and of the database server",
		Long: `Show what each tenant took in the last minute: of its pool's time and of the database server. One is noisy where its pool
was nearly spent (70 %) for five minutes, and it took more than half of what the pool's tenants took together.`,
		Args: exactly("ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var found api.Neighbours
			if err := a.call(cmd.Context(), "GET", "/api/v1/neighbours/"+url.PathEscape(args[0]), nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { showNeighbours(w, found) })
		},
	}
}

func showNeighbours(w io.Writer, found api.Neighbours) {
	if found.At.IsZero() {
		fmt.Fprintf(w, "Nothing is known of %s yet: the server looks every minute, and needs two looks at a tenant that is served.\n", found.Environment)
		return
	}
	fmt.Fprintf(w, "The minute up to %s:\n\n", found.At.Local().Format(time.DateTime))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENANT\tPOOL\tREQUESTS AT ONCE\tOF THE POOL\tOF WHAT ALL TAKE\tDATABASE\t")
	for _, s := range found.Shares {
		word := ""
		if s.Noisy {
			word = bad.Render("noisy")
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.0f %%\t%.0f %%\t%.2f sessions\t%s\n", s.Tenant, s.Pool, s.Busy, 100*s.OfPool, 100*s.OfUsed, s.Queries, word)
	}
	_ = t.Flush()
}
