package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/signal"
)

// business plays both pools' business, second by second, on a clock of its own.
type business struct {
	t       *testing.T
	at      time.Time
	dice    *rand.Rand
	told    [2]bridge.Signals
	errs    [2]error
	watch   *watch
	sources *signal.Collector
	rollout estate.Rollout
	calls   int // of each name, pool and second
	// happens may change how long a call takes, and gives the counter of its failures where it is not done.
	happens func(pool judge.Pool, c *bridge.Call, took *float64) *int64
}

func newBusiness(t *testing.T, rollout estate.Rollout, names ...string) *business {
	t.Helper()
	b := &business{t: t, at: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC), dice: rand.New(rand.NewPCG(7, 8)), rollout: rollout, calls: 2}
	for p := range b.told {
		b.told[p].Source = int64(p + 1)
		for _, name := range names {
			b.told[p].Calls = append(b.told[p].Calls, bridge.Call{Name: name, Counts: bridge.Counts{Buckets: make([]int64, len(bridge.SignalBounds)+1)}})
		}
	}
	b.sources = signal.NewCollector(func() time.Time { return b.at }, signal.FromBridge("acme", teller{b, judge.Stable}, teller{b, judge.Canary}))
	b.take(&keptWatch{})
	return b
}

// teller is the bridge of one pool.
type teller struct {
	*business
	pool judge.Pool
}

func (t teller) Signals(context.Context, string) (bridge.Signals, error) {
	return t.told[t.pool], t.errs[t.pool]
}

// take starts a server that goes on with what another has kept.
func (b *business) take(kept *keptWatch) {
	b.t.Helper()
	var err error
	b.watch, err = newWatch(b.rollout, 1, kept)
	require.NoError(b.t, err)
	b.watch.heard = [2]time.Time{b.at, b.at}
}

// restartServer keeps and takes up again.
func (b *business) restartServer() {
	b.t.Helper()
	require.NoError(b.t, b.watch.keep())
	raw, err := json.Marshal(b.watch.kept)
	require.NoError(b.t, err)
	var kept keptWatch
	require.NoError(b.t, json.Unmarshal(raw, &kept))
	b.take(&kept)
}

func (b *business) call(p judge.Pool, c *bridge.Call, took float64) {
	c.Total++
	if b.happens != nil {
		if undone := b.happens(p, c, &took); undone != nil {
			*undone++
			return
		}
	}
	i := 0
	for i < len(bridge.SignalBounds) && took > bridge.SignalBounds[i] {
		i++
	}
	c.Seconds += took
	c.Buckets = append([]int64{}, c.Buckets...)
	c.Buckets[i]++
}

// run lets so many seconds pass, until the findings are as asked for, and gives them.
func (b *business) run(seconds int, until func(findings) bool) (findings, int) {
	b.t.Helper()
	var f findings
	for i := range seconds {
		b.at = b.at.Add(time.Second)
		for p := range b.told {
			calls := append([]bridge.Call{}, b.told[p].Calls...)
			for n := range calls {
				for range b.calls {
					b.call(judge.Pool(p), &calls[n], .2*(1+.2*b.dice.NormFloat64()))
				}
			}
			b.told[p].Calls = calls
		}
		require.NoError(b.t, b.watch.look(b.at, b.sources.Collect(b.t.Context(), .5), b.errs))
		if f = b.watch.findings(b.at); until != nil && until(f) {
			return f, i
		}
	}
	return f, seconds
}

func fails(f findings) bool { return len(f.fails) > 0 }
func holds(f findings) bool { return len(f.holds) > 0 }

func TestSignalsOfAGoodRelease(t *testing.T) {
	b := newBusiness(t, estate.Rollout{}, "order_confirm", "picking_validate", "pos_sync")
	f, _ := b.run(600, func(f findings) bool { return fails(f) || holds(f) || len(f.open) > 0 })
	require.Empty(t, f.fails)
	require.Empty(t, f.holds)
	require.Empty(t, f.open)
	require.NoError(t, b.watch.keep())
	raw, err := json.Marshal(b.watch.kept)
	require.NoError(t, err)
	t.Log(len(raw), "bytes are kept")
	require.Less(t, len(raw), 100_000)
	for name, c := range b.watch.kept.Charts {
		require.LessOrEqual(t, len(c.Sums), maxSlices, name)
	}
}

func TestSignalsFindABusinessCallThatFails(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		b := newBusiness(t, estate.Rollout{}, "order_confirm", "picking_validate")
		b.happens = func(p judge.Pool, c *bridge.Call, _ *float64) *int64 {
			if p == judge.Canary && c.Name == "picking_validate" && b.dice.Float64() < .1 {
				return &c.Failed
			}
			return nil
		}
		var f findings
		var at int
		if restarts {
			for ; at < 600 && !fails(f); at++ {
				f, _ = b.run(1, nil)
				b.restartServer()
			}
		} else {
			f, at = b.run(600, fails)
		}
		require.Len(t, f.fails, 1)
		require.Contains(t, f.fails[0], "picking_validate.failed: ")
		require.Less(t, at, 200)
		require.Less(t, f.level, estate.DefaultAlpha)
		t.Log(at, f.fails[0])
	}
}

// A new release that only fails is not passed because the old one is silent; and what leans to a failure is waited for.
func TestSignalsThatAreNotEnough(t *testing.T) {
	b := newBusiness(t, estate.Rollout{}, "carrier_label")
	old := 2
	b.happens = func(p judge.Pool, c *bridge.Call, _ *float64) *int64 {
		switch {
		case p == judge.Canary && b.dice.Float64() < .5:
			return &c.Failed
		case p == judge.Stable && old == 0:
			c.Total-- // nobody works there
		case p == judge.Stable:
			old--
		}
		return nil
	}
	f, _ := b.run(10, nil)
	require.Empty(t, f.fails)
	require.Len(t, f.open, 1)
	require.Regexp(t, `carrier_label.failed: \d+ of \d+ on the new release, and too few on the old one to compare them with`, f.open[0])

	b = newBusiness(t, estate.Rollout{}, "carrier_label")
	b.happens = func(p judge.Pool, c *bridge.Call, _ *float64) *int64 {
		if p == judge.Canary && b.dice.Float64() < .2 {
			return &c.Failed
		}
		return nil
	}
	f, at := b.run(600, holds)
	require.Len(t, f.holds, 1)
	require.Contains(t, f.holds[0], "by what is known so far")
	_, later := b.run(600, fails)
	require.Positive(t, at+later)
	require.Less(t, later, 600, "it fails soon after")
}

func TestSignalsFindACallThatTakesLonger(t *testing.T) {
	trigger := estate.Rollout{Signals: []estate.SignalRule{{Signal: "*.seconds", Role: estate.Trigger, Importance: 1}}}
	b := newBusiness(t, trigger, "order_confirm")
	b.happens = func(p judge.Pool, _ *bridge.Call, took *float64) *int64 {
		if p == judge.Canary {
			*took *= 1.4
		}
		return nil
	}
	f, at := b.run(600, fails)
	require.NotEmpty(t, f.fails)
	require.Contains(t, f.fails[0], "order_confirm.seconds: ")
	t.Log(at, f.fails[0])

	b2 := newBusiness(t, estate.Rollout{}, "order_confirm")
	b2.happens = b.happens
	f, _ = b2.run(at+100, nil)
	require.Empty(t, f.fails)
	require.NotEmpty(t, f.notes, "recorded, and no more")
}

func TestSignalsWarningHoldsUntilItClears(t *testing.T) {
	b := newBusiness(t, estate.Rollout{}, "order_confirm")
	refuse := true
	b.happens = func(p judge.Pool, c *bridge.Call, _ *float64) *int64 {
		if refuse && p == judge.Canary && b.dice.Float64() < .4 {
			return &c.Refused
		}
		return nil
	}
	f, _ := b.run(300, holds)
	require.Len(t, f.holds, 1)
	require.Contains(t, f.holds[0], "order_confirm.refused: ")
	require.Empty(t, f.fails, "a warning never takes a release back")
	refuse = false
	_, at := b.run(3000, func(f findings) bool { return !holds(f) })
	require.Less(t, at, 3000, "it ends")
}

// Each kind of bad input has one defined answer.
func TestSignalsBadInput(t *testing.T) {
	names := []string{"order_confirm"}
	required := estate.Rollout{Signals: []estate.SignalRule{{Signal: "order_confirm.failed", Required: true, Importance: 1}}}

	t.Run("a pool stops telling", func(t *testing.T) {
		b := newBusiness(t, estate.Rollout{}, names...)
		b.run(5, nil)
		b.errs[judge.Canary] = errors.New("connection refused")
		f, _ := b.run(int(signalsStale/time.Second)+2, nil)
		require.Len(t, f.open, 1)
		require.Contains(t, f.open[0], "the business signals of the new release have stopped for 17s: connection refused")
		b.errs[judge.Canary] = nil
		f, _ = b.run(1, nil)
		require.Empty(t, f.open, "it goes on when they come again")
	})
	t.Run("a counter jumps back", func(t *testing.T) {
		b := newBusiness(t, estate.Rollout{}, names...)
		b.run(100, nil)
		for p := range b.told { // both pools were started anew, with another count of failures
			b.told[p].Source += 10
			c := b.told[p].Calls[0]
			c.Total, c.Failed, c.Seconds, c.Buckets = 50, int64(50*p), 0, make([]int64, len(c.Buckets))
			b.told[p].Calls = []bridge.Call{c}
		}
		f, _ := b.run(100, nil)
		require.Empty(t, f.fails, "what was in between is no evidence")
		require.Contains(t, evidence(f, "order_confirm.failed").Problem, "counters began anew")
	})
	t.Run("numbers that are none", func(t *testing.T) {
		b := newBusiness(t, estate.Rollout{}, names...)
		b.run(5, nil)
		b.happens = func(p judge.Pool, c *bridge.Call, _ *float64) *int64 {
			if p == judge.Canary {
				c.Failed = -1
			}
			return nil
		}
		f, _ := b.run(130, nil)
		require.Empty(t, f.fails)
		require.Contains(t, strings.Join(f.open, " "), "order_confirm.failed has stopped", "after two minutes without a sound number no step passes")
		require.Contains(t, strings.Join(f.open, " "), "a count below 0")
	})
	t.Run("a tenant without traffic", func(t *testing.T) {
		b := newBusiness(t, required, names...)
		b.calls = 0
		f, _ := b.run(60, nil)
		require.Empty(t, f.fails)
		require.Len(t, f.open, 1, "what is required is never passed by silence")
		require.Contains(t, f.open[0], "order_confirm.failed: 0 of 0 requests")
		b = newBusiness(t, estate.Rollout{}, names...)
		b.calls = 0
		f, _ = b.run(60, nil)
		require.Empty(t, f.open, "what is not required may be silent: the requests are asked for besides")
	})
	t.Run("images of before there were signals", func(t *testing.T) {
		b := newBusiness(t, required, names...)
		b.errs[judge.Stable] = bridge.ErrRefused
		f, _ := b.run(3, nil)
		require.Equal(t, "the old release tells no business signals", b.watch.kept.Absent)
		require.Len(t, f.open, 1)
		require.Equal(t, "order_confirm.failed is required, and the old release tells no business signals", f.open[0])
	})
	t.Run("a call that nobody knows is required", func(t *testing.T) {
		b := newBusiness(t, estate.Rollout{Signals: []estate.SignalRule{{Signal: "order_konfirm.failed", Required: true, Importance: 1}}}, names...)
		f, _ := b.run(3, nil)
		require.Equal(t, []string{"order_konfirm.failed is required, and the pools know it not both; both know " + strings.Join(b.watch.kept.Signals, ", ")}, f.open)
	})
	t.Run("more calls than can be judged", func(t *testing.T) {
		var many []string
		for i := range 40 {
			many = append(many, "call_"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		}
		b := newBusiness(t, estate.Rollout{}, many...)
		b.told[judge.Stable].Calls[39].Total = 1000
		b.told[judge.Stable].Calls[39].Buckets[0] = 1000
		b.run(3, nil)
		require.LessOrEqual(t, len(b.watch.kept.Signals), 64)
		require.Contains(t, b.watch.kept.Signals, many[39]+".failed", "those that are used most are judged")
	})
}

func evidence(f findings, signal string) judge.Evidence {
	for _, e := range f.all {
		if e.Signal == signal {
			return e
		}
	}
	return judge.Evidence{}
}

func TestCronVerdicts(t *testing.T) {
	tolerance := 30.0
	rollout := estate.Rollout{Signals: []estate.SignalRule{{Signal: "cron.late", Tolerance: &tolerance, Importance: 1}}}
	base := cronBase{Failing: []int64{1}}
	for _, c := range []struct {
		name string
		now  bridge.CronState
		had  time.Duration
		says string
	}{
		{"all is well", bridge.CronState{Active: 3, Jobs: []bridge.CronJob{{ID: 2, Name: "stock"}}}, time.Hour, ""},
		{"failed once", bridge.CronState{Jobs: []bridge.CronJob{{ID: 2, Name: "stock", Failures: 1}}}, time.Hour, ""},
		{"fails each time", bridge.CronState{Jobs: []bridge.CronJob{{ID: 2, Name: "stock", Failures: 2}}}, time.Hour, "cron.failing: stock has failed 2 times in a row"},
		{"failed before", bridge.CronState{Jobs: []bridge.CronJob{{ID: 1, Name: "mail", Failures: 9}}}, time.Hour, ""},
		{"stands still", bridge.CronState{Late: 90, LateJob: "stock"}, time.Hour, "cron.late: stock has been due for 90 s of the new release, 30 s are tolerated"},
		{"was late before", bridge.CronState{Late: 9000, LateJob: "stock"}, 20 * time.Second, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.says, strings.Join(judgeCron(rollout, base, c.now, c.had), "; "))
		})
	}
}

// After the shift, what the old release did during it is what is usual.
func TestAfterAgainstBefore(t *testing.T) {
	rollout := estate.Rollout{Bake: time.Hour}
	usual := map[string]judge.Counts{"order_confirm.failed": {Requests: 1000, Failed: 2}, "pos_sync.failed": {Requests: 3}}
	play := func(share float64, weeks ...signal.Hour) (string, int) {
		a := newAfter(rollout, weeks, usual)
		require.Len(t, a.Of, 1, "three calls say nothing of what is usual")
		dice := rand.New(rand.NewPCG(4, uint64(1000*share)))
		at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
		c := bridge.Call{Name: "order_confirm"}
		for minute := range 60 {
			at = at.Add(time.Minute)
			for range 30 {
				c.Total++
				if dice.Float64() < share {
					c.Failed++
				}
			}
			raw, err := json.Marshal(a) // another server
			require.NoError(t, err)
			a = &after{}
			require.NoError(t, json.Unmarshal(raw, a))
			if fails := a.look(at, bridge.Signals{Source: 1, Calls: []bridge.Call{c}}); len(fails) > 0 {
				return fails[0], minute
			}
		}
		return "", 60
	}
	says, _ := play(.002)
	require.Empty(t, says)
	says, minute := play(.1)
	require.Contains(t, says, "order_confirm.failed: ")
	require.Less(t, minute, 10)
	t.Log(minute, says)
	require.Contains(t, says, "on the old one in the shift")
	says, _ = play(.1, signal.Hour{Signal: "order_confirm.failed", Total: 500, Bad: 50, Start: time.Unix(0, 0)})
	require.Empty(t, says, "it is usual at this hour")
	says, _ = play(.4, signal.Hour{Signal: "order_confirm.failed", Total: 500, Bad: 50, Start: time.Unix(0, 0)})
	require.Contains(t, says, "50 of 500 in the same hours of the last weeks")
	require.Nil(t, newAfter(rollout, nil, nil))
	require.Empty(t, (*after)(nil).look(time.Time{}, bridge.Signals{}))
}

// Durations of pools that have not the same number of workers are not judged; all else is.
func TestPoolsThatAreNotAlike(t *testing.T) {
	some := .2
	asked := estate.Rollout{Signals: []estate.SignalRule{{Signal: "*.seconds", Role: estate.Trigger, Tolerance: &some}, {Signal: "order_confirm.seconds", Required: true}, {Signal: "*.failed", Role: estate.Trigger}}}
	require.Equal(t, asked, alike(asked, 2, 2))
	not := alike(asked, 1, 2)
	require.False(t, comparesDurations(not))
	require.Equal(t, estate.Record, rule(not, "order_confirm.seconds").role)
	require.False(t, rule(not, "order_confirm.seconds").required)
	require.Equal(t, estate.Trigger, rule(not, "order_confirm.failed").role)
	require.True(t, comparesDurations(asked), "what was asked stays as it was")
}
