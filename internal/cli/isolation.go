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
	"github.com/waybill-dev/waybill/internal/isolation"
)

func (a *app) isolation() *cobra.Command {
	cmd := &cobra.Command{Use: "isolation", Short: "Try whether tenants are apart, and see what was found"}
	path := func(environment string) string { return "/api/v1/isolation/" + url.PathEscape(environment) }
	check := &cobra.Command{
		Use:   "check ENVIRONMENT",
		Short: "Try now to reach other tenants from inside each pool",
		Long: `Try now, from inside each pool of an environment, to reach what belongs to others: their
databases, files, sessions, hosts, networks, and Waybill itself. Whatever is reached is an incident.
The server does so by itself as often as the estate says (isolation.every).
Exit code 0: all was refused; 1: something was reached; 3: something could not be tried, which proves nothing.`,
		Args: exactly("ENVIRONMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var asked api.IsolationAsked
			if err := a.call(cmd.Context(), "POST", path(args[0])+"/check", nil, &asked); err != nil {
				return err
			}
			if a.format == "text" {
				fmt.Fprintf(a.out, "Run %d tries it from inside each pool of %s.\n", asked.Run, args[0])
			}
			var run api.IsolationRun
			for run.Finished == nil {
				if err := a.call(cmd.Context(), "GET", path(args[0])+"/"+strconv.FormatInt(asked.Run, 10), nil, &run); err != nil {
					return err
				}
				if run.Finished == nil {
					if err := pause(cmd.Context(), 500*time.Millisecond); err != nil {
						return err
					}
				}
			}
			if err := a.print(run, func(w io.Writer) { showIsolation(w, run) }); err != nil {
				return err
			}
			return isolationExit(run)
		},
	}
	show := &cobra.Command{
		Use:   "show ENVIRONMENT [RUN]",
		Short: "Show what the newest run found, or another one",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				if _, err := strconv.ParseUint(args[1], 10, 63); err != nil {
					return usagef("isolation show: %q is no run; they are listed by: waybill isolation show %s", args[1], args[0])
				}
				var run api.IsolationRun
				if err := a.call(cmd.Context(), "GET", path(args[0])+"/"+args[1], nil, &run); err != nil {
					return err
				}
				return a.print(run, func(w io.Writer) { showIsolation(w, run) })
			}
			var found api.Isolation
			if err := a.call(cmd.Context(), "GET", path(args[0]), nil, &found); err != nil {
				return err
			}
			return a.print(found, func(w io.Writer) { showIsolations(w, found) })
		},
	}
	cmd.AddCommand(check, show)
	return cmd
}

func isolationExit(run api.IsolationRun) error {
	switch isolation.Verdict(run.Verdict) {
	case isolation.Pass:
		return nil
	case isolation.Fail:
		return exit(exitFailed)
	}
	return exit(exitWaiting)
}

func showIsolations(w io.Writer, found api.Isolation) {
	if found.Newest == nil {
		fmt.Fprintf(w, "Nothing was tried in %s yet. Try it: waybill isolation check %s\n", found.Environment, found.Environment)
		return
	}
	showIsolation(w, *found.Newest)
	if found.Broken && found.Newest.Verdict != string(isolation.Fail) {
		fmt.Fprintln(w, bad.Render("An earlier run reached something, and none has passed since."))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RUN\tBEGAN\tASKED BY\tVERDICT\t")
	for _, r := range found.Runs {
		by, verdict := r.AskedBy, r.Verdict
		if by == "" {
			by = "due"
		}
		if r.Finished == nil {
			verdict = "has not ended"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", r.ID, r.Started.Local().Format(time.DateTime), by, verdict, r.Says)
	}
	_ = t.Flush()
}

// showIsolation tells what one run found: what it tried, then what went wrong.
func showIsolation(w io.Writer, run api.IsolationRun) {
	if run.Report == nil {
		fmt.Fprintf(w, "Run %d has not ended.\n", run.ID)
		return
	}
	verdict := run.Verdict
	switch isolation.Verdict(run.Verdict) {
	case isolation.Pass:
		verdict = good.Render(verdict)
	default:
		verdict = bad.Render(verdict)
	}
	fmt.Fprintf(w, "%s  %s\n", verdict, run.Says)
	if len(run.Report.Pools) > 0 {
		fmt.Fprintf(w, "from %s\n", strings.Join(run.Report.Pools, ", "))
	}
	if len(run.Report.Doors) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TRIED\tREFUSED\tREACHED\tUNKNOWN\t")
		for _, d := range run.Report.Doors {
			fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%s\n", d.Tried, d.Refused, d.Reached, d.Unknown, doorSays(d.Door))
		}
		_ = t.Flush()
		fmt.Fprintf(w, "%d attempts at their own things succeeded, as they must.\n", run.Report.Controls)
	}
	if run.Report.Left > 0 {
		fmt.Fprintf(w, "%d more attempts have their turn in the next runs.\n", run.Report.Left)
	}
	for i, f := range run.Report.Findings {
		if i == 0 {
			fmt.Fprintln(w)
		}
		what := "unknown"
		switch {
		case f.Breach():
			what = bad.Render("REACHED")
		case f.Control:
			what = "no proof"
		}
		fmt.Fprintf(w, "%s  %s → %s\n  %s: %s\n", what, f.Pool, f.Target, doorSays(f.Door), f.Detail)
	}
}

func doorSays(name string) string {
	for _, d := range isolation.Doors {
		if d.Name == name {
			return d.Says
		}
	}
	return name
}
