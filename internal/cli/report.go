package cli

import (
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/report"
)

const formatCSV = "csv"

func (a *app) report() *cobra.Command {
	var from, to, environment, tenant, by, bucket, zone string
	cmd := &cobra.Command{
		Use: "report", Short: "Print the figures of releasing: success, failures, lead time, time to recover", Args: exactly(),
		Long: `Print the figures of releasing, of promotions and rehearsals that ended in a period: how many succeeded, how
many had to go back, how long it took, and how soon a bad one was noticed and taken back. What each means is in
docs/reports.md; a figure of fewer than five observations says so. With -o csv, one figure a line, for a spreadsheet.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if zone == "" {
				zone = localZone()
			}
			query := url.Values{"from": {from}, "to": {to}, "environment": {environment}, "tenant": {tenant}, "by": {by}, "bucket": {bucket}, "zone": {zone}}
			var found report.Report
			if err := a.call(cmd.Context(), "GET", "/api/v1/reports/releases?"+query.Encode(), nil, &found); err != nil {
				return err
			}
			if a.format == formatCSV {
				return found.CSV(a.out)
			}
			return a.print(&found, func(w io.Writer) { showReport(w, &found) })
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first day, like 2026-11-01, or moment; default: 90 days before the end")
	cmd.Flags().StringVar(&to, "to", "", "last day, or moment; default: now")
	cmd.Flags().StringVar(&environment, "env", "", "only this environment")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant's part of what was done")
	cmd.Flags().StringVar(&by, "by", "environment", "divide it by environment, tenant or ring")
	cmd.Flags().StringVar(&bucket, "bucket", "week", "points of the trend: week or month")
	cmd.Flags().StringVar(&zone, "zone", "", "time zone of days and weeks, like Europe/Berlin; default: this machine's")
	return cmd
}

// localZone is the machine's time zone where it has a name that others know.
func localZone() string {
	if name := time.Local.String(); name != "Local" {
		return name
	}
	return "UTC"
}

func showReport(w io.Writer, r *report.Report) {
	fmt.Fprintf(w, "%s to %s (%s)\n\n", r.From.Format(time.DateOnly), r.To.Add(-time.Nanosecond).Format(time.DateOnly), r.Zone)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\t9 OF 10\tN\t")
	for _, d := range r.Definitions {
		f, _ := report.Find(r.Total, d.Key)
		value, tail := report.Shown(f.Value, d.Unit), ""
		switch {
		case f.P90 != nil:
			tail = report.Shown(f.P90, d.Unit)
		case f.Low != nil:
			tail = fmt.Sprintf("%s to %s", report.Shown(f.Low, d.Unit), report.Shown(f.High, d.Unit))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", d.Name, value, tail, f.N, faint.Render(f.Note))
	}
	_ = t.Flush()
	if len(r.Groups) > 1 || len(r.Groups) == 1 && r.By != report.Environment {
		fmt.Fprintf(w, "\n%s\n", heading.Render("by "+string(r.By)))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "WHERE\tSUCCEEDED\tFAILED PEOPLE\tLEAD TIME\tRECOVERED IN\tA WEEK")
		for _, g := range r.Groups {
			cell := func(key string, u report.Unit) string {
				f, _ := report.Find(g.Figures, key)
				return fmt.Sprintf("%s (%d)", report.Shown(f.Value, u), f.N)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", g.Name, cell(report.SuccessRate, report.Share), cell(report.FailureRate, report.Share),
				cell(report.LeadTime, report.Seconds), cell(report.Recover, report.Seconds), cell(report.Frequency, report.PerWeek))
		}
		_ = t.Flush()
	}
	fmt.Fprintln(w, "\nDurations are medians; a share's \"9 of 10\" is its 95 % interval. What each figure means: docs/reports.md")
}
