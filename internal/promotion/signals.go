package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/signal"
)

const (
	signalsEvery = time.Second // the pools are asked
	signalsLimit = 3 * time.Second
	signalsStale = 15 * time.Second
	maxCalls     = 18 // three signals each, and the others: a Judge takes 64
	// warmCalls are not counted as durations, for each call and worker of the new pool: whoever asks
	// first waits for caches to fill.
	warmCalls = 5
)

// ruled is how one signal is judged: the default, and what the estate says otherwise.
type ruled struct {
	role       estate.SignalRole
	tolerance  float64
	importance float64
	required   bool
}

// defaultRules are those of signals by whole names, and by the ends of the names of calls. What is not here is as
// package signal says.
var defaultRules = map[string]ruled{
	".failed":              {role: estate.Trigger, tolerance: .01},
	".refused":             {role: estate.Warning, tolerance: .05}, // one person may press a button many times
	".seconds":             {role: estate.Record, tolerance: .25},  // of the time; a pool that is new and judged is slower for reasons of its own
	signal.RequestsSeconds: {role: estate.Record, tolerance: .25},  // all sorts of requests in one
	signal.LogErrors:       {role: estate.Warning, tolerance: .5},
	signal.PostgresWaiting: {role: estate.Warning, tolerance: .1},
	"cron.failing":         {role: estate.Trigger},
	"cron.late":            {role: estate.Trigger, tolerance: 300},

	// Gauges: how far they may rise while traffic moves.
	"postgres.replication_lag":  {role: estate.Warning, tolerance: 60},
	"postgres.connections_used": {role: estate.Warning, tolerance: .3},
	"mail.waiting":              {role: estate.Record, tolerance: 100},
	"mail.oldest":               {role: estate.Record, tolerance: 600},
	"mail.failed":               {role: estate.Record, tolerance: 10},
	"queue.waiting":             {role: estate.Record, tolerance: 100},
	"queue.oldest":              {role: estate.Record, tolerance: 600},
	"queue.failed":              {role: estate.Warning, tolerance: 10},
	"redis.memory":              {role: estate.Record, tolerance: 1 << 30},
	"redis.memory_used":         {role: estate.Warning, tolerance: .2},
	"redis.evicted":             {role: estate.Warning}, // a session that is evicted is a person who is logged out
}

// rule is how a signal is judged under an estate.
func rule(rollout estate.Rollout, name string) ruled {
	r, single := defaultRules[name]
	dot := max(strings.LastIndexByte(name, '.'), 0)
	if !single {
		if r, single = defaultRules[name[dot:]]; single {
			single = false
		} else if s, err := signal.Lookup(name); err == nil {
			r, single = ruled{role: estate.Record, tolerance: s.Tolerance}, true
		}
	}
	r.importance = 1
	for _, given := range rollout.Signals {
		if given.Signal != name && (single || given.Signal != "*"+name[dot:]) {
			continue
		}
		if given.Role != "" {
			r.role = given.Role
		}
		if given.Tolerance != nil {
			r.tolerance = *given.Tolerance
		}
		r.importance, r.required = given.Importance, given.Required
		if r.required {
			r.role = estate.Trigger
		}
	}
	return r
}

// comparesDurations reports whether how long something takes may take a release back.
func comparesDurations(rollout estate.Rollout) bool {
	return slices.ContainsFunc(rollout.Signals, func(given estate.SignalRule) bool {
		return strings.HasSuffix(given.Signal, signal.CallSeconds) && (given.Role == estate.Trigger || given.Required)
	})
}

// alike are a rollout's rules for pools with so many workers each. Where these differ, what is as busy on more workers at once takes
// longer each time: how long something takes is written down then, and says nothing of the release.
func alike(rollout estate.Rollout, old, fresh int) estate.Rollout {
	if old == fresh {
		return rollout
	}
	rollout.Signals = slices.Clone(rollout.Signals)
	for i, given := range rollout.Signals {
		if strings.HasSuffix(given.Signal, signal.CallSeconds) {
			rollout.Signals[i].Role, rollout.Signals[i].Required = estate.Record, false
		}
	}
	return rollout
}

// keptWatch is what a shift's business signals have shown so far. It is kept with the rollout.
type keptWatch struct {
	Signals []string          `json:"signals"` // that are judged, as of the beginning; nil: it was not known yet
	Judge   json.RawMessage   `json:"judge,omitempty"`
	Charts  map[string]*chart `json:"charts,omitempty"`
	Warm    map[string]bool   `json:"warm,omitempty"`   // durations that count on the new pool
	Done    map[string]total  `json:"done,omitempty"`   // business calls on the new pool
	Events  int64             `json:"events"`           // of them, at this weight
	Absent  string            `json:"absent,omitempty"` // why there are none to be judged

	Gauges map[string]*gauge `json:"gauges,omitempty"` // what both pools share

	Usual map[string]judge.Counts `json:"usual,omitempty"` // what the old release's calls did, for the bake
}

// total follows a counter.
type total struct {
	Source int64 `json:"source"`
	Last   int64 `json:"last"`
}

// watch judges the business signals of a shift, step after step.
type watch struct {
	rollout estate.Rollout
	kept    *keptWatch
	judge   *judge.Judge // nil until both pools have told what they can tell
	rules   map[string]ruled
	warm    int64
	read    time.Time        // the last time that they were asked
	heard   [2]time.Time     // the last answer
	trouble [2]string        // why there was none
	news    []bridge.Message // errors that only the new release logs
	unused  []string         // what was read and could not be used
}

func newWatch(rollout estate.Rollout, workers int, kept *keptWatch) (*watch, error) {
	s := &watch{rollout: rollout, kept: kept, warm: warmCalls * int64(max(1, workers))}
	if kept.Signals == nil {
		return s, nil
	}
	return s, s.declare()
}

// declare makes the judge of the signals that were chosen, with what it knew.
func (s *watch) declare() error {
	s.rules = map[string]ruled{}
	config := judge.Config{Alpha: s.rollout.Chance() / 2} // the other half is for failing requests
	for _, name := range s.kept.Signals {
		r := rule(s.rollout, name)
		declared, err := signal.Lookup(name)
		if err != nil || r.role == estate.Off {
			continue
		}
		s.rules[name] = r
		declared.Role, declared.Tolerance, declared.Importance = judge.Warning, r.tolerance, r.importance
		if r.role == estate.Trigger {
			declared.Role = judge.Trigger
		}
		if declared.Kind == judge.Latency {
			declared.Ratio, declared.Tolerance = 1+r.tolerance, min(r.tolerance, 1)
		}
		config.Signals = append(config.Signals, declared)
	}
	if len(config.Signals) == 0 {
		return nil // all are switched off
	}
	var err error
	if s.judge, err = judge.New(config); err != nil {
		return err
	}
	if len(s.kept.Judge) > 0 {
		if _, err := s.judge.Restore(s.kept.Judge); err != nil {
			return err
		}
	}
	return nil
}

// keep writes down what the judge knows.
func (s *watch) keep() error {
	if s.judge == nil {
		return nil
	}
	data, err := json.Marshal(s.judge)
	s.kept.Judge = data
	return err
}

// due reports whether it is time to ask again.
func (s *watch) due(now time.Time) bool { return now.Sub(s.read) >= signalsEvery }

// look takes what was collected, with what came of asking each pool, at a time of our clock.
func (s *watch) look(at time.Time, seen signal.Reading, errs [2]error) error {
	s.read = at
	for p, err := range errs {
		if err != nil {
			s.trouble[p] = oneLine(err.Error())
		} else {
			s.heard[p], s.trouble[p] = at, ""
		}
	}
	if s.kept.Signals == nil {
		for p, err := range errs {
			if errors.Is(err, bridge.ErrRefused) { // an image of before there were signals
				s.kept.Absent = fmt.Sprintf("%s tells no business signals", judge.Pool(p))
			}
		}
		if s.kept.Absent == "" && (errs[0] != nil || errs[1] != nil) {
			return nil
		}
		s.kept.Signals = namesOf(seen.Observations)
		if err := s.declare(); err != nil {
			return err
		}
	}
	s.news, s.unused = seen.News(), seen.Problems
	s.measure(at, seen.Gauges)
	for _, o := range seen.Observations {
		s.take(o)
	}
	return nil
}

// namesOf are the signals that both pools know, of the calls that were made most on the old one: a Judge takes only so many.
func namesOf(observations []judge.Observation) []string {
	known := map[string][2]bool{}
	made := map[string]int64{}
	for _, o := range observations {
		both := known[o.Signal]
		both[o.Pool] = true
		known[o.Signal] = both
		if call, ok := strings.CutSuffix(o.Signal, signal.CallFailed); ok && o.Pool == judge.Stable {
			made[call] = o.Total
		}
	}
	var calls []string
	names := []string{signal.RequestsSeconds, signal.PostgresWaiting, signal.PostgresTransaction, signal.PostgresConnections} // these may come later
	for name, both := range known {
		call, isCall := strings.CutSuffix(name, signal.CallFailed)
		switch {
		case !both[0] || !both[1]:
		case isCall && name != signal.RequestsFailed:
			calls = append(calls, call)
		case strings.HasPrefix(name, "log."):
			names = append(names, name)
		}
	}
	slices.Sort(calls)
	slices.SortStableFunc(calls, func(a, b string) int { return int(min(max(made[b]-made[a], -1), 1)) })
	for _, call := range calls[:min(len(calls), maxCalls)] {
		names = append(names, call+signal.CallFailed, call+signal.CallRefused, call+signal.CallSeconds)
	}
	slices.Sort(names)
	return names
}

// take hands an observation on. What cannot be used is told by the verdict.
func (s *watch) take(o judge.Observation) {
	_, isCall := strings.CutSuffix(o.Signal, signal.CallFailed)
	if isCall && o.Pool == judge.Canary && o.Signal != signal.RequestsFailed {
		if s.kept.Done == nil {
			s.kept.Done = map[string]total{}
		}
		last, known := s.kept.Done[o.Signal]
		if known && last.Source == o.Source && o.Total > last.Last {
			s.kept.Events += o.Total - last.Last
		}
		s.kept.Done[o.Signal] = total{o.Source, o.Total}
	}
	if _, declared := s.rules[o.Signal]; !declared || !s.warmed(o) {
		return
	}
	_ = s.judge.Observe(o)
	s.draw(o)
}

// warmed reports whether durations of the new pool count yet.
func (s *watch) warmed(o judge.Observation) bool {
	if o.Pool == judge.Stable || len(o.Buckets) == 0 || o.Signal == signal.RequestsSeconds || s.kept.Warm[o.Signal] {
		return true
	}
	calls := int64(0)
	for _, n := range o.Buckets {
		calls += n
	}
	if calls < s.warm {
		return false
	}
	if s.kept.Warm == nil {
		s.kept.Warm = map[string]bool{}
	}
	s.kept.Warm[o.Signal] = true
	return true
}

func (s *watch) draw(o judge.Observation) {
	units, sum := o.Total, float64(o.Bad)
	switch {
	case o.Signal == signal.RequestsSeconds:
		units, sum = seconds(o.Buckets, router.LatencyBounds)
	case len(o.Buckets) > 0:
		units, sum = seconds(o.Buckets, bridge.SignalBounds)
	case strings.HasPrefix(o.Signal, "log."), strings.HasPrefix(o.Signal, "postgres."):
		return // told by their figures
	}
	if s.kept.Charts == nil {
		s.kept.Charts = map[string]*chart{}
	}
	c := s.kept.Charts[o.Signal]
	if c == nil {
		c = &chart{Since: o.At, Slice: chartSlice}
		s.kept.Charts[o.Signal] = c
	}
	c.add(o.Pool, o.At, o.Source, units, sum)
}

// seconds are the units of a histogram and about how long they took together.
func seconds(buckets []int64, bounds []float64) (units int64, sum float64) {
	for i, n := range buckets {
		units += n
		below, above := 0.0, bounds[len(bounds)-1]
		if i > 0 {
			below = bounds[i-1]
		}
		if i < len(bounds) {
			above = bounds[i]
		}
		sum += float64(n) * (below + above) / 2
	}
	return units, sum
}

// findings are what the business signals say at one moment.
type findings struct {
	fails []string // triggers that failed: the release goes back
	open  []string // what must be known first
	holds []string // warnings that stand
	notes []string // what is only written down
	all   []judge.Evidence
	level float64 // of a failed trigger: how rare that is in a good release
}

func (s *watch) findings(now time.Time) (f findings) {
	for _, given := range s.rollout.Signals {
		if _, declared := s.rules[given.Signal]; given.Required && !declared && !strings.HasPrefix(given.Signal, "*") {
			f.open = append(f.open, given.Signal+" is required, and "+s.silence())
		}
	}
	s.risen(now, &f)
	if s.judge == nil {
		return f
	}
	for p, heard := range s.heard {
		if age := now.Sub(heard); age > signalsStale && s.kept.Absent == "" {
			f.open = append(f.open, fmt.Sprintf("the business signals of %s have stopped for %s: %s", judge.Pool(p), age.Round(time.Second), s.trouble[p]))
		}
	}
	verdict := s.judge.Verdict(now)
	f.all = verdict.Signals
	for _, e := range verdict.Signals {
		r, line := s.rules[e.Signal], e.Signal+": "+e.Says
		switch {
		case r.role == estate.Trigger && e.Outcome == judge.Fail:
			f.fails = append(f.fails, line)
			if e.EValue > 0 {
				f.level = max(f.level, 1/e.EValue)
			}
		case r.required && e.Outcome != judge.Pass:
			if e.Problem != "" {
				line += " (" + e.Problem + ")"
			}
			f.open = append(f.open, line)
		case r.role == estate.Trigger && e.Stale:
			f.open = append(f.open, e.Signal+" has stopped: "+e.Problem+s.about(e.Signal))
		case r.role == estate.Trigger && thin(e, r.tolerance):
			f.open = append(f.open, fmt.Sprintf("%s: %d of %d on the new release, and too few on the old one to compare them with (%d of %d)",
				e.Signal, e.Canary.Failed, e.Canary.Requests, e.Stable.Failed, e.Stable.Requests))
		case r.role == estate.Trigger && e.Outcome == judge.Inconclusive && e.Now >= leans:
			f.holds = append(f.holds, line+", by what is known so far")
		case r.role == estate.Warning && e.Stands:
			if e.Signal == signal.LogErrors && len(s.news) > 0 {
				line += fmt.Sprintf("; new is: %s %s %s at %s", s.news[0].Logger, s.news[0].Text, s.news[0].Exception, s.news[0].Where)
			}
			f.holds = append(f.holds, line)
		case r.role == estate.Record && e.Outcome == judge.Fail:
			f.notes = append(f.notes, line)
		}
	}
	return f
}

// leans is evidence that does not take a release back yet, and with which no step goes on: in a good release
// it is that strong at one look in five at most, by Markov's inequality, and seldom for long.
const leans = 5

// A new release that fails fewFailures and more is not passed while the old one has made fewer than fewUnits of the
// same calls: more requests alone would never tell.
const (
	fewFailures = 5
	fewUnits    = 20
)

func thin(e judge.Evidence, tolerance float64) bool {
	if e.Outcome != judge.Inconclusive || e.Canary.Failed < fewFailures || e.Stable.Requests >= fewUnits {
		return false
	}
	old := 0.0
	if e.Stable.Requests > 0 {
		old = float64(e.Stable.Failed) / float64(e.Stable.Requests)
	}
	return float64(e.Canary.Failed)/float64(e.Canary.Requests) > old+tolerance
}

// about is what could not be used of a signal.
func (s *watch) about(name string) (says string) {
	for _, problem := range s.unused {
		if strings.Contains(problem, name) {
			says += "; " + problem
		}
	}
	return says
}

// silence says why nothing is known of a signal.
func (s *watch) silence() string {
	if s.kept.Absent != "" {
		return s.kept.Absent
	}
	for p, trouble := range s.trouble {
		if trouble != "" {
			return fmt.Sprintf("%s does not tell it: %s", judge.Pool(p), trouble)
		}
	}
	if s.kept.Signals == nil {
		return "the pools were not asked yet"
	}
	return "the pools know it not both; both know " + strings.Join(s.kept.Signals, ", ")
}

// asker remembers what came of asking a pool.
type asker struct {
	client *bridge.Client // nil: there is none
	err    error
}

var errNoPool = errors.New("the pool cannot be reached")

func (a *asker) Signals(ctx context.Context, database string) (told bridge.Signals, err error) {
	if a.err = errNoPool; a.client != nil {
		told, a.err = a.client.Signals(ctx, database)
	}
	return told, a.err
}

// server is a connection to the tenants' PostgreSQL server, made when it is first asked.
type server struct {
	url  string
	conn *pgx.Conn
}

func (s *server) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if s.conn != nil && s.conn.IsClosed() {
		s.conn = nil
	}
	if s.conn == nil {
		config, err := pgx.ParseConfig(s.url)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["application_name"] = "waybill"
		if s.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
			return nil, fmt.Errorf("connect to the tenants' server: %w", err)
		}
	}
	return s.conn.Query(ctx, sql, args...)
}

func (s *server) close(ctx context.Context) {
	if s.conn != nil {
		_ = s.conn.Close(context.WithoutCancel(ctx))
	}
}
