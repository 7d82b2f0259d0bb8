//go:build odoo

package kill

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// row is what became of one case.
type row struct {
	release, points, outcome  string
	goOn                      time.Duration // longest from the start of a server to the next step; 0: no server was killed
	whole                     time.Duration // from the request to the end
	held                      float64       // seconds
	requests, failed          int
	acknowledged, lost, kills int
}

var rows []row

func printTable(out io.Writer) {
	if len(rows) == 0 {
		return
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nRELEASE\tTAKEN AWAY\tKILLS\tOUTCOME\tGOES ON AFTER\tTO THE END\tHELD\tREQUESTS\tFAILED\tORDERS\tLOST")
	for _, r := range rows {
		goOn := "–"
		if r.goOn > 0 {
			goOn = fmt.Sprintf("%.1f s", r.goOn.Seconds())
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%.0f s\t%.1f s\t%d\t%d\t%d\t%d\n", r.release, r.points, r.kills, r.outcome, goOn,
			r.whole.Seconds(), r.held, r.requests, r.failed, r.acknowledged, r.lost)
	}
	_ = t.Flush()
}
