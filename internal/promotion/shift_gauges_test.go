package promotion

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/signal"
)

// shared is a server that both pools use.
type shared struct{ gauges []signal.Gauge }

func (s *shared) Name() string { return "shared" }
func (s *shared) Read(context.Context) (signal.Reading, error) {
	return signal.Reading{Gauges: s.gauges}, nil
}

// What both pools share holds the weight, takes the release back, or is only told, by how far it has risen since the
// shift began; and a server that takes over knows where it began.
func TestGauges(t *testing.T) {
	for name, c := range map[string]struct {
		rules         []estate.SignalRule
		gauge         string
		first, later  float64
		fails, holds  bool
		notes, nobody bool
	}{
		"as it was":                   {gauge: "redis.evicted", first: 70, later: 70},
		"keys are evicted":            {gauge: "redis.evicted", first: 70, later: 71, holds: true},
		"a replica lags":              {gauge: "postgres.replication_lag", first: 10, later: 71, holds: true},
		"it lagged before":            {gauge: "postgres.replication_lag", first: 600, later: 650},
		"mails wait":                  {gauge: "mail.waiting", first: 0, later: 101, notes: true},
		"no call's rule is its own":   {gauge: "mail.failed", first: 0, later: 5},
		"the estate takes it back":    {gauge: "queue.failed", first: 3, later: 5, fails: true, rules: []estate.SignalRule{{Signal: "queue.failed", Role: estate.Trigger, Tolerance: new(1.0), Importance: 1}}},
		"the estate does not mind":    {gauge: "redis.evicted", first: 0, later: 5, rules: []estate.SignalRule{{Signal: "redis.evicted", Role: estate.Off}}, nobody: true},
		"the server was started anew": {gauge: "redis.evicted", first: 70, later: 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBusiness(t, estate.Rollout{Alpha: .01, Signals: c.rules}, "order_confirm")
			server := &shared{[]signal.Gauge{{Name: c.gauge, Value: c.first, Unit: "things"}}}
			b.sources = signal.NewCollector(nil, signal.FromBridge("acme", teller{b, judge.Stable}, teller{b, judge.Canary}), server)
			f, _ := b.run(3, nil)
			require.Empty(t, f.fails)
			require.Empty(t, f.holds)
			server.gauges[0].Value = c.later
			b.restartServer()
			f, _ = b.run(3, nil)
			require.Equal(t, c.fails, len(f.fails) > 0, "%v", f.fails)
			require.Equal(t, c.holds, len(f.holds) > 0, "%v", f.holds)
			require.Equal(t, c.notes, len(f.notes) > 0, "%v", f.notes)
			if c.nobody {
				require.Empty(t, b.watch.gauges())
			} else {
				require.Equal(t, c.later, b.watch.gauges()[0].Last)
			}
			b.at = b.at.Add(2 * signalsStale)
			f = b.watch.findings(b.at)
			require.False(t, len(f.fails) > 0, "what is not told any more says nothing")
		})
	}
}
