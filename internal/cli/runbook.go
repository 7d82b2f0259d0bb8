package cli

import (
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/runbook"
)

func (a *app) runbook() *cobra.Command {
	cmd := &cobra.Command{Use: "runbook", Short: "Print what to do when something breaks, with the names and numbers that are so now",
		Long: `Print a runbook in Markdown, made from the estate, the store and the checkpoints as they are now: what it is,
who to call, the recovery points at hand, how long a restore was measured to take, and for each situation the
commands with their names filled in. Where a person must decide, it says what is lost as of now. Keep a copy
off the machine: when that is lost, so is this verb.`}
	print := func(cmd *cobra.Command, path string) error {
		var book runbook.Book
		if err := a.call(cmd.Context(), "GET", "/api/v1/runbooks/"+path, nil, &book); err != nil {
			return err
		}
		return a.print(book, func(w io.Writer) { _, _ = io.WriteString(w, book.Markdown()) })
	}
	cmd.AddCommand(
		&cobra.Command{Use: "tenant ENVIRONMENT/TENANT", Short: "Of one tenant", Args: exactly("ENVIRONMENT/TENANT"),
			RunE: func(cmd *cobra.Command, args []string) error {
				environment, tenant, err := tenantRef(args[0])
				if err != nil {
					return err
				}
				return print(cmd, url.PathEscape(environment)+"/"+url.PathEscape(tenant))
			}},
		&cobra.Command{Use: "environment ENVIRONMENT", Short: "Of all tenants of an environment, for what is lost together", Args: exactly("ENVIRONMENT"),
			RunE: func(cmd *cobra.Command, args []string) error { return print(cmd, url.PathEscape(args[0])) }},
	)
	return cmd
}
