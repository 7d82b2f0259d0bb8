package promotion

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// counting tells signals that grow each time they are asked for; of the new pool's calls so many in ten fail.
func counting(failing int64) func(string) (bridge.Signals, bool) {
	var mu sync.Mutex
	asked := map[string]int64{}
	return func(pool string) (bridge.Signals, bool) {
		mu.Lock()
		defer mu.Unlock()
		asked[pool]++
		n := 50 * asked[pool]
		c := bridge.Counts{Total: n, Buckets: make([]int64, len(bridge.SignalBounds)+1)}
		if pool == "new" {
			c.Failed = n / 10 * failing
		}
		c.Buckets[3], c.Seconds = n-c.Failed, .01*float64(n)
		return bridge.Signals{Source: 1, Calls: []bridge.Call{{Name: "picking_validate", Counts: c}}}, true
	}
}

// verdicts are what was written down of a rollout's stages.
func (s *street) verdicts(rollout string) []Verdict {
	s.t.Helper()
	rows, err := s.store.Verdicts(s.t.Context(), rollout)
	require.NoError(s.t, err)
	var out []Verdict
	for _, row := range rows {
		var v Verdict
		require.NoError(s.t, json.Unmarshal(row.Evidence, &v))
		require.Equal(s.t, row.Outcome, string(v.Outcome))
		out = append(out, v)
	}
	return out
}

// Every answer is 200, and the business fails: the router cannot know, the bridge does.
func TestShiftGoesBackWhenTheBusinessFails(t *testing.T) {
	long.Test(t)
	s := newStreet(t, 50)
	s.tell = counting(5)
	s.work(3)
	long := demanding
	long.Requests = 100_000
	began := time.Now()
	r, _, _ := s.judged(long)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "at 50 % of the traffic: picking_validate.failed: ")
	require.Contains(t, r.Reason, "a good release looks so bad in fewer than")
	t.Log(time.Since(began), r.Reason)
	verdicts := s.verdicts(r.ID)
	require.Len(t, verdicts, 1)
	v := verdicts[0]
	require.Equal(t, judge.Fail, v.Outcome)
	require.Equal(t, "shift 50", v.Stage)
	var failed *SignalVerdict
	for i := range v.Signals {
		if v.Signals[i].Signal == "picking_validate.failed" {
			failed = &v.Signals[i]
		}
	}
	require.NotNil(t, failed)
	require.GreaterOrEqual(t, failed.EValue, failed.Enough)
	require.NotNil(t, failed.Lower)
	require.NotNil(t, failed.Chart)
	require.NotEmpty(t, failed.Chart.Canary)
	require.InDelta(t, .5, *failed.Chart.Canary[len(failed.Chart.Canary)-1], .1)
	require.Zero(t, *failed.Chart.Stable[len(failed.Chart.Stable)-1])
}

func TestShiftWaitsForBusinessEvents(t *testing.T) {
	long.Test(t)
	s := newStreet(t, 50)
	s.tell = counting(0)
	s.work(3)
	asks := demanding
	asks.Events = 60
	r, detail, _ := s.judged(asks)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	v := s.verdicts(r.ID)
	require.Len(t, v, 1)
	require.GreaterOrEqual(t, v[0].Calls, int64(60))
	require.Contains(t, detail, "business calls on the new release: ")

	asks.Events, asks.StepDeadline = 1_000_000, time.Second
	r, _, _ = s.judged(asks)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "1000000 business calls on the new release are asked for")
}

// Where nobody works, flows decide if the estate says so, and a person if it says that.
func TestShiftWithoutTraffic(t *testing.T) {
	long.Test(t)
	quiet := demanding
	quiet.Requests, quiet.Events, quiet.StepDeadline = 1, 1, 20*time.Second
	t.Run("synthetic", func(t *testing.T) {
		quiet := quiet
		quiet.Synthetic = true
		r, detail, _ := newStreet(t, 50).judged(quiet)
		require.Equal(t, store.Promoted, r.Outcome, r.Reason)
		require.Contains(t, detail, "flows passed: 1 (synthetic)")
	})
	t.Run("ask", func(t *testing.T) {
		quiet := quiet
		quiet.AtDeadline, quiet.StepDeadline = estate.Ask, time.Second
		s := newStreet(t, 50)
		s.asking = true
		r, _, memory := s.judged(quiet)
		require.Equal(t, store.Waiting, r.State)
		require.Contains(t, r.Reason, "no verdict within 1s")
		require.Contains(t, r.Reason, "waybill promotion resume")
		require.True(t, memory.Shift.Since.IsZero(), "who says yes is given the whole time again")
	})
}
