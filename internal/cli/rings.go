package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/waybill-dev/waybill/internal/api"
)

// showRings draws how far a promotion is, a ring a line.
func showRings(w io.Writer, rings []api.Ring) {
	if len(rings) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RING\tTENANTS\tHAVE IT\tUNDER WAY\tWENT BACK\tWAIT\t")
	for _, r := range rings {
		says := string(r.State)
		if r.Why != "" {
			says = r.Why
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", r.Name, ringBar(r), r.Promoted, r.UnderWay, r.Failed, r.Total-r.Promoted-r.UnderWay-r.Failed, says)
	}
	_ = t.Flush()
}

// barWidth is how many tenants a bar shows one by one; of more, each mark stands for several.
const barWidth = 30

// ringBar is a picture of a ring: ■ has the release, ▸ is under way, × went back, · waits. Whoever is under way or went back is
// seen however many there are.
func ringBar(r api.Ring) string {
	width := min(r.Total, barWidth)
	marks := func(n int) int {
		if n == 0 || r.Total == 0 {
			return 0
		}
		return max(1, n*width/r.Total)
	}
	failed, under := marks(r.Failed), marks(r.UnderWay)
	promoted := min(marks(r.Promoted), max(0, width-failed-under))
	rest := max(0, width-promoted-under-failed)
	return strings.Repeat("■", promoted) + strings.Repeat("×", failed) + strings.Repeat("▸", under) + strings.Repeat("·", rest)
}
