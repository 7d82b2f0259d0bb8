package cli

import (
	"net/url"

	"github.com/spf13/cobra"
)

func (a *app) tenantSuspend() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "suspend ENVIRONMENT/TENANT",
		Short: "Close a tenant to its people, and keep its data",
		Long: `Close a tenant to its people: they read a page, machines get 503, no cron runs, and nobody but Waybill may
connect to its database, which is kept. Releases into the whole environment leave it out until it is resumed.`,
		Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ofTenant(cmd, args[0], "suspend", map[string]any{"message": message})
		},
	}
	cmd.Flags().StringVar(&message, "message", "", "what people read instead of the usual")
	return cmd
}

func (a *app) tenantMove() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "move ENVIRONMENT/TENANT --to shared|dedicated",
		Short: "Move a tenant between shared pools and its own",
		Long: `Move a tenant from the pools that all shared tenants have together to pools of its own (role, network, folder), or back. Its
release stays. Files and sessions are copied while people work; then their requests wait until database and files
have changed hands and the flows have passed on the new pool. Nobody has to log in again.`,
		Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ofTenant(cmd, args[0], "move", map[string]any{"to": to})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "shared, or dedicated")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func (a *app) tenantRename() *cobra.Command {
	var hosts []string
	cmd := &cobra.Command{
		Use:   "rename ENVIRONMENT/TENANT --host NAME",
		Short: "Let a tenant's people reach it under other host names",
		Long: `Let a tenant's people reach it under other host names, from one moment to the next; links in its mails lead to the first of them.
Name the old ones too, after it, where both shall lead there for a while. The tenant's name in the estate stays: ledger,
checkpoints and evidence know it by that.`,
		Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ofTenant(cmd, args[0], "rename", map[string]any{"hosts": hosts})
		},
	}
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "host name; may be given several times")
	_ = cmd.MarkFlagRequired("host")
	return cmd
}

func (a *app) tenantDelete() *cobra.Command {
	var message, grace string
	cmd := &cobra.Command{
		Use:   "delete ENVIRONMENT/TENANT",
		Short: "Close a tenant for good: its data goes after a time of grace",
		Long: `Close a tenant for good: it is suspended, a last checkpoint is taken and read back, and its pool goes where
nobody else uses it. Database, files and document stay until the time of grace is over; until then
waybill tenant undelete takes it back. Then the last checkpoint is read back once more, and only then do
document, database and files go. Its checkpoints stay.`,
		Example: `  waybill tenant delete production/shop12 --grace 90d --message "This shop has moved."
  waybill tenant undelete production/shop12`,
		Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			hours, err := hoursOf("--grace", grace)
			if err != nil {
				return err
			}
			return a.ofTenant(cmd, args[0], "delete", map[string]any{"grace_hours": hours, "message": message})
		},
	}
	cmd.Flags().StringVar(&grace, "grace", "30d", "how long its data is kept: 12h, 30d")
	cmd.Flags().StringVar(&message, "message", "", "what people read instead of the usual")
	return cmd
}

// tenantVerb is a verb that needs nothing but a tenant.
func (a *app) tenantVerb(verb, short, long string) *cobra.Command {
	return &cobra.Command{Use: verb + " ENVIRONMENT/TENANT", Short: short, Long: long, Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.ofTenant(cmd, args[0], verb, nil) }}
}

func (a *app) ofTenant(cmd *cobra.Command, ref, verb string, in any) error {
	environment, tenant, err := tenantRef(ref)
	if err != nil {
		return err
	}
	return a.askAndWatch(cmd, "POST", "/api/v1/tenants/"+url.PathEscape(environment)+"/"+url.PathEscape(tenant)+"/"+verb, in, false, false)
}
