package signal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/router"
)

var began = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// script is a source that says one reading after the other.
type script struct {
	name     string
	readings []Reading
	errs     []error
	hangs    bool
	n        int
}

func (s *script) Name() string { return s.name }

func (s *script) Read(ctx context.Context) (Reading, error) {
	if s.hangs {
		<-ctx.Done()
		return Reading{}, ctx.Err()
	}
	i := s.n
	s.n++
	if i < len(s.errs) && s.errs[i] != nil {
		return Reading{}, s.errs[i]
	}
	return s.readings[i], nil
}

func requests(pool judge.Pool, source, total, bad int64) judge.Observation {
	return judge.Observation{Signal: RequestsFailed, Pool: pool, Source: source, Total: total, Bad: bad}
}

func TestCollectorRefusesWhatCannotBe(t *testing.T) {
	latency := make([]int64, len(router.LatencyBounds)+1)
	latency[3] = -1
	bad := map[string]judge.Observation{
		"a count below 0 (-1)":              requests(judge.Canary, 1, -1, 0),
		"more bad ones (5) than there are":  requests(judge.Canary, 1, 4, 5),
		"no signal \"lag\"":                 {Signal: "lag", Total: 1},
		"no signal \"log.failed\"":          {Signal: "log.failed", Total: 1},
		"NaN is not a number":               {Signal: PostgresWaiting, Value: math.NaN()},
		"+Inf is not a number":              {Signal: PostgresTransaction, Value: math.Inf(1)},
		"-2 is below 0":                     {Signal: PostgresTransaction, Value: -2},
		"a histogram of 3 buckets where":    {Signal: RequestsSeconds, Buckets: make([]int64, 3)},
		"a count below 0 (-1): not used":    {Signal: RequestsSeconds, Buckets: latency},
		"a histogram of 0 buckets where":    {Signal: "order_confirm.seconds"},
		"more bad ones (1) than there are ": {Signal: "order_confirm.refused", Bad: 1},
	}
	for says, o := range bad {
		c := NewCollector(nil, &script{name: "test", readings: []Reading{{
			Observations: []judge.Observation{o, requests(judge.Stable, 1, 10, 1)},
			Gauges:       []Gauge{{Name: "cron.late", Value: math.NaN()}, {Name: "cron.failing", Value: 2}},
			Problems:     []string{"something else"},
		}}})
		r := c.Collect(t.Context(), .1)
		require.Len(t, r.Observations, 1, says)
		require.Equal(t, judge.Stable, r.Observations[0].Pool)
		require.Equal(t, .1, r.Observations[0].Weight)
		problems := strings.Join(r.Problems, "\n")
		assert.Contains(t, problems, says)
		assert.Contains(t, problems, "test: something else")
		assert.Contains(t, problems, "cron.late: NaN is not a number")
		assert.Equal(t, []Gauge{{Name: "cron.failing", Value: 2}}, r.Gauges)
	}
}

// TestCollectorRestart: one counter that goes back takes all of its origin with it, and no other origin.
func TestCollectorRestart(t *testing.T) {
	both := func(n, m int64) Reading {
		return Reading{Observations: []judge.Observation{
			requests(judge.Canary, 7, n, 0), {Signal: "reserve.failed", Pool: judge.Canary, Source: 7, Total: m},
			requests(judge.Stable, 3, 1000+n, 0),
		}}
	}
	c := NewCollector(nil, &script{name: "test", readings: []Reading{both(5, 5), both(9, 5), both(2, 6), both(3, 7), both(4, 1)}})
	var canary, other, stable []int64
	for range 5 {
		r := c.Collect(t.Context(), .5)
		require.Len(t, r.Observations, 3)
		canary, other, stable = append(canary, r.Observations[0].Source), append(other, r.Observations[1].Source), append(stable, r.Observations[2].Source)
	}
	assert.Equal(t, []int64{7, 7, 8, 8, 9}, canary)
	assert.Equal(t, canary, other, "they began anew together")
	assert.Equal(t, int64(3), stable[1])

	// The judge counts nothing across it.
	j, err := judge.New(judge.Config{Alpha: .01, Signals: []judge.Signal{must(Lookup(RequestsFailed))}})
	require.NoError(t, err)
	c = NewCollector(func() time.Time { return began }, &script{name: "test", readings: []Reading{both(5, 5), both(9, 5), both(2, 6), both(3, 7)}})
	for range 4 {
		for _, o := range c.Collect(t.Context(), .5).Observations {
			if o.Signal == RequestsFailed {
				require.NoError(t, j.Observe(o))
			}
		}
	}
	evidence := j.Verdict(began).Signals[0]
	assert.Equal(t, int64(4+1), evidence.Canary.Requests)
	assert.Contains(t, evidence.Problem, "began anew")
}

// TestCollectorStops: a source that stops makes its signals stale, and no source holds up another for long.
func TestCollectorStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := &script{name: "good"}
		for i := range int64(400) {
			good.readings = append(good.readings, Reading{Observations: []judge.Observation{requests(judge.Stable, 1, 100*i, 0), requests(judge.Canary, 1, 100*i, 0)}})
		}
		stops := &script{name: "stops", readings: make([]Reading, 400)}
		for i := range 3 {
			stops.readings[i].Observations = []judge.Observation{
				{Signal: "reserve.failed", Pool: judge.Stable, Total: int64(i) * 1000}, {Signal: "reserve.failed", Pool: judge.Canary, Total: int64(i) * 1000},
			}
		}
		stops.errs = make([]error, len(stops.readings))
		for i := 3; i < len(stops.errs); i++ {
			stops.errs[i] = errors.New("connection refused")
		}
		c := NewCollector(nil, good, stops, &script{name: "hangs", hangs: true})
		j, err := judge.New(judge.Config{Alpha: .01, Signals: []judge.Signal{must(Lookup(RequestsFailed)), must(Lookup("reserve.failed"))}})
		require.NoError(t, err)
		var r Reading
		start := time.Now()
		for range 100 {
			r = c.Collect(t.Context(), .5)
			for _, o := range r.Observations {
				require.NoError(t, j.Observe(o))
			}
		}
		assert.Equal(t, 100*patience, time.Since(start), "each look waited for the one that hangs, and no longer")
		assert.Contains(t, r.Problems, "stops: connection refused")
		assert.Contains(t, r.Problems, "hangs: context deadline exceeded")
		verdict := j.Verdict(time.Now())
		assert.Equal(t, judge.Inconclusive, verdict.Outcome, verdict.String())
		assert.Equal(t, judge.Pass, verdict.Signals[0].Outcome)
		assert.Contains(t, verdict.Signals[1].Problem, "nothing was heard of the new release for")
	})
}

// TestClocks: what pools say of the time is used for nothing.
func TestClocks(t *testing.T) {
	far := func(since float64) asker {
		return asker{bridge.Signals{Source: 1, Since: since, Calls: []bridge.Call{call("reserve", 5, 1, 0)}}, nil}
	}
	c := NewCollector(func() time.Time { return began }, FromBridge("db", far(1), far(9e9)))
	for _, o := range c.Collect(t.Context(), .5).Observations {
		assert.Equal(t, began, o.At)
	}
}

type asker struct {
	answer bridge.Signals
	err    error
}

func (a asker) Signals(context.Context, string) (bridge.Signals, error) { return a.answer, a.err }

func call(name string, total, failed, refused int64) bridge.Call {
	c := bridge.Call{Name: name, Counts: bridge.Counts{Total: total, Failed: failed, Refused: refused, Buckets: make([]int64, len(bridge.SignalBounds)+1)}}
	c.Buckets[4] = total - failed - refused
	return c
}

func TestBridge(t *testing.T) {
	flown := call("pos_sync", 0, 0, 0)
	flown.Synthetic = bridge.Counts{Total: 3, Failed: 1}
	line := bridge.Message{Level: "error", Logger: "odoo.http", Exception: "ValueError at acme_label/models/carrier.py:12", Count: 4}
	old := bridge.Message{Level: "error", Logger: "odoo.sql_db", Text: "bad query", Where: "odoo/sql_db.py:1", Count: 9}
	stable := bridge.Signals{Source: 3, Calls: []bridge.Call{call("reserve", 100, 1, 2), flown}, Log: bridge.LogCounts{Error: 2, Messages: []bridge.Message{old}}}
	canary := bridge.Signals{Source: 4, Calls: []bridge.Call{call("reserve", 10, 0, 0), call("requests", 1, 0, 0)},
		Cron: &bridge.CronState{Active: 5, Late: 90, LateJob: "Mail: send", Failing: 1, Jobs: []bridge.CronJob{{Name: "a"}, {Name: "b", Failures: 2}}},
		Mail: &bridge.Backlog{Waiting: 7, Oldest: 60, Failed: 1},
		Log:  bridge.LogCounts{Error: 4, Critical: 1, Warning: 8, Slow: 2, Messages: []bridge.Message{line, old, {Level: "warning", Count: 99}}}, Problems: []string{"queue: timeout"}}

	c := NewCollector(func() time.Time { return began }, FromBridge("db", asker{stable, nil}, asker{canary, nil}))
	r := c.Collect(t.Context(), .1)
	by := map[string]judge.Observation{}
	for _, o := range r.Observations {
		by[fmt.Sprint(int(o.Pool), " ", o.Signal)] = o
	}
	assert.Equal(t, judge.Observation{Signal: "reserve.failed", Pool: judge.Stable, At: began, Source: 3, Total: 100, Bad: 1, Weight: .1}, by["0 reserve.failed"])
	assert.Equal(t, int64(2), by["0 reserve.refused"].Bad)
	assert.Equal(t, int64(97), by["0 reserve.seconds"].Buckets[4])
	assert.Equal(t, int64(10), by["1 reserve.failed"].Total)
	assert.Equal(t, int64(5), by["1 log.errors"].Total)
	assert.Equal(t, int64(2), by["1 log.slow"].Total)
	assert.Zero(t, by["0 pos_sync.failed"].Total, "flows are no traffic")
	assert.Equal(t, map[string]bridge.Counts{"pos_sync": {Total: 3, Failed: 1}}, Synthetic(stable))
	assert.Equal(t, []string{"bridge: the new release: a call may not be named \"requests\": not used", "bridge: the new release: queue: timeout"}, r.Problems)
	assert.Equal(t, []Gauge{{"cron.late", 90, "seconds", "Mail: send"}, {"cron.failing", 1, "jobs", "b"},
		{"mail.waiting", 7, "messages", ""}, {"mail.oldest", 60, "seconds", ""}, {"mail.failed", 1, "messages", ""}}, r.Gauges)
	assert.Equal(t, []bridge.Message{line}, r.News())

	c = NewCollector(nil, FromBridge("db", asker{stable, nil}, asker{err: bridge.ErrUnreachable}))
	r = c.Collect(t.Context(), .1)
	assert.NotEmpty(t, r.Observations, "one pool that is silent does not silence the other")
	assert.Equal(t, []string{"bridge: the new release: bridge unreachable"}, r.Problems)
	c = NewCollector(nil, FromBridge("db", nil, asker{err: bridge.ErrUnreachable}))
	assert.Len(t, c.Collect(t.Context(), .1).Problems, 1)
}

type statistics router.Stats

func (s statistics) Stats(context.Context) (router.Stats, error) { return router.Stats(s), nil }

func TestRouter(t *testing.T) {
	buckets := make([]int64, len(router.LatencyBounds)+1)
	buckets[2] = 9
	control := statistics{Started: began, Tenants: []router.TenantStats{{Name: "other", Pools: []router.PoolStats{{Pool: "old", Requests: 1}}},
		{Name: "acme", Pools: []router.PoolStats{{Pool: "old", Requests: 9, Failed: 2, Latency: buckets}}}}}
	r := NewCollector(nil, FromRouter(control, "acme", "old", "new")).Collect(t.Context(), .5)
	require.Empty(t, r.Problems)
	require.Len(t, r.Observations, 4, "a pool without requests has counts of 0: it is silent, not absent")
	assert.Equal(t, []int64{0, 9, 2}, []int64{r.Observations[0].Total, r.Observations[2].Total, r.Observations[2].Bad})
	assert.Equal(t, buckets, r.Observations[3].Buckets)
}

// TestCatalogIsJudged: what Lookup gives is something that a judge accepts.
func TestCatalogIsJudged(t *testing.T) {
	var all []judge.Signal
	for _, name := range Names() {
		all = append(all, must(Lookup(name)))
	}
	for _, name := range append([]string{"lane_plan"}, Calls...) {
		for _, ending := range []string{CallFailed, CallRefused, CallSeconds} {
			all = append(all, must(Lookup(name+ending)))
		}
	}
	_, err := judge.New(judge.Config{Alpha: .01, Signals: all})
	require.NoError(t, err)
	for _, name := range []string{"", "x", ".failed", "X.failed", "order_confirm.bad", "requests.refused", "a.b.failed"} {
		_, err := Lookup(name)
		require.Error(t, err, name)
	}
}

func must(s judge.Signal, err error) judge.Signal {
	if err != nil {
		panic(err)
	}
	return s
}
