package promotion

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/store"
)

// changedArgs is the River job "look again at the gates that these events concern". No topic stands for all of them.
type changedArgs struct {
	Topics []string `json:"topics"`
}

func (changedArgs) Kind() string { return "gates" }

type gateWorker struct {
	river.WorkerDefaults[changedArgs]
	engine *Engine
}

// Timeout is in force for River's rescue of jobs, too.
func (w *gateWorker) Timeout(*river.Job[changedArgs]) time.Duration { return eventLimit }

func (w *gateWorker) Work(ctx context.Context, job *river.Job[changedArgs]) error {
	return w.engine.reconsider(ctx, job.Args.Topics)
}

// Changed says, in the transaction that changes it, that something happened that gates may wait for; see
// ApprovalTopic and the others. Those that it concerns are looked at again at once, and no others.
func (e *Engine) Changed(ctx context.Context, tx pgx.Tx, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	_, err := e.river.InsertTx(ctx, tx, changedArgs{topics}, nil)
	return err
}

// Happened is Changed for what was written elsewhere, and is there already.
func (e *Engine) Happened(ctx context.Context, topics ...string) error {
	if len(topics) == 0 {
		return nil
	}
	_, err := e.river.Insert(ctx, changedArgs{topics}, nil)
	return err
}

// lookAgain wakes every rollout that stands at a gate. A server does so once when it starts: what happened while
// none ran told nobody.
func (e *Engine) lookAgain(ctx context.Context) error {
	_, err := e.river.Insert(ctx, changedArgs{}, nil)
	return err
}

// reconsider evaluates the gates that events concern with what these have changed, all in one go. Only rollouts
// whose answer is no longer "wait" are woken; their step then finds out everything anew, and decides.
func (e *Engine) reconsider(ctx context.Context, topics []string) error {
	touched, err := e.rooms.Store.TouchGates(ctx, topics)
	if err != nil || len(touched) == 0 {
		return err
	}
	g := e.gatherer(ctx)
	g.many = true
	now := time.Now().UTC()
	var sleep []store.Gate
	var wake []string
	for _, t := range touched {
		if !t.Asleep { // its step counts the wake
			continue
		}
		again, err := e.again(g, &t, topics, now)
		switch {
		case err != nil:
			e.log.Warn("evaluate a gate again", "rollout", t.RolloutID, "error", err)
			wake = append(wake, t.RolloutID) // the step says what is wrong
		case again:
			sleep = append(sleep, t)
		default:
			wake = append(wake, t.RolloutID)
		}
	}
	slept, err := e.rooms.Store.SleepOn(ctx, sleep)
	if err != nil {
		return err
	}
	for _, t := range sleep { // two events at once each knew half: the step finds out everything
		if !slices.Contains(slept, t.RolloutID) {
			wake = append(wake, t.RolloutID)
		}
	}
	return e.rouse(ctx, wake)
}

// again evaluates one gate with its kept facts, renewed where an event was about them. waits is false where the
// step has to look: the answer is another, or the event was about what only a step finds out.
func (e *Engine) again(g *gatherer, t *store.Gate, topics []string, now time.Time) (waits bool, err error) {
	var facts gate.Facts
	if err := json.Unmarshal(t.Facts, &facts); err != nil {
		return false, fmt.Errorf("the facts that were kept do not parse: %w", err)
	}
	facts.Advance(now)
	if len(topics) == 0 || facts.Promotion.Emergency { // an emergency ends at a time that is no fact
		return false, nil
	}
	for _, topic := range topics {
		kind, name, _ := strings.Cut(topic, ":")
		switch {
		case kind == "approval" && name == facts.Promotion.ID:
			err = g.approval(facts.Promotion.ID, facts.Tenant.Name, &facts)
		case kind == "environment" && name == facts.Previous.Environment:
			err = g.previous(name, facts.Release.Digest, &facts)
		case kind == "approval" || kind == "environment":
		default:
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	set, err := g.set(t.Policies)
	if err != nil {
		return false, err
	}
	result := set.Evaluate(&facts)
	if result.Verdict != gate.Waits {
		return false, nil
	}
	at := wakeAt(result)
	t.WaitsFor, t.WakeAt = oneLine(result.Summary()), &at
	t.Facts, t.Result = encode(facts), encode(result)
	return true, nil
}

// set are policies as they were kept, compiled.
func (g *gatherer) set(kept json.RawMessage) (*gate.Set, error) {
	if set := g.sets[string(kept)]; set != nil {
		return set, nil
	}
	var policies []estate.Policy
	if err := json.Unmarshal(kept, &policies); err != nil {
		return nil, fmt.Errorf("the policies that were kept do not parse: %w", err)
	}
	set, err := g.rules.Compile(policies)
	if err == nil {
		g.sets[string(kept)] = set
	}
	return set, err
}

// rouse lets rollouts go on now, each with a job of its own in the same transaction.
func (e *Engine) rouse(ctx context.Context, rollouts []string) error {
	if len(rollouts) == 0 {
		return nil
	}
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		leases, err := e.rooms.Store.Wake(ctx, tx, rollouts)
		if err != nil || len(leases) == 0 {
			return err
		}
		var jobs []river.InsertManyParams
		for _, l := range leases {
			jobs = append(jobs, river.InsertManyParams{Args: advanceArgs{l.Rollout, l.Epoch}, InsertOpts: &river.InsertOpts{MaxAttempts: 1}})
		}
		_, err = e.river.InsertManyTx(ctx, tx, jobs)
		return err
	})
}

// concerns are the topics of what a rollout that has ended may have changed.
func (w *Work) concerns(next store.Rollout) []string {
	if next.State != store.Done {
		return nil
	}
	var topics []string
	switch w.promotion.Kind {
	case KindPromote, KindConfiguration, KindRollback, KindRestore, KindCreate, KindSuspend, KindResume, KindDelete, KindUndelete, KindPurge, KindRotate, KindMove, KindRename:
		topics = append(topics, EnvironmentTopic(next.Environment))
	}
	if w.memory.Checkpoint != "" || w.memory.FenceCheckpoint != "" {
		topics = append(topics, CheckpointTopic(next.Environment, next.Tenant))
	}
	return topics
}
