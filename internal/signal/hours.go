package signal

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/waybill-dev/waybill/internal/judge"
)

// Hour is what one signal of one tenant counted within an hour. It is small, so that weeks of it can be kept:
// what is "as usual" at this hour of the week is read from it once the old release is gone.
type Hour struct {
	Tenant string    `json:"tenant"`
	Signal string    `json:"signal"`
	Start  time.Time `json:"start"` // of the hour, UTC
	Total  int64     `json:"total"`
	Bad    int64     `json:"bad,omitempty"`     // signals of kind shares
	Counts []int64   `json:"buckets,omitempty"` // signals of kind latency
}

// Tally turns counters into what came in each hour. It remembers where the counters stand, and no
// more; the zero value is ready. It is not safe for concurrent use.
type Tally struct {
	last map[string]judge.Observation // by signal
}

// maxTallied bounds the signals of a tally.
const maxTallied = 512

// Add takes the observations of one pool of a tenant, as a Collector gives them, and returns what to add to
// the hours of their time. The first reading of a signal, and the first after its source began
// anew, only say where counting begins. Signals without counters (gauges, series) have no hours.
func (t *Tally) Add(tenant string, observations []judge.Observation) []Hour {
	if t.last == nil {
		t.last = map[string]judge.Observation{}
	}
	var hours []Hour
	for _, o := range observations {
		s, err := Lookup(o.Signal)
		if err != nil || s.Kind == judge.Series || s.Kind == judge.Values {
			continue
		}
		before, known := t.last[o.Signal]
		if !known && len(t.last) >= maxTallied {
			continue
		}
		t.last[o.Signal] = o
		if !known || before.Source != o.Source || len(before.Buckets) != len(o.Buckets) {
			continue
		}
		h := Hour{Tenant: tenant, Signal: o.Signal, Start: o.At.UTC().Truncate(time.Hour), Total: o.Total - before.Total, Bad: o.Bad - before.Bad}
		back := h.Total < 0 || h.Bad < 0
		for i := range o.Buckets {
			n := o.Buckets[i] - before.Buckets[i]
			h.Counts = append(h.Counts, n)
			h.Total += n
			back = back || n < 0
		}
		if !back && h.Total > 0 {
			hours = append(hours, h)
		}
	}
	return hours
}

// SameHours picks, of the hours kept, those of the last weeks that were the same hour of the same weekday
// as at, by the tenant's clock on the wall, and the hours before and after it. The week of at itself is not
// among them: its hours may be the release's own.
func SameHours(hours []Hour, at time.Time, weeks int, zone *time.Location) []Hour {
	if zone == nil {
		zone = time.UTC
	}
	local := at.In(zone)
	var same []Hour
	for _, h := range hours {
		for week := 1; week <= weeks; week++ {
			// By the calendar, so that clocks that were put forward or back in between do not matter.
			then := time.Date(local.Year(), local.Month(), local.Day()-7*week, local.Hour(), 0, 0, 0, zone)
			if apart := h.Start.Sub(then.UTC()); apart >= -time.Hour && apart <= time.Hour {
				same = append(same, h)
				break
			}
		}
	}
	return same
}

// Usual is how it was before, for a Detector to watch against.
type Usual struct {
	Units int64   // that were seen
	Share float64 // of them that were bad, at most: see Before
	Seen  float64 // of them that were bad
}

// minUsual is how many units a week must have to speak for itself.
const minUsual = 30

// Before is the share of a signal's units that were bad in these hours, as an upper bound that holds with the
// confidence given (.95 for most), for judge.Detector.Share: exact for independent units (Clopper,
// Pearson, Biometrika 1934). Weeks differ by more than chance, so that it is no less than the share of the worst
// day among them. ok is false where too little was seen to say what is usual.
func Before(hours []Hour, signal string, confidence float64) (usual Usual, ok bool) {
	type day struct{ total, bad int64 }
	days := map[string]*day{}
	var all day
	for _, h := range hours {
		if h.Signal != signal {
			continue
		}
		name := h.Start.Format(time.DateOnly)
		if days[name] == nil {
			days[name] = &day{}
		}
		for _, d := range []*day{&all, days[name]} {
			d.total += h.Total
			d.bad += h.Bad
		}
	}
	if all.total < minUsual || !(confidence > 0 && confidence < 1) {
		return Usual{Units: all.total}, false
	}
	usual = Usual{Units: all.total, Seen: float64(all.bad) / float64(all.total), Share: upper(all.bad, all.total, confidence)}
	for _, d := range days {
		if d.total >= minUsual {
			usual.Share = math.Max(usual.Share, float64(d.bad)/float64(d.total))
		}
	}
	return usual, true
}

// SlowerThan turns the hours of a latency signal into those of a share: the calls that took longer
// than the bound of that index are the bad ones.
func SlowerThan(hours []Hour, signal string, bound int) []Hour {
	var shares []Hour
	for _, h := range hours {
		if h.Signal != signal || bound < 0 || bound+1 >= len(h.Counts) {
			continue
		}
		s := Hour{Tenant: h.Tenant, Signal: h.Signal, Start: h.Start, Total: h.Total}
		for _, n := range h.Counts[bound+1:] {
			s.Bad += n
		}
		shares = append(shares, s)
	}
	return shares
}

// upper is the Clopper-Pearson bound of a share.
func upper(bad, total int64, confidence float64) float64 {
	if bad >= total {
		return 1
	}
	return distuv.Beta{Alpha: float64(bad) + 1, Beta: float64(total - bad)}.Quantile(confidence)
}
