package report

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func at(hours float64) time.Time { return monday.Add(time.Duration(hours * float64(time.Hour))) }

// good is a release that went into production: committed at 0, asked at 10, let in at 12, served from 13 on.
func good(id string, change ...func(*Rollout)) Rollout {
	r := Rollout{Promotion: id, Kind: KindPromote, Environment: "production", Tenant: "acme", Release: "sha256:" + id, Promoted: true, First: true,
		PromotionEnded: at(14), Ended: at(14), Committed: at(0), AskedAt: at(10), LetInAt: at(12), ApprovedAt: at(11), ServedAt: at(13), Checkpoints: 1}
	for _, c := range change {
		c(&r)
	}
	return r
}

// back is one that was found bad half an hour after it served, and was gone six minutes later.
func back(r *Rollout) {
	r.Promoted, r.First = false, false
	r.FailedAt, r.BackAt = r.ServedAt.Add(30*time.Minute), r.ServedAt.Add(36*time.Minute)
}

func of(tenant string) func(*Rollout) { return func(r *Rollout) { r.Tenant = tenant } }

func refused(r *Rollout) {
	r.Promoted, r.Refused, r.First, r.ServedAt, r.Checkpoints = false, true, false, time.Time{}, 0
}

func made(t *testing.T, q Question, d Data) *Report {
	t.Helper()
	if q.From.IsZero() {
		q.From, q.To = monday, monday.AddDate(0, 0, 14)
	}
	if q.By == "" {
		q.By = Environment
	}
	if q.Bucket == "" {
		q.Bucket = Week
	}
	r, err := Make(q, d)
	require.NoError(t, err)
	return r
}

// The values are computed by hand from the rows.
func TestFigures(t *testing.T) {
	committed := func(hours float64) func(*Rollout) { return func(r *Rollout) { r.Committed = at(hours) } }
	held := func(predicted, seconds float64) func(*Rollout) {
		return func(r *Rollout) { r.Predicted, r.Held = predicted, seconds }
	}
	for name, c := range map[string]struct {
		data   Data
		values map[string]float64
		n      map[string]int
		none   []string
	}{
		"nothing": {Data{}, map[string]float64{Frequency: 0, Refused: 0, Drifted: 0}, map[string]int{SuccessRate: 0},
			[]string{SuccessRate, FailureRate, LeadTime, Detect, Recover, ApprovalWait, PeopleWaited, Prediction, CheckpointRate, AnsweredRate, ProvenRate, DriftLasted}},
		"three good, one back": {Data{Rollouts: []Rollout{good("1"), good("2", committed(2)), good("3", committed(8)), good("4", back)}},
			map[string]float64{SuccessRate: 0.75, FailureRate: 0.25, LeadTime: 12 * 3600, Frequency: 1.5, Detect: 1800, Recover: 360, ApprovalWait: 3600, CheckpointRate: 1},
			map[string]int{SuccessRate: 4, FailureRate: 4, LeadTime: 3, Detect: 1, ApprovalWait: 4, CheckpointRate: 4}, []string{Prediction}},
		"a promotion of two tenants is one change, and failed where one went back": {Data{Rollouts: []Rollout{good("1"), good("1", of("other"), back), good("2"), good("2", of("other"))}},
			map[string]float64{SuccessRate: 0.5, FailureRate: 0.5, Frequency: 1, LeadTime: 14 * 3600}, map[string]int{SuccessRate: 2, LeadTime: 1}, nil},
		"stopped before people had it is no failed change": {Data{Rollouts: []Rollout{good("1"), good("2", back, func(r *Rollout) { r.ServedAt = time.Time{} })}},
			map[string]float64{SuccessRate: 0.5, FailureRate: 0}, map[string]int{FailureRate: 1}, []string{Detect, Recover}},
		"refused at the door counts apart": {Data{Rollouts: []Rollout{good("1"), good("2", refused), good("2", of("other"), refused), good("3", refused), good("3", of("other"))}},
			map[string]float64{SuccessRate: 1, Refused: 1}, map[string]int{SuccessRate: 2}, nil},
		"taken back later, by somebody": {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.FailedAt, r.BackAt = at(37), at(38) })}},
			map[string]float64{SuccessRate: 1, FailureRate: 1, Detect: 24 * 3600, Recover: 3600}, nil, nil},
		"approved before it was asked": {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.ApprovedAt = at(9) })}},
			map[string]float64{ApprovalWait: 0}, map[string]int{ApprovalWait: 1}, nil},
		"nobody approved":               {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.ApprovedAt = time.Time{} })}}, nil, nil, []string{ApprovalWait}},
		"a second time is no lead time": {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.First = false })}}, map[string]float64{SuccessRate: 1}, nil, []string{LeadTime}},
		"lead time of the whole is to the last environment": {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.Environment, r.Ended = "test", at(1) }), good("2")}},
			map[string]float64{LeadTime: 14 * 3600}, map[string]int{LeadTime: 1, SuccessRate: 2}, nil},
		"predictions": {Data{Rollouts: []Rollout{good("1", held(10, 20)), good("2", held(10, 5)), good("3", held(10, 11)), good("4", held(0, 7)), good("5", held(10, 0)), good("6", held(1, 100), back)}},
			map[string]float64{Prediction: 1.1, PeopleWaited: 11}, map[string]int{Prediction: 3, PeopleWaited: 5}, nil},
		"checkpoints of any kind": {Data{Rollouts: []Rollout{{Kind: "checkpoint", Environment: "production", Tenant: "acme", Promoted: true, PromotionEnded: at(1), Checkpoints: 1},
			{Kind: "checkpoint", Environment: "production", Tenant: "acme", PromotionEnded: at(1), CheckpointsFailed: 1}}},
			map[string]float64{CheckpointRate: 0.5, Frequency: 0}, map[string]int{SuccessRate: 0}, nil},
		"rehearsals": {Data{Rehearsals: []Rehearsal{{"production", "acme", "proven", at(1)}, {"production", "acme", "proven", at(1)}, {"production", "acme", "fails", at(1)}, {"production", "acme", "unfinished", at(1)}}},
			map[string]float64{AnsweredRate: 0.75, ProvenRate: 2.0 / 3}, map[string]int{AnsweredRate: 4, ProvenRate: 3}, nil},
		"drift, of which one goes on": {Data{Drifts: []Drift{{"production", at(1), at(2)}, {"production", at(3), at(6)}, {"", at(4), time.Time{}}, {"test", at(-1), at(1)}}},
			map[string]float64{Drifted: 3, DriftLasted: 2 * 3600}, map[string]int{DriftLasted: 2}, nil},
		"what ended outside of the period is not in it": {Data{Rollouts: []Rollout{good("1", func(r *Rollout) { r.PromotionEnded = monday.AddDate(0, 0, 14) }), good("2", func(r *Rollout) { r.PromotionEnded = monday.Add(-1) }), good("3", func(r *Rollout) { r.PromotionEnded = monday })}},
			map[string]float64{Frequency: 0.5}, map[string]int{SuccessRate: 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := made(t, Question{Last: "production"}, c.data)
			require.Len(t, r.Total, len(r.Definitions))
			for i, d := range r.Definitions {
				require.Equal(t, d.Key, r.Total[i].Key, "figures come in the order of their definitions")
			}
			for key, want := range c.values {
				f, ok := Find(r.Total, key)
				require.True(t, ok, key)
				require.NotNil(t, f.Value, key)
				require.InDelta(t, want, *f.Value, 1e-9, key)
			}
			for key, want := range c.n {
				f, _ := Find(r.Total, key)
				require.Equal(t, want, f.N, key)
			}
			for _, key := range c.none {
				f, _ := Find(r.Total, key)
				require.Nil(t, f.Value, key)
				require.Equal(t, nothing, f.Note, key)
			}
		})
	}
}

// Wilson's interval of 9 of 10 is 0.5958 to 0.9821, and of 0 of 4 it is 0 to 0.4899 (computed by hand with z = 1.96).
func TestShare(t *testing.T) {
	f := share("x", 9, 10)
	require.InDelta(t, 0.5958, *f.Low, 5e-4)
	require.InDelta(t, 0.9821, *f.High, 5e-4)
	require.Equal(t, "9 of 10", f.Counts)
	require.False(t, f.Few)
	f = share("x", 0, 4)
	require.Zero(t, *f.Low)
	require.InDelta(t, 0.4899, *f.High, 5e-4)
	require.True(t, f.Few)
	require.Equal(t, "n = 4: too few to say much", f.Sentence())
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		median float64
		p90    float64 // 0: none
	}{
		{[]float64{3}, 3, 0},
		{[]float64{4, 1}, 2.5, 0},
		{[]float64{9, 8, 7, 6, 5, 4, 3, 2, 1}, 5, 0},
		{[]float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 5.5, 9},
		{[]float64{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 6, 10},
	} {
		f := spread("x", c.values)
		require.InDelta(t, c.median, *f.Value, 1e-9)
		require.Equal(t, len(c.values) < Few, f.Few)
		if c.p90 == 0 {
			require.Nil(t, f.P90, "a tail of %d values", len(c.values))
		} else {
			require.InDelta(t, c.p90, *f.P90, 1e-9)
		}
	}
}

func TestGroups(t *testing.T) {
	ring := func(name string) func(*Rollout) { return func(r *Rollout) { r.Ring = name } }
	d := Data{
		Rollouts:   []Rollout{good("1", ring("early")), good("1", of("b"), ring("late"), back), good("1", of("c"), ring("late")), good("2", func(r *Rollout) { r.Environment = "test" })},
		Rehearsals: []Rehearsal{{"test", "acme", "proven", at(1)}},
		Drifts:     []Drift{{"test", at(1), at(2)}},
	}
	names := func(by By) (list []string, rates []float64) {
		for _, g := range made(t, Question{By: by}, d).Groups {
			f, _ := Find(g.Figures, SuccessRate)
			list, rates = append(list, g.Name), append(rates, *f.Value)
		}
		return list, rates
	}
	list, rates := names(Environment)
	require.Equal(t, []string{"production", "test"}, list)
	require.Equal(t, []float64{0, 1}, rates)
	list, rates = names(Tenant)
	require.Equal(t, []string{"production/acme", "production/b", "production/c", "test/acme"}, list)
	require.Equal(t, []float64{1, 0, 1, 1}, rates)
	list, rates = names(Ring)
	require.Equal(t, []string{"production, ring early", "production, ring late", "test, no ring"}, list)
	require.Equal(t, []float64{1, 0, 1}, rates)
}

// Weeks begin on Monday in the reader's time zone; the one in which the clocks change has 167 or 169 hours.
func TestTrend(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, berlin) }
	r := made(t, Question{From: day(2026, 10, 21), To: day(2026, 11, 3), Zone: berlin}, Data{})
	var starts []string
	var hours []float64
	for _, p := range r.Trend {
		starts, hours = append(starts, p.Start.Format(time.DateOnly)), append(hours, p.End.Sub(p.Start).Hours())
	}
	require.Equal(t, []string{"2026-10-21", "2026-10-26", "2026-11-02"}, starts)
	require.Equal(t, []float64{4*24 + 24 + 1, 168, 24}, hours)
	require.Equal(t, []bool{false, true, false}, []bool{r.Trend[0].Whole, r.Trend[1].Whole, r.Trend[2].Whole})

	r = made(t, Question{From: day(2026, 1, 1), To: day(2026, 4, 1), Zone: berlin, Bucket: Month}, Data{})
	require.Len(t, r.Trend, 3)
	require.True(t, r.Trend[2].Whole)

	_, err = Make(Question{From: day(1990, 1, 1), To: day(2026, 1, 1), Bucket: Week}, Data{})
	require.ErrorContains(t, err, "ask for months")
	_, err = Make(Question{From: monday, To: monday, Bucket: Week}, Data{})
	require.ErrorContains(t, err, "no time in it")
}

func TestCSV(t *testing.T) {
	evil := good("1", of("=HYPERLINK(\"x\")"), func(r *Rollout) { r.Ring = "a,\"b\"\nc" })
	r := made(t, Question{By: Tenant}, Data{Rollouts: []Rollout{evil}})
	r.Groups[0].Ring = evil.Ring
	var out bytes.Buffer
	require.NoError(t, r.CSV(&out))
	require.True(t, strings.HasPrefix(out.String(), "scope,environment,"))
	require.Equal(t, strings.Count(out.String(), "\n"), strings.Count(out.String(), "\r\n"), "every line ends with CRLF")
	lines, err := csv.NewReader(&out).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 1+len(r.Definitions)*(1+1+2))
	group := lines[1+len(r.Definitions)]
	require.Equal(t, "'=HYPERLINK(\"x\")", group[2])
	for _, line := range lines {
		require.Len(t, line, len(columns))
		for _, cell := range line {
			require.NotRegexp(t, `^[=+\-@\t\r\n]`, cell)
		}
	}
	for in, want := range map[string]string{"": "", "acme": "acme", "=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "a=b": "a=b"} {
		require.Equal(t, want, Cell(in))
	}
}

func TestShown(t *testing.T) {
	for _, c := range []struct {
		x    float64
		u    Unit
		want string
	}{{0.914, Share, "91 %"}, {4.25, Seconds, "4.2 s"}, {59.4, Seconds, "59 s"}, {61, Seconds, "1 min 1 s"}, {7384, Seconds, "2 h 3 min"}, {90000, Seconds, "1 d 1 h"}, {1.5, PerWeek, "1.50"}, {3, Count, "3"}} {
		require.Equal(t, c.want, Shown(&c.x, c.u))
	}
	require.Equal(t, "–", Shown(nil, Share))
}
