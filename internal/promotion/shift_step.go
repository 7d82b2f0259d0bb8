package promotion

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/judge"
	"github.com/waybill-dev/waybill/internal/signal"
)

// stepWatch is everything that is looked at while a weight is in force.
type stepWatch struct {
	*Work
	weight    int
	rollout   estate.Rollout
	signals   *watch
	askers    [2]*asker
	database  *server
	redis     *redis.Client // nil where the environment names none
	collector *signal.Collector
	before    bothPools // when the signals were read last
	flows     *flowRounds
	begun     time.Time
	kept      time.Time // when the memory was
	requests  judge.Verdict
	counts    judge.Pair
	findings  findings
}

// judgeStep watches a weight until the evidence suffices.
func (w *Work) judgeStep(ctx context.Context, weight int) (string, error) {
	old, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, w.memory.OldPool)
	if err != nil {
		return "", fmt.Errorf("look up pool %s, which serves %s: %w", w.memory.OldPool, w.tenant.Name, err)
	}
	s := &stepWatch{Work: w, weight: weight, rollout: alike(w.env.Environment.Rollout, old.Workers, w.env.Environment.Workers), askers: [2]*asker{{}, {}}}
	s.sources()
	if err := s.begin(ctx); err != nil {
		return "", err
	}
	inner, stop := context.WithCancel(ctx)
	beside := ""
	if comparesDurations(s.rollout) {
		beside = w.memory.OldPool
	}
	s.flows = watchFlows(inner, w, beside)
	defer func() {
		stop()
		<-s.flows.ended
		for _, a := range s.askers {
			if a.client != nil {
				a.client.Close()
			}
		}
		s.database.close(ctx)
		if s.redis != nil {
			_ = s.redis.Close()
		}
	}()
	for {
		if err := s.look(ctx); err != nil {
			return "", err
		}
		done, detail, err := s.decide(ctx, time.Now().UTC())
		if done || err != nil {
			return detail, err
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return "", err
		}
	}
}

// sources are where the signals come from.
func (s *stepWatch) sources() {
	sources := []signal.Source{signal.FromBridge(s.state.Database, s.askers[judge.Stable], s.askers[judge.Canary])}
	s.database = &server{}
	if s.place.AdminURL != nil {
		s.database.url = s.place.AdminURL("postgres")
		environment := s.Work.rollout.Environment
		sources = append(sources, signal.FromPostgres(s.database, s.state.Database, poolRole(environment, s.memory.OldPool), poolRole(environment, s.memory.NewPool)))
	}
	if options := s.place.Redis; options != nil {
		s.redis = redis.NewClient(options)
		sources = append(sources, signal.FromRedis(s.redis))
	}
	s.collector = signal.NewCollector(func() time.Time { return time.Now().UTC() }, sources...)
}

// begin takes up the evidence where it stands.
func (s *stepWatch) begin(ctx context.Context) error {
	now, started, err := s.read(ctx)
	if err != nil {
		return err
	}
	if !s.memory.Shift.begun(started) { // a router that restarted counts from 0 again
		s.memory.Shift = s.memory.Shift.begin(time.Now().UTC(), started, now)
	}
	if s.memory.Shift.Watch == nil { // kept by an older server
		s.memory.Shift.Watch = &keptWatch{}
	}
	if s.signals, err = newWatch(s.rollout, s.workers(ctx), s.memory.Shift.Watch); err != nil {
		return err
	}
	s.begun = time.Now().UTC()
	s.signals.heard = [2]time.Time{s.begun, s.begun} // a silence begins now
	return s.keep(ctx, s.begun)
}

// workers are those of all pods of the new pool: each has caches of its own.
func (s *stepWatch) workers(ctx context.Context) int {
	workers := max(s.env.Environment.Workers, 1)
	if state, err := s.place.Runtime.Pool(ctx, s.Work.rollout.Environment, s.memory.NewPool); err == nil {
		workers *= len(bridges(state))
	}
	return workers
}

func (s *stepWatch) keep(ctx context.Context, at time.Time) error {
	s.kept = at
	if err := s.signals.keep(); err != nil {
		return err
	}
	return s.remember(ctx)
}

// look reads everything once.
func (s *stepWatch) look(ctx context.Context) error {
	now, started, err := s.read(ctx)
	if err != nil {
		return err
	}
	at := time.Now().UTC()
	if !s.memory.Shift.begun(started) {
		s.memory.Shift = s.memory.Shift.begin(at, started, now)
		if err := s.keep(ctx, at); err != nil {
			return err
		}
	}
	base := s.memory.Shift
	base.Compared.Read(at, judge.Pair{Canary: judge.Counts(now.New), Stable: judge.Counts(now.Old)})
	if s.signals.due(at) {
		if err := s.collect(ctx, now, started); err != nil {
			return err
		}
	}
	s.counts = judge.Pair{Canary: judge.Counts(now.New.minus(base.New)), Stable: judge.Counts(now.Old.minus(base.Old))}
	if at.Sub(s.kept) >= rememberEvery {
		return s.keep(ctx, at)
	}
	return nil
}

// collect reads the signals of both pools once.
func (s *stepWatch) collect(ctx context.Context, now bothPools, routerStarted time.Time) error {
	for p, name := range [2]string{judge.Stable: s.memory.OldPool, judge.Canary: s.memory.NewPool} {
		if a := s.askers[p]; a.client == nil {
			if client, err := s.bridge(ctx, name); err == nil {
				a.client = client
			}
		}
	}
	// The canary's share of the requests since the look before, or what it should be where there was none.
	weight := float64(s.weight) / 100
	old, fresh := now.Old.Requests-s.before.Old.Requests, now.New.Requests-s.before.New.Requests
	if s.before.OldTook != nil && old >= 0 && fresh >= 0 && old+fresh > 0 {
		weight = float64(fresh) / float64(old+fresh)
	}
	s.before = now
	seen := s.collector.Collect(ctx, weight)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	at := time.Now().UTC()
	for p, took := range [][]int64{judge.Stable: now.OldTook, judge.Canary: now.NewTook} {
		seen.Observations = append(seen.Observations, judge.Observation{Signal: signal.RequestsSeconds, Pool: judge.Pool(p), At: at, Source: routerStarted.UnixNano(), Buckets: took})
	}
	var errs [2]error
	for p, a := range s.askers {
		errs[p] = a.err
		if a.err != nil && a.client != nil { // it may have been started anew, at another address
			a.client.Close()
			a.client = nil
		}
	}
	return s.signals.look(at, seen, errs)
}

// decide says what the evidence says now: done with a detail is PASS, an error ends the step otherwise.
func (s *stepWatch) decide(ctx context.Context, at time.Time) (done bool, detail string, err error) {
	flows, err := s.flows.latest()
	if err != nil {
		return false, "", err
	}
	base := s.memory.Shift
	late := at.Sub(base.Since) > s.rollout.StepDeadline
	s.requests = judge.Step(judge.StepInput{
		Stable: s.counts.Stable, Canary: s.counts.Canary,
		Ready: flows.ready || flows.rounds == 0, FlowFailure: flows.failure,
		MinRequests: int64(s.rollout.Requests), Tolerance: s.rollout.MaxErrorRate,
		DeadlinePassed: late,
		Compared:       base.Compared, Alpha: s.rollout.Chance() / 2,
	})
	s.findings = s.signals.findings(at)
	switch {
	case s.requests.Outcome == judge.Fail:
		return true, "", s.conclude(ctx, at, flows, judge.Fail, s.requests.Evidence)
	case len(s.findings.fails) > 0:
		return true, "", s.conclude(ctx, at, flows, judge.Fail, s.failure())
	}
	missing := s.missing(flows)
	says := s.says(flows)
	switch {
	case len(missing) == 0 && len(s.findings.holds) == 0:
		return true, says, s.conclude(ctx, at, flows, judge.Pass, says)
	case len(missing) == 0 && late && s.rollout.AtDeadline != estate.Ask: // a warning is no reason to go back
		says += "; it waited until the deadline, for: " + strings.Join(s.findings.holds, "; ")
		return true, says, s.conclude(ctx, at, flows, judge.Pass, says)
	}
	waits := append(missing, prefixed("worse, so the step waits: ", s.findings.holds)...)
	if !late {
		s.note(ctx, "%d %%: %s; %s", s.weight, says, strings.Join(waits, "; "))
		return false, "", nil
	}
	return true, "", s.conclude(ctx, at, flows, judge.Inconclusive, says+"; "+strings.Join(waits, "; "))
}

// missing is what must be known before the step may pass, and is not.
func (s *stepWatch) missing(flows flowState) (missing []string) {
	if flows.rounds == 0 {
		missing = append(missing, "the flows are running")
	}
	lacks := func(real, want int64) bool { // flows may stand for what is missing, where the estate says so
		return real < want && !(s.rollout.Synthetic && real+flows.passed >= want)
	}
	quiet := s.requests.Outcome == judge.Inconclusive && s.counts.Canary.Failed == 0 && s.counts.Canary.Requests < max(int64(s.rollout.Requests), 1)
	switch {
	case s.requests.Outcome == judge.Pass:
	case quiet && s.rollout.Synthetic && flows.passed > 0:
		if lacks(s.counts.Canary.Requests, int64(s.rollout.Requests)) {
			missing = append(missing, fmt.Sprintf("%d requests or flows are asked for", s.rollout.Requests))
		}
	default:
		missing = append(missing, "the requests do not suffice yet")
	}
	if lacks(s.memory.Shift.Watch.Events, int64(s.rollout.Events)) {
		missing = append(missing, fmt.Sprintf("%d business calls on the new release are asked for", s.rollout.Events))
	}
	if kept := s.memory.Shift.Watch; kept.Signals == nil && kept.Absent == "" && time.Since(s.begun) < signalsStale {
		missing = append(missing, "the business signals were not heard of yet")
	}
	return append(missing, s.findings.open...)
}

// says is what was seen, on one line.
func (s *stepWatch) says(flows flowState) string {
	line := s.requests.Evidence
	switch kept := s.memory.Shift.Watch; {
	case kept.Absent != "":
		line += "; " + kept.Absent
	case s.signals.judge != nil && len(s.findings.holds)+len(s.findings.notes) == 0:
		line += fmt.Sprintf("; business calls on the new release: %d, none of %d signals is worse", kept.Events, len(s.findings.all))
	case s.signals.judge != nil:
		line += fmt.Sprintf("; business calls on the new release: %d", kept.Events)
	case kept.Signals == nil:
		line += "; business signals were not heard of: " + s.signals.silence()
	}
	if s.rollout.Synthetic {
		line += fmt.Sprintf("; flows passed: %d (synthetic)", flows.passed)
	}
	for _, note := range s.findings.notes {
		word := "worse"
		if strings.Contains(note, signal.CallSeconds+":") {
			word = "slower"
		}
		line += fmt.Sprintf("; %s, which is recorded and no reason to go back: %s", word, note)
	}
	return line
}

// failure is why the business signals take the release back.
func (s *stepWatch) failure() string {
	line := strings.Join(s.findings.fails, "; ")
	if s.findings.level > 0 {
		line += fmt.Sprintf("; chance does not explain it: a good release looks so bad in fewer than %.2g %% of all rollouts", 100*s.findings.level)
	}
	return line
}

func prefixed(prefix string, list []string) (out []string) {
	for _, s := range list {
		out = append(out, prefix+s)
	}
	return out
}

// conclude writes the verdict down, and says what it means for the rollout.
func (s *stepWatch) conclude(ctx context.Context, at time.Time, flows flowState, outcome judge.Outcome, says string) error {
	if err := s.signals.keep(); err != nil {
		return err
	}
	s.memory.Shift.Watch.Usual = usualCalls(s.findings.all)
	v := s.verdict(at, flows, outcome, says)
	if err := s.rooms.Store.PutVerdict(ctx, s.lease, v.Stage, string(outcome), oneLine(says), v); err != nil {
		return err
	}
	switch {
	case outcome == judge.Pass:
		return nil
	case outcome == judge.Fail:
		return failed("at %d %% of the traffic: %s", s.weight, says)
	case s.rollout.AtDeadline != estate.Ask:
		return failed("at %d %% of the traffic no verdict within %s: %s. Without evidence nothing goes on", s.weight, s.rollout.StepDeadline, says)
	}
	s.memory.Shift = s.memory.Shift.next()
	return &NeedsPerson{
		Reason: fmt.Sprintf("at %d %% of the traffic no verdict within %s: %s. The old release has all the traffic until then", s.weight, s.rollout.StepDeadline, says),
		Choices: []string{
			"watch it for as long once more: waybill promotion resume " + s.promotion.ID,
			"go back: waybill rollback " + s.promotion.ID,
		},
	}
}
