package signal

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/judge"
)

// Asker is the part of bridge.Client that is asked.
type Asker interface {
	Signals(ctx context.Context, database string) (bridge.Signals, error)
}

// maxLines bounds what is taken over of one pool's log.
const maxLines = 32

// FromBridge reads what a tenant's business did in the two pools. Either may be nil, where there is
// no such pool.
func FromBridge(database string, stable, canary Asker) Source {
	return &fromBridge{database, [2]Asker{judge.Stable: stable, judge.Canary: canary}}
}

type fromBridge struct {
	database string
	pools    [2]Asker
}

func (f *fromBridge) Name() string { return "bridge" }

func (f *fromBridge) Read(ctx context.Context) (Reading, error) {
	var answers [2]bridge.Signals
	var failures [2]error
	var asking sync.WaitGroup
	asked := 0
	for pool, asker := range f.pools {
		if asker == nil {
			continue
		}
		asked++
		asking.Go(func() { answers[pool], failures[pool] = asker.Signals(ctx, f.database) })
	}
	asking.Wait()

	var r Reading
	failed := 0
	for _, pool := range []judge.Pool{judge.Canary, judge.Stable} {
		if f.pools[pool] == nil {
			continue
		}
		if failures[pool] != nil {
			failed++
			r.Problems = append(r.Problems, fmt.Sprintf("%s: %v", pool, failures[pool]))
			continue
		}
		f.add(&r, pool, answers[pool])
	}
	if asked > 0 && failed == asked {
		return Reading{}, errors.Join(failures[:]...)
	}
	return r, nil
}

func (f *fromBridge) add(r *Reading, pool judge.Pool, s bridge.Signals) {
	observe := func(o judge.Observation) {
		o.Pool, o.Source = pool, s.Source
		r.Observations = append(r.Observations, o)
	}
	for _, call := range s.Calls {
		if !callName.MatchString(call.Name) || reserved[call.Name] {
			r.Problems = append(r.Problems, fmt.Sprintf("%s: a call may not be named %q: not used", pool, call.Name))
			continue
		}
		observe(judge.Observation{Signal: call.Name + CallFailed, Total: call.Total, Bad: call.Failed})
		observe(judge.Observation{Signal: call.Name + CallRefused, Total: call.Total, Bad: call.Refused})
		observe(judge.Observation{Signal: call.Name + CallSeconds, Buckets: call.Buckets})
	}
	observe(judge.Observation{Signal: LogErrors, Total: s.Log.Error + s.Log.Critical})
	observe(judge.Observation{Signal: LogWarnings, Total: s.Log.Warning})
	observe(judge.Observation{Signal: LogSlow, Total: s.Log.Slow})
	for i, message := range s.Log.Messages {
		if i < maxLines {
			r.Lines = append(r.Lines, Line{pool, message})
		}
	}
	for _, problem := range s.Problems {
		r.Problems = append(r.Problems, fmt.Sprintf("%s: %s", pool, problem))
	}
	if len(r.Gauges) == 0 { // one database, one answer
		r.Gauges = gauges(s)
	}
}

func gauges(s bridge.Signals) []Gauge {
	var all []Gauge
	add := func(name string, value float64, unit, says string) { all = append(all, Gauge{name, value, unit, says}) }
	if c := s.Cron; c != nil {
		add("cron.late", c.Late, "seconds", c.LateJob)
		failing := ""
		for _, job := range c.Jobs {
			if job.Failures > 0 {
				failing = job.Name
				break
			}
		}
		add("cron.failing", float64(c.Failing), "jobs", failing)
	}
	for _, b := range []struct {
		name string
		*bridge.Backlog
	}{{"mail", s.Mail}, {"queue", s.Queue}} {
		if b.Backlog != nil {
			add(b.name+".waiting", float64(b.Waiting), "messages", "")
			add(b.name+".oldest", b.Oldest, "seconds", "")
			add(b.name+".failed", float64(b.Failed), "messages", "")
		}
	}
	return all
}

// Synthetic is how often flows made the calls of a pool, and how that ended. It is no traffic, and never
// among the observations.
func Synthetic(s bridge.Signals) map[string]bridge.Counts {
	made := map[string]bridge.Counts{}
	for _, call := range s.Calls {
		if call.Synthetic.Total > 0 {
			made[call.Name] = call.Synthetic
		}
	}
	return made
}
