// Package signal turns what pools, the router, PostgreSQL and Redis say into observations for the
// judge. It decides nothing, keeps no history and writes nothing: a Collector reads its sources
// when asked, refuses what cannot be true, and says so.
//
// All times are those of the reader's clock; what another machine says of the time is used for
// nothing but differences within that machine.
//
// docs/signals.md names every signal, its unit, and where it comes from.
package signal

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/judge"
)

// Source is where signals come from. Read may return part of what there is, and say in Problems what
// is missing; an error means that nothing could be read. It ends when ctx is done.
type Source interface {
	Name() string
	Read(ctx context.Context) (Reading, error)
}

// Reading is what was seen at one look.
type Reading struct {
	// Observations are of one pool each, for the judge. A source leaves At and Weight empty.
	Observations []judge.Observation
	// Gauges are what both pools share, such as the tenant's scheduler: nothing to compare them with but
	// a limit, or what they were before.
	Gauges []Gauge
	// Lines are kinds of log lines, by pool, so that a verdict can name one.
	Lines []Line
	// Problems say what could not be read or used, one line each.
	Problems []string
}

// Gauge is a number of now.
type Gauge struct {
	Name  string  // cron.late, mail.waiting, …; see docs/signals.md
	Value float64 // in Unit, 0 or more
	Unit  string  // seconds, bytes, a plural noun, or "share"
	Says  string  // what it is about, such as the name of a job; may be empty
}

// Line is a kind of log line in one pool.
type Line struct {
	Pool judge.Pool
	bridge.Message
}

// patience is how long a look waits for a source. Traffic must be routed back within seconds.
const patience = 2 * time.Second

// Collector reads sources. It is not safe for concurrent use.
type Collector struct {
	sources []Source
	now     func() time.Time
	last    map[from]*counters
}

// from is one origin of counters: they begin anew together.
type from struct {
	source string
	pool   judge.Pool
}

// counters is where the counters of one origin stood.
type counters struct {
	id       int64 // that the source gave
	restarts int64 // that it did not tell of
	values   map[string][]int64
}

// NewCollector reads the sources by the clock given; nil is the machine's.
func NewCollector(now func() time.Time, sources ...Source) *Collector {
	if now == nil {
		now = time.Now
	}
	return &Collector{sources: sources, now: now, last: map[from]*counters{}}
}

// Collect looks at all sources at once, and waits two seconds for them at most. A source that cannot be
// read gives no observations, so that the judge takes its signals for stale after a while; Problems
// says why. Weight is the canary's share of the traffic since the look before.
func (c *Collector) Collect(ctx context.Context, weight float64) Reading {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type seen struct {
		Reading
		at  time.Time
		err error
	}
	all := make([]seen, len(c.sources))
	var running sync.WaitGroup
	for i, source := range c.sources {
		running.Go(func() {
			r, err := source.Read(ctx)
			all[i] = seen{r, c.now(), err}
		})
	}
	running.Wait()

	var sum Reading
	for i, source := range c.sources {
		one := all[i]
		if one.err != nil {
			sum.Problems = append(sum.Problems, fmt.Sprintf("%s: %v", source.Name(), one.err))
			continue
		}
		for _, problem := range one.Problems {
			sum.Problems = append(sum.Problems, source.Name()+": "+problem)
		}
		c.take(&sum, source.Name(), one.Reading, one.at, weight)
	}
	return sum
}

// take adds what can be true of a source's reading to the sum.
func (c *Collector) take(sum *Reading, name string, r Reading, at time.Time, weight float64) {
	refuse := func(what, why string) {
		sum.Problems = append(sum.Problems, fmt.Sprintf("%s: %s: %s: not used", name, what, why))
	}
	var sound []judge.Observation
	for _, o := range r.Observations {
		if why := wrong(o); why != "" {
			refuse(o.Signal+" of "+o.Pool.String(), why)
			continue
		}
		sound = append(sound, o)
	}
	restarts := map[judge.Pool]int64{}
	for _, pool := range []judge.Pool{judge.Stable, judge.Canary} {
		restarts[pool] = c.follow(from{name, pool}, sound)
	}
	for _, o := range sound {
		o.At, o.Weight = at, weight
		o.Source += restarts[o.Pool]
		sum.Observations = append(sum.Observations, o)
	}
	for _, g := range r.Gauges {
		if why := noNumber(g.Value); why != "" {
			refuse(g.Name, why)
			continue
		}
		sum.Gauges = append(sum.Gauges, g)
	}
	sum.Lines = append(sum.Lines, r.Lines...)
}

// follow remembers where the counters of an origin stand. One that goes back says that all of them
// began anew, whether the source tells it or not; the result is how often that was so.
func (c *Collector) follow(f from, observations []judge.Observation) int64 {
	known := c.last[f]
	if known == nil {
		known = &counters{values: map[string][]int64{}}
		c.last[f] = known
	}
	back := false
	now := map[string][]int64{}
	for _, o := range observations {
		if o.Pool != f.pool {
			continue
		}
		if o.Source != known.id {
			known.id, known.values = o.Source, map[string][]int64{}
		}
		counted := append([]int64{o.Total, o.Bad}, o.Buckets...)
		for i, before := range known.values[o.Signal] {
			back = back || i < len(counted) && counted[i] < before
		}
		now[o.Signal] = counted
	}
	if back {
		known.restarts++
		clear(known.values)
	}
	for signal, counted := range now {
		known.values[signal] = counted
	}
	return known.restarts
}

// wrong is why an observation cannot be true; empty: it can.
func wrong(o judge.Observation) string {
	for _, n := range append([]int64{o.Total, o.Bad}, o.Buckets...) {
		if n < 0 {
			return fmt.Sprintf("a count below 0 (%d)", n)
		}
	}
	s, err := Lookup(o.Signal)
	switch {
	case err != nil:
		return err.Error()
	case s.Kind == judge.Shares && o.Bad > o.Total:
		return fmt.Sprintf("more bad ones (%d) than there are (%d)", o.Bad, o.Total)
	case s.Kind == judge.Latency && len(o.Buckets) != len(s.Bounds)+1:
		return fmt.Sprintf("a histogram of %d buckets where there are %d", len(o.Buckets), len(s.Bounds)+1)
	}
	return noNumber(o.Value)
}

func noNumber(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Sprintf("%g is not a number", v)
	case v < 0:
		return fmt.Sprintf("%g is below 0", v)
	}
	return ""
}

// News are the kinds of errors that the new release logged and the old one did not, the most frequent
// first: what a person wants to read beside a verdict on log lines.
func (r Reading) News() []bridge.Message {
	type kind struct{ logger, text, exception string }
	of := func(m bridge.Message) kind { return kind{m.Logger, m.Text, m.Exception} }
	old := map[kind]bool{}
	for _, line := range r.Lines {
		if line.Pool == judge.Stable {
			old[of(line.Message)] = true
		}
	}
	var news []bridge.Message
	for _, line := range r.Lines {
		if line.Pool == judge.Canary && (line.Level == "error" || line.Level == "critical") && !old[of(line.Message)] {
			news = append(news, line.Message)
		}
	}
	slices.SortStableFunc(news, func(a, b bridge.Message) int { return cmp.Compare(b.Count, a.Count) })
	return news
}
