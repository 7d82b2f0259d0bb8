package bridge

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
)

// SignalBounds are the upper bounds of Counts.Buckets in seconds; one bucket more lies beyond the
// last. Eight a decade, so that a call that takes 40 % longer is in another bucket. The same list is
// in bridge/waybill_probe/signals/memory.py.
var SignalBounds = []float64{
	.004, .0055, .0075,
	.01, .013, .017, .022, .03, .04, .055, .075,
	.1, .13, .17, .22, .3, .4, .55, .75,
	1, 1.3, 1.7, 2.2, 3, 4, 5.5, 7.5,
	10, 13, 17, 22, 30, 40,
}

// Signals is the answer to GET /waybill/v1/signals?db=NAME: what the business of one tenant did in one
// pool. Calls and log lines are counted in all HTTP workers of each of the pool's pods, since Source; a worker
// that is recycled or killed takes no count with it. Cron, mail and queue are read from the database
// when asked, and are the same whichever pool is asked.
type Signals struct {
	Source int64      `json:"source"` // changes when the pool's process starts anew and counts from 0 again
	Since  float64    `json:"since"`  // unix seconds, by the pool's clock, at which that was
	Calls  []Call     `json:"calls"`  // by name; those that the tenant's modules offer, also when nobody called them yet
	Cron   *CronState `json:"cron"`   // nil: could not be read; Problems says why
	Mail   *Backlog   `json:"mail"`   // mail.mail; nil: not installed, or could not be read
	Queue  *Backlog   `json:"queue"`  // queue_job of OCA; likewise
	Log    LogCounts  `json:"log"`    // lines that were logged while the tenant was served
	Shared LogCounts  `json:"shared"` // lines that belong to no tenant
	// Problems says what could not be read or counted, one line each.
	Problems []string `json:"problems"`
}

// Call is how often one business call was made. Only the outermost of nested calls of a name counts,
// and a transaction that Odoo tries again counts once.
type Call struct {
	Name string `json:"name"` // order_confirm, picking_validate, reserve, pos_sync, …
	Counts
	Synthetic Counts `json:"synthetic"` // by flows, which are rolled back; not part of Counts
}

// Counts are the outcomes of calls.
type Counts struct {
	Total   int64   `json:"total"`   // done, failed and refused
	Failed  int64   `json:"failed"`  // by a fault: whatever was raised that is no answer to a person
	Refused int64   `json:"refused"` // by a business error that tells a person what is wrong (UserError and its kind)
	Seconds float64 `json:"seconds"` // of the calls that were done, together
	Buckets []int64 `json:"buckets"` // the calls that were done, by SignalBounds; one more than there are bounds
}

// CronState is the scheduler's backlog. Times are by the database's clock alone.
type CronState struct {
	Active   int64     `json:"active"`   // jobs that are switched on
	Due      int64     `json:"due"`      // of them, jobs whose time has come
	Late     float64   `json:"late"`     // seconds since the oldest of them was due; a job that runs now counts until it ends
	LateJob  string    `json:"late_job"` // its name; empty: none is due
	Failing  int64     `json:"failing"`  // active jobs that failed when they ran last
	Failures int64     `json:"failures"` // how often in a row, together
	Jobs     []CronJob `json:"jobs"`     // the latest and the failing ones, at most 20
}

// CronJob is one scheduled job.
type CronJob struct {
	ID           int64   `json:"id"`
	Name         string  `json:"name"`
	Late         float64 `json:"late"`               // seconds since it was due; 0: not due
	Failures     int64   `json:"failures"`           // in a row; always 0 before Odoo 18
	FailingSince float64 `json:"failing_since"`      // seconds ago; 0: not failing
	LastRun      float64 `json:"last_run,omitempty"` // seconds ago; 0: never
	Every        float64 `json:"every"`              // seconds between two runs, months counted as 30 days
}

// Backlog is work that waits.
type Backlog struct {
	Waiting int64   `json:"waiting"` // and whose time has come
	Oldest  float64 `json:"oldest"`  // seconds that the oldest of them has waited
	Failed  int64   `json:"failed"`  // given up
}

// LogCounts are lines of Odoo's log.
type LogCounts struct {
	Critical int64        `json:"critical"`
	Error    int64        `json:"error"`
	Warning  int64        `json:"warning"`
	Slow     int64        `json:"slow"`     // queries that took a second or more
	Loggers  []LoggerLine `json:"loggers"`  // the same, by logger
	Messages []Message    `json:"messages"` // the last distinct ones, newest first, at most 32
}

// LoggerLine is what one logger said.
type LoggerLine struct {
	Logger   string `json:"logger"`
	Critical int64  `json:"critical"`
	Error    int64  `json:"error"`
	Warning  int64  `json:"warning"`
}

// Message is one kind of log line. Values are not in it, since they may be secret: only the text that
// stands in the code.
type Message struct {
	Level     string  `json:"level"`               // critical, error, warning, slow
	Logger    string  `json:"logger"`              // empty for slow queries
	Text      string  `json:"text"`                // template; empty where the text was put together before it was logged
	Where     string  `json:"where"`               // file:line
	Exception string  `json:"exception,omitempty"` // type and place: "ValueError at acme_label/models/carrier.py:12"
	Count     int64   `json:"count"`
	Ago       float64 `json:"ago"` // seconds since it was last said
}

// maxMessages bounds the messages of an answer, as each pod does.
const maxMessages = 32

// Signals asks what the tenant's business did in this pool. Each pod answers from memory and four
// short queries, each of which ends after two seconds; what they have counted is added up. With a pod that comes or goes the
// counts begin anew, as when one starts anew.
func (c *Client) Signals(ctx context.Context, database string) (Signals, error) {
	all, err := each[Signals](ctx, c, "/waybill/v1/signals?"+url.Values{"db": {database}}.Encode())
	if err != nil {
		return Signals{}, err
	}
	return sumSignals(all), nil
}

// sumSignals adds up what several pods have counted. What they have read from the database is the same, and not added up.
func sumSignals(all []Signals) Signals {
	if len(all) == 1 {
		return all[0]
	}
	sum := Signals{Source: sourceOf(all), Since: all[0].Since, Calls: []Call{}, Problems: []string{}}
	calls := map[string]*Call{}
	for _, s := range all {
		sum.Since = max(sum.Since, s.Since) // from there on, all of them count
		for _, call := range s.Calls {
			of := calls[call.Name]
			if of == nil {
				of = &Call{Name: call.Name}
				calls[call.Name] = of
			}
			of.Counts.add(call.Counts)
			of.Synthetic.add(call.Synthetic)
		}
		sum.Cron, sum.Mail, sum.Queue = cmp.Or(sum.Cron, s.Cron), cmp.Or(sum.Mail, s.Mail), cmp.Or(sum.Queue, s.Queue)
		sum.Log.add(s.Log)
		sum.Shared.add(s.Shared)
		for _, problem := range s.Problems {
			if !slices.Contains(sum.Problems, problem) {
				sum.Problems = append(sum.Problems, problem)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		sum.Calls = append(sum.Calls, *calls[name])
	}
	return sum
}

// sourceOf is another number as soon as one of the sources is.
func sourceOf(all []Signals) int64 {
	var sources []int64
	for _, s := range all {
		sources = append(sources, s.Source)
	}
	slices.Sort(sources)
	h := fnv.New64a()
	for _, source := range sources {
		_ = binary.Write(h, binary.BigEndian, source)
	}
	return int64(h.Sum64() >> 1)
}

func (c *Counts) add(more Counts) {
	c.Total, c.Failed, c.Refused, c.Seconds = c.Total+more.Total, c.Failed+more.Failed, c.Refused+more.Refused, c.Seconds+more.Seconds
	c.Buckets = append(c.Buckets, make([]int64, max(len(more.Buckets)-len(c.Buckets), 0))...)
	for i, n := range more.Buckets {
		c.Buckets[i] += n
	}
}

func (l *LogCounts) add(more LogCounts) {
	l.Critical, l.Error, l.Warning, l.Slow = l.Critical+more.Critical, l.Error+more.Error, l.Warning+more.Warning, l.Slow+more.Slow
	for _, line := range more.Loggers {
		at := slices.IndexFunc(l.Loggers, func(known LoggerLine) bool { return known.Logger == line.Logger })
		if at < 0 {
			l.Loggers = append(l.Loggers, line)
			continue
		}
		known := &l.Loggers[at]
		known.Critical, known.Error, known.Warning = known.Critical+line.Critical, known.Error+line.Error, known.Warning+line.Warning
	}
	for _, m := range more.Messages {
		at := slices.IndexFunc(l.Messages, func(known Message) bool {
			known.Count, known.Ago = m.Count, m.Ago
			return known == m
		})
		if at < 0 {
			l.Messages = append(l.Messages, m)
			continue
		}
		known := &l.Messages[at]
		known.Count, known.Ago = known.Count+m.Count, min(known.Ago, m.Ago)
	}
	slices.SortStableFunc(l.Messages, func(a, b Message) int { return cmp.Compare(a.Ago, b.Ago) })
	l.Messages = l.Messages[:min(len(l.Messages), maxMessages)]
}
