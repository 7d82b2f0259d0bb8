package signal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/judge"
)

func TestTally(t *testing.T) {
	at := func(minutes int, source, total, bad int64) []judge.Observation {
		return []judge.Observation{{Signal: "reserve.failed", Source: source, At: began.Add(time.Duration(minutes) * time.Minute), Total: total, Bad: bad}}
	}
	var tally Tally
	require.Empty(t, tally.Add("acme", at(0, 1, 100, 3)), "what was before is of no known hour")
	require.Empty(t, tally.Add("acme", at(1, 1, 100, 3)), "nothing happened")
	assert.Equal(t, []Hour{{Tenant: "acme", Signal: "reserve.failed", Start: began, Total: 20, Bad: 1}}, tally.Add("acme", at(59, 1, 120, 4)))
	assert.Equal(t, []Hour{{Tenant: "acme", Signal: "reserve.failed", Start: began.Add(time.Hour), Total: 1}}, tally.Add("acme", at(60, 1, 121, 4)))
	require.Empty(t, tally.Add("acme", at(61, 2, 300, 0)), "another source")
	require.Empty(t, tally.Add("acme", at(62, 2, 5, 0)), "it went back")
	assert.Len(t, tally.Add("acme", at(63, 2, 6, 0)), 1)

	buckets := make([]int64, 34)
	seconds := func() []judge.Observation {
		return []judge.Observation{{Signal: "reserve.seconds", At: began, Buckets: append([]int64{}, buckets...)}, {Signal: PostgresWaiting, At: began}, {Signal: "nonsense"}}
	}
	require.Empty(t, tally.Add("acme", seconds()))
	buckets[2], buckets[9] = 3, 4
	hours := tally.Add("acme", seconds())
	require.Len(t, hours, 1)
	assert.Equal(t, int64(7), hours[0].Total)
	shares := SlowerThan(hours, "reserve.seconds", 5)
	require.Len(t, shares, 1)
	assert.Equal(t, int64(4), shares[0].Bad)
	assert.Empty(t, SlowerThan(hours, "reserve.seconds", 33), "there is nothing beyond the last bound's bucket")
	for i := range 2 * maxTallied {
		tally.Add("acme", []judge.Observation{{Signal: string(rune('a'+i%26)) + "_" + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + ".failed"}})
	}
	assert.LessOrEqual(t, len(tally.last), maxTallied)
}

// TestSameHours: by the clock on the wall, also where it was put forward in between.
func TestSameHours(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	monday := time.Date(2026, 4, 6, 9, 40, 0, 0, zone) // the clocks went forward on 29 March
	var hours []Hour
	for h := range 24 * 7 * 6 {
		hours = append(hours, Hour{Signal: "reserve.failed", Start: monday.Truncate(time.Hour).UTC().Add(-time.Duration(h) * time.Hour), Total: 1})
	}
	same := SameHours(hours, monday, 4, zone)
	require.Len(t, same, 12, "three hours in each of four weeks")
	for _, h := range same {
		local := h.Start.In(zone)
		assert.Equal(t, time.Monday, local.Weekday())
		assert.Contains(t, []int{8, 9, 10}, local.Hour())
	}
	assert.Empty(t, SameHours(hours[:24], monday, 4, zone))
}

func TestBefore(t *testing.T) {
	week := func(n int, total, bad int64) Hour {
		return Hour{Signal: "reserve.failed", Start: began.AddDate(0, 0, -7*n), Total: total, Bad: bad}
	}
	_, ok := Before(nil, "reserve.failed", .95)
	require.False(t, ok)
	_, ok = Before([]Hour{week(1, 29, 0)}, "reserve.failed", .95)
	require.False(t, ok, "too little to say what is usual")

	// R: binom.test(0, 100, alternative = "less")$conf.int[2] is 1 - .05^(1/100)
	usual, ok := Before([]Hour{week(1, 60, 0), week(2, 40, 0)}, "reserve.failed", .95)
	require.True(t, ok)
	assert.InDelta(t, 0.02951305, usual.Share, 1e-7)
	// qbeta(.95, 4, 97): the bound for 3 of 100, as in tables of Clopper and Pearson
	usual, _ = Before([]Hour{week(1, 50, 1), week(2, 50, 2)}, "reserve.failed", .95)
	assert.InDelta(t, 0.0757, usual.Share, 1e-4)
	assert.InDelta(t, .03, usual.Seen, 1e-12)
	usual, _ = Before([]Hour{week(1, 1000, 0), week(2, 40, 8)}, "reserve.failed", .95)
	assert.InDelta(t, .2, usual.Share, 1e-12, "a bad week among them is usual too")
	usual, _ = Before([]Hour{week(1, 40, 40)}, "reserve.failed", .95)
	assert.Equal(t, 1.0, usual.Share)

	// As usual: no alarm. Twice as bad: one.
	detector := judge.Detector{Share: .0757, Alpha: .001}
	for range 100 {
		require.False(t, detector.Add(judge.Counts{Requests: 30, Failed: 1}))
	}
	alarm := false
	for range 100 {
		alarm = alarm || detector.Add(judge.Counts{Requests: 30, Failed: 6})
	}
	require.True(t, alarm)
}
