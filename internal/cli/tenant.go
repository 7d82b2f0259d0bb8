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
	"github.com/waybill-dev/waybill/internal/checkpoint"
)

func (a *app) tenant() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Make, suspend, resume and delete tenants"}
	var release, from string
	var hosts []string
	create := &cobra.Command{
		Use:   "create ENVIRONMENT/TENANT",
		Short: "Make a tenant, from a template of the estate or as the estate declares it",
		Long: `With --from TEMPLATE, a TenantTemplate of the estate: the tenant is written into the estate, its database
is copied from what the template has prepared, flows are run on it, and it serves, with the release that
the environment's other tenants run. What cannot be finished is taken back, the estate's document too.

Without, the tenant must stand in the estate: its database is made with the modules named there by the Odoo of
--release, or as a copy of --from ENVIRONMENT/TENANT/CHECKPOINT. It is not served yet: promote a release to it.`,
		Example: `  waybill tenant create production/shop12 --from retail-store
  waybill tenant create production/shop12 --from retail-store --host shop12.example.com
  waybill tenant create production/east --release r7`,
		Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			environment, tenant, err := tenantRef(args[0])
			if err != nil {
				return err
			}
			in := map[string]any{"environment": environment, "tenant": tenant, "release": release}
			switch template := from != "" && !strings.Contains(from, "/"); {
			case template:
				in["template"], in["hosts"] = from, hosts
			case release == "":
				return usagef("tenant create needs --from TEMPLATE, or --release: whose Odoo shall make the database")
			case len(hosts) > 0:
				return usagef("--host goes with --from TEMPLATE; the hosts of a tenant that the estate declares stand there")
			default:
				in["from"] = from
			}
			return a.askAndWatch(cmd, "POST", "/api/v1/tenants", in, false, false)
		},
	}
	create.Flags().StringVar(&release, "release", "", "release that makes the database; with a template, by default the one that the environment runs")
	create.Flags().StringVar(&from, "from", "", "a TenantTemplate of the estate; or a checkpoint to copy: ENVIRONMENT/TENANT/CHECKPOINT")
	create.Flags().StringSliceVar(&hosts, "host", nil, "host names instead of the template's")
	cmd.AddCommand(create, a.tenantSuspend(), a.tenantMove(), a.tenantRename(), a.tenantTop(), a.tenantVerb("resume", "Open a suspended tenant again", `Open a suspended tenant again: its pool is started where it is not there, flows are run on it, and then
people are let through. A tenant that cannot work stays suspended.`), a.tenantDelete(),
		a.tenantVerb("undelete", "Take a tenant back that was deleted", `Take a tenant back that was deleted, within its time of grace: a pool of the release that served it is started,
flows are run on it, and then people are let through. One that cannot work goes on leaving.`))
	return cmd
}

func (a *app) checkpoint() *cobra.Command {
	cmd := &cobra.Command{Use: "checkpoint", Short: "Take, list and prune checkpoints"}
	var last, days int
	prune := &cobra.Command{Use: "prune ENVIRONMENT/TENANT", Short: "Delete old checkpoints, and files that only they named", Args: exactly("ENVIRONMENT/TENANT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			environment, tenant, err := tenantRef(args[0])
			if err != nil {
				return err
			}
			if last < 1 {
				return usagef("checkpoint prune needs --last: how many of the newest to keep")
			}
			var gone []string
			path := "/api/v1/checkpoints/" + url.PathEscape(environment) + "/" + url.PathEscape(tenant) + "/prune"
			if err := a.call(cmd.Context(), "POST", path, map[string]int{"last": last, "days": days}, &gone); err != nil {
				return err
			}
			return a.print(gone, func(w io.Writer) {
				for _, id := range gone {
					fmt.Fprintln(w, "deleted", id)
				}
				fmt.Fprintf(w, "%d deleted\n", len(gone))
			})
		}}
	prune.Flags().IntVar(&last, "last", 0, "keep so many of the newest")
	prune.Flags().IntVar(&days, "days", 0, "and all that are not older than this")
	cmd.AddCommand(prune,
		&cobra.Command{Use: "create ENVIRONMENT/TENANT", Short: "Take a checkpoint now, and read it back", Args: exactly("ENVIRONMENT/TENANT"),
			RunE: func(cmd *cobra.Command, args []string) error {
				environment, tenant, err := tenantRef(args[0])
				if err != nil {
					return err
				}
				return a.askAndWatch(cmd, "POST", "/api/v1/checkpoints", map[string]any{"environment": environment, "tenant": tenant}, false, false)
			}},
		&cobra.Command{Use: "list ENVIRONMENT/TENANT", Short: "List checkpoints, newest first", Args: exactly("ENVIRONMENT/TENANT"),
			RunE: func(cmd *cobra.Command, args []string) error {
				environment, tenant, err := tenantRef(args[0])
				if err != nil {
					return err
				}
				found, err := whole[checkpoint.Info](cmd.Context(), a, "/api/v1/checkpoints/"+url.PathEscape(environment)+"/"+url.PathEscape(tenant))
				if err != nil {
					return err
				}
				return a.print(found, func(w io.Writer) {
					if len(found) == 0 {
						fmt.Fprintf(w, "No checkpoint of %s yet. Take one: waybill checkpoint create %s\n", args[0], args[0])
						return
					}
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "CHECKPOINT\tRECOVERY POINT\tSIZE\tFILES\tTOOK\tVERIFIED")
					for _, c := range found {
						verified := "no"
						if !c.Verified.IsZero() {
							verified = c.Verified.Local().Format(time.DateTime)
						}
						fmt.Fprintf(t, "%s\t%s\t%.1f MiB\t%d\t%.1f s\t%s\n", c.ID, c.RecoveryPoint.Local().Format(time.DateTime), float64(c.Bytes)/(1<<20), c.FileCount, c.Seconds, verified)
					}
					_ = t.Flush()
				})
			}},
	)
	return cmd
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Show what runs where", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s api.Status
			if err := a.call(cmd.Context(), "GET", "/api/v1/status", nil, &s); err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { showStatus(w, s) })
		}}
}

// maxShownVulnerable is how many vulnerabilities of an environment a status lists.
const maxShownVulnerable = 5

func showStatus(w io.Writer, s api.Status) {
	commit := s.EstateCommit
	if commit == "" {
		commit = "not in Git"
	}
	fmt.Fprintf(w, "estate %s (%s)\n", s.Estate, commit)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ENVIRONMENT\tTENANT\tSERVES\tSCHEMA\tROUTE\tHOSTS\tPROMOTION")
	for _, e := range s.Environments {
		for _, x := range e.Tenants {
			route := x.Mode
			if x.CanaryPercent > 0 {
				route += fmt.Sprintf(", canary %d %%", x.CanaryPercent)
			}
			if x.LeavingUntil != nil {
				route = "leaving until " + x.LeavingUntil.Local().Format(time.DateTime)
			}
			promotion := x.Promotion
			if promotion != "" {
				promotion += " (" + x.PromotionState + ")"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, x.Name, dash(x.Serving), dash(x.Schema), route, strings.Join(x.Hosts, ", "), dash(promotion))
		}
	}
	_ = t.Flush()
	for _, e := range s.Environments {
		for _, p := range e.Problems {
			fmt.Fprintln(w, bad.Render(e.Name+": "+p))
		}
		for _, x := range e.Tenants {
			for _, b := range x.Beside {
				fmt.Fprintln(w, besideLine(b))
			}
		}
		for i, v := range e.Vulnerable {
			if i == maxShownVulnerable {
				fmt.Fprintf(w, "and %d more: waybill release scan --running\n", len(e.Vulnerable)-i)
				break
			}
			fmt.Fprintln(w, bad.Render(e.Name+" runs something vulnerable: "+v))
		}
	}
	for _, p := range s.Problems {
		fmt.Fprintln(w, bad.Render(p))
	}
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Look at what Waybill stands on, and say what to mend", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var findings []api.Finding
			if err := a.call(cmd.Context(), "GET", "/api/v1/doctor", nil, &findings); err != nil {
				return err
			}
			sick := false
			for _, f := range findings {
				sick = sick || !f.OK
			}
			if err := a.print(findings, func(w io.Writer) {
				for _, f := range findings {
					if f.OK {
						fmt.Fprintf(w, "%s %-20s %s\n", good.Render("✓"), f.Name, f.Detail)
						if f.Fix != "" { // well, and could be better
							fmt.Fprintf(w, "  better: %s\n", f.Fix)
						}
					} else {
						fmt.Fprintf(w, "%s %-20s %s\n  do: %s\n", bad.Render("✗"), f.Name, f.Detail, f.Fix)
					}
				}
			}); err != nil {
				return err
			}
			if sick {
				return exit(exitFailed)
			}
			return nil
		}}
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Show the version", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"version": version, "commit": commit}, func(w io.Writer) { fmt.Fprintln(w, "waybill", version) })
		}}
}
