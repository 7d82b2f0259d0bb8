package cli

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/api"
)

func (a *app) restore() *cobra.Command {
	var beside bool
	var name, host, keep, at string
	cmd := &cobra.Command{
		Use:   "restore ENVIRONMENT/TENANT [CHECKPOINT]",
		Short: "Bring a tenant back to a checkpoint, or restore one beside it to look at",
		Long: `Bring a tenant back to a checkpoint: behind a frozen page, into a new database that is
checked and then swapped in by renaming. What is there now is captured first, so that a
restore can be restored from. Instead of a checkpoint, --to-time takes the newest one at or before a time.

With --beside the living tenant is not touched and goes on: the checkpoint gets a database and a filestore of its
own, neutralised by Odoo (no mail, no crons, no carriers, no payments). With --host it is served under that name, by
a pool of the release that it belongs to; without, it can be looked at with SQL. It goes away by itself.`,
		Example: `  waybill restore production/acme 20261121T211813Z-zankulmb75-live
  waybill restore production/acme --to-time "2026-11-21 14:30" --beside --as before-import --host look.acme.example
  waybill restore list production/acme
  waybill restore drop production/acme before-import`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 || (len(args) == 2) == (at != "") {
				return usagef("waybill restore: expected ENVIRONMENT/TENANT, and either CHECKPOINT or --to-time; see: waybill restore --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			environment, tenant, err := tenantRef(args[0])
			if err != nil {
				return err
			}
			in := map[string]any{"environment": environment, "tenant": tenant}
			if len(args) == 2 {
				in["checkpoint"] = args[1]
			}
			if at != "" {
				when, err := pointInTime(at, time.Now())
				if err != nil {
					return err
				}
				in["to_time"] = when
			}
			if !beside && (name != "" || host != "" || cmd.Flags().Changed("keep")) {
				return usagef("--as, --host and --keep go with --beside: without it, the living tenant is replaced")
			}
			if beside {
				hours, err := hoursOf("--keep", keep)
				if err != nil {
					return err
				}
				in["beside"], in["name"], in["host"], in["keep_hours"] = true, name, host, hours
			}
			return a.askAndWatch(cmd, "POST", "/api/v1/restores", in, false, false)
		},
	}
	cmd.Flags().BoolVar(&beside, "beside", false, "into a database of its own; the living tenant is not touched")
	cmd.Flags().StringVar(&name, "as", "", "what to call it (default: after its recovery point)")
	cmd.Flags().StringVar(&host, "host", "", "host name to look at it under (default: none, nothing serves it)")
	cmd.Flags().StringVar(&keep, "keep", "7d", "how long until it goes away by itself: 12h, 7d")
	cmd.Flags().StringVar(&at, "to-time", "", `the newest checkpoint at or before this time: "2026-11-21 14:30" here, or with a zone 2026-11-21T14:30:00Z`)
	cmd.AddCommand(
		&cobra.Command{Use: "list ENVIRONMENT/TENANT", Short: "List what stands beside a tenant", Args: exactly("ENVIRONMENT/TENANT"),
			RunE: func(cmd *cobra.Command, args []string) error {
				environment, tenant, err := tenantRef(args[0])
				if err != nil {
					return err
				}
				found, err := whole[api.Beside](cmd.Context(), a, "/api/v1/restores/"+url.PathEscape(environment)+"/"+url.PathEscape(tenant))
				if err != nil {
					return err
				}
				return a.print(found, func(w io.Writer) { besideTable(w, args[0], found) })
			}},
		&cobra.Command{Use: "drop ENVIRONMENT/TENANT NAME", Short: "Take away what stands beside a tenant", Args: exactly("ENVIRONMENT/TENANT", "NAME"),
			RunE: func(cmd *cobra.Command, args []string) error {
				environment, tenant, err := tenantRef(args[0])
				if err != nil {
					return err
				}
				return a.askAndWatch(cmd, "DELETE", "/api/v1/restores/"+url.PathEscape(environment)+"/"+url.PathEscape(tenant)+"/"+url.PathEscape(args[1]), nil, false, false)
			}},
	)
	return cmd
}

// pointInTime reads a time: with a zone, or as the clock on the wall here shows it.
func pointInTime(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, nil
		}
	}
	return time.Time{}, usagef(`--to-time %q is no time: expected "2006-01-02 15:04" as the clock here shows it, or with a zone 2006-01-02T15:04:05Z`, text)
}

// hoursOf reads how long something is kept, as a flag says: days as 7d, else as a duration of whole hours.
func hoursOf(flag, text string) (int, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			return n * 24, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Hour || d%time.Hour != 0 {
		return 0, usagef("%s %q: expected days or whole hours, for example 7d or 12h", flag, text)
	}
	return int(d.Hours()), nil
}

func besideTable(w io.Writer, ref string, found []api.Beside) {
	if len(found) == 0 {
		fmt.Fprintf(w, "Nothing stands beside %s. To look at a checkpoint: waybill restore %s CHECKPOINT --beside\n", ref, ref)
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tRECOVERY POINT\tRELEASE\tHOST\tDATABASE\tSTATE\tGOES AWAY")
	for _, b := range found {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.RecoveryPoint.Local().Format(time.DateTime), b.ReleaseName, dash(b.Host), b.Database, b.State, b.ExpiresAt.Local().Format(time.DateTime))
	}
	_ = t.Flush()
}

// besideLine is one of them in a status.
func besideLine(b api.Beside) string {
	where := "in database " + b.Database
	if b.Host != "" {
		where = "under " + b.Host
	}
	line := fmt.Sprintf("%s/%s has %s beside it, of %s, %s, until %s", b.Environment, b.Tenant, b.Name, b.RecoveryPoint.Local().Format(time.DateTime), where, b.ExpiresAt.Local().Format(time.DateTime))
	switch b.State {
	case "being made":
		return line + ": it is being made"
	case "overdue":
		return bad.Render(line + ": it should have gone")
	}
	return line
}
