//go:build odoo && docker

package rehearsal

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/rehearsal"
)

// bench is a production on which the benchmarks work, one after the other.
type bench struct {
	*stage.Stage
	all      []change
	promoted []change // that production has by now
}

// BenchmarkRehearsal holds what a rehearsal costs and foretells against what it must. One alone: -bench Rehearsal/trace.
// The machine may be busy: what is compared was measured in turns, and what a process waited for a CPU is taken off.
func BenchmarkRehearsal(b *testing.B) {
	changes, err := readChanges()
	require.NoError(b, err)
	on := &bench{Stage: open(b, changes), all: changes}
	for _, one := range []struct {
		name string
		do   func(*testing.B, *bench)
	}{{"trace", benchTrace}, {"blocked", benchBlocked}, {"memory", benchMemory}} { // in this order: each leaves production as the next can take it
		b.Run(one.name, func(b *testing.B) {
			for b.Loop() {
				one.do(b, on)
			}
		})
	}
}

// named are changes of the corpus.
func (on *bench) named(b *testing.B, names ...string) []change {
	var found []change
	for _, name := range names {
		i := slices.IndexFunc(on.all, func(c change) bool { return c.name == name })
		require.GreaterOrEqual(b, i, 0, name)
		found = append(found, on.all[i])
	}
	return found
}

// benchTrace tells what the trace costs: the same update with and without, in turns; the quickest of each counts.
func benchTrace(b *testing.B, on *bench) {
	const name, rounds = "computed", 3
	release(b, on.Stage, name)
	quickest := map[bool]float64{true: math.Inf(1), false: math.Inf(1)}
	for round := range rounds {
		for _, untraced := range []bool{false, true} {
			args := []string{"rehearse", name, "--env", "production"}
			if untraced {
				args = append(args, "--untraced")
			}
			var r api.Rehearsal
			require.NoError(b, on.Ask(b.Context(), &r, args...))
			require.NotNil(b, r.Report)
			require.Equal(b, untraced, r.Report.Timeline == nil)
			seconds := worked(r.Report.Update)
			quickest[untraced] = min(quickest[untraced], seconds)
			b.Logf("trace, round %d of %d, untraced %t: update %.2f s, %.2f s without what it waited for a CPU", round+1, rounds, untraced, r.Report.Update.Seconds, seconds)
		}
	}
	ratio := quickest[false] / quickest[true]
	b.Logf("trace: %.2f s traced, %.2f s untraced: %.3f times", quickest[false], quickest[true], ratio)
	b.ReportMetric(ratio, "traced/untraced")
	if ratio > 1.15 {
		b.Errorf("the trace makes the update take %.3f times as long; at most 1.15 times is allowed", ratio)
	}
}

// worked is how long the update worked, less its share of what the job waited for a CPU.
func worked(u *rehearsal.Update) float64 {
	return u.Seconds * (1 - min(1, u.CPUWaitSeconds/u.JobSeconds))
}
