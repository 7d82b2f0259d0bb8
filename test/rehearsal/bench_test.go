//go:build odoo && docker

package rehearsal

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

// BenchmarkTrace tells what the trace costs: the same update with and without, in turns, so that a machine that is
// busy for a while is busy for both; the quickest of each counts.
func BenchmarkTrace(b *testing.B) {
	changes, err := corpus()
	require.NoError(b, err)
	s := open(b, changes)
	const name, rounds = "computed", 3
	release(b, s, name)
	for b.Loop() {
		quickest := map[bool]float64{true: math.Inf(1), false: math.Inf(1)}
		for range rounds {
			for _, untraced := range []bool{false, true} {
				args := []string{"rehearse", name, "--env", "production"}
				if untraced {
					args = append(args, "--untraced")
				}
				var r api.Rehearsal
				require.NoError(b, s.Ask(b.Context(), &r, args...))
				require.NotNil(b, r.Report)
				require.Equal(b, untraced, r.Report.Timeline == nil)
				quickest[untraced] = min(quickest[untraced], r.Report.Update.Seconds)
				b.Logf("untraced %t: update %.2f s", untraced, r.Report.Update.Seconds)
			}
		}
		ratio := quickest[false] / quickest[true]
		b.ReportMetric(ratio, "traced/untraced")
		require.Less(b, ratio, 1.15, "the trace costs too much")
	}
}
