package promotion

import (
	"time"

	"github.com/waybill-dev/waybill/internal/judge"
)

// A chart has at most maxSlices slices. When they are used up, each two become one of double length.
const (
	maxSlices  = 24
	chartSlice = 5 * time.Second // at first
)

// chart is the course of a signal in both pools while a shift goes on. Its size is bounded.
type chart struct {
	Since time.Time     `json:"since"`
	Slice time.Duration `json:"slice"`
	Sums  [][2]sum      `json:"sums"` // by slice and pool
	Last  [2]lastSum    `json:"last"`
}

// sum are units and what they add up to: bad units, or seconds.
type sum struct {
	Units int64   `json:"n,omitempty"`
	Sum   float64 `json:"s,omitempty"`
}

type lastSum struct {
	Begun  bool  `json:"begun,omitempty"`
	Source int64 `json:"source,omitempty"`
	sum
}

// add takes counters as they stand.
func (c *chart) add(p judge.Pool, at time.Time, source, units int64, total float64) {
	last := c.Last[p]
	c.Last[p] = lastSum{Begun: true, Source: source, sum: sum{units, total}}
	if !last.Begun || last.Source != source || units < last.Units || total < last.Sum {
		return // where counting begins
	}
	i := max(0, int(at.Sub(c.Since)/c.Slice))
	for i >= maxSlices {
		c.halve()
		i /= 2
	}
	for len(c.Sums) <= i {
		c.Sums = append(c.Sums, [2]sum{})
	}
	s := &c.Sums[i][p]
	s.Units += units - last.Units
	s.Sum += total - last.Sum
}

func (c *chart) halve() {
	var half [][2]sum
	for i := 0; i < len(c.Sums); i += 2 {
		both := c.Sums[i]
		if i+1 < len(c.Sums) {
			for p := range both {
				both[p].Units += c.Sums[i+1][p].Units
				both[p].Sum += c.Sums[i+1][p].Sum
			}
		}
		half = append(half, both)
	}
	c.Sums, c.Slice = half, 2*c.Slice
}

// Chart is the course of a signal: a mean for each slice of time, nil where nothing was seen.
type Chart struct {
	Since  time.Time  `json:"since"`
	Slice  float64    `json:"slice"`  // seconds
	Unit   string     `json:"unit"`   // "share" or "seconds"
	Canary []*float64 `json:"canary"` // the new release
	Stable []*float64 `json:"stable"` // the old release
}

func (c *chart) public(unit string) *Chart {
	out := &Chart{Since: c.Since, Slice: c.Slice.Seconds(), Unit: unit, Canary: []*float64{}, Stable: []*float64{}}
	mean := func(s sum) *float64 {
		if s.Units == 0 {
			return nil
		}
		m := s.Sum / float64(s.Units)
		return &m
	}
	for _, s := range c.Sums {
		out.Canary, out.Stable = append(out.Canary, mean(s[judge.Canary])), append(out.Stable, mean(s[judge.Stable]))
	}
	return out
}
