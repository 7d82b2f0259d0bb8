package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store"
)

// A lease is short, so that another server, or this one after a restart, goes on within seconds.
var (
	leaseTime  = 4 * time.Second
	heartbeat  = time.Second
	sweepEvery = 500 * time.Millisecond
)

const (
	// sweepAgain is how soon a rollout may be put back to work once more. There must be an end to it:
	// a job of the same epoch that found the lease taken is done, and one whose server died before it
	// took the lease is "running" for River's rescue time of an hour. The epoch makes doubles harmless.
	sweepAgain = time.Second
	// eventLimit is how long it may take to look at what an event concerns. A job that tells of one is given to
	// another server when it has not ended by then: whoever had it was killed.
	eventLimit = time.Minute
)

// advanceArgs is the River job "do the next step of this rollout". The epoch makes every
// job valid once: one that was overtaken finds another epoch and does nothing.
type advanceArgs struct {
	Rollout string `json:"rollout" river:"unique"`
	Epoch   int64  `json:"epoch" river:"unique"`
}

func (advanceArgs) Kind() string { return "advance" }

type worker struct {
	river.WorkerDefaults[advanceArgs]
	engine *Engine
}

func (w *worker) Work(ctx context.Context, job *river.Job[advanceArgs]) error {
	return w.engine.advance(ctx, job.Args.Rollout, job.Args.Epoch)
}

// Timeout is none: a step bounds itself, and its lease tells whether it still lives.
func (w *worker) Timeout(*river.Job[advanceArgs]) time.Duration { return -1 }

// Engine carries rollouts through their procedures, a step a job.
type Engine struct {
	rooms  Rooms
	river  *river.Client[pgx.Tx]
	holder string
	log    *slog.Logger
	rules  gate.Evaluator     // compiled policies
	fault  func(point string) // called at step boundaries and inside steps; tests kill the server there
	told   together           // what routers and pools are told

	mu     sync.Mutex
	atWork map[string]chan struct{} // rollouts that this server works on; closed when the step has ended
}

// New makes an engine; holder names this server among its replicas.
func New(rooms Rooms, holder string, log *slog.Logger, fault func(point string)) (*Engine, error) {
	if fault == nil {
		fault = func(string) {}
	}
	e := &Engine{rooms: rooms, holder: holder, log: log, fault: fault, atWork: map[string]chan struct{}{}}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker{engine: e})
	river.AddWorker(workers, &gateWorker{engine: e})
	river.AddWorker(workers, &ringWorker{engine: e})
	river.AddWorker(workers, &kinWorker{engine: e})
	river.AddWorker(workers, &besideWorker{engine: e})
	river.AddWorker(workers, &purgeWorker{engine: e})
	client, err := river.NewClient(riverpgxv5.New(rooms.Store.Pool), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16}},
		Workers:           workers,
		FetchCooldown:     5 * time.Millisecond,
		FetchPollInterval: 500 * time.Millisecond,
		JobTimeout:        -1,

		RescueStuckJobsAfter: eventLimit,

		Logger: slog.New(quiet{log.Handler()}),
	})
	if err != nil {
		return nil, err
	}
	e.river = client
	return e, nil
}

// Run works until ctx is done, then lets the steps under way stop and gives their leases back.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.river.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if err := e.lookAgain(ctx); err != nil && ctx.Err() == nil {
		e.log.Warn("look again at the gates", "error", err)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
			defer cancel()
			return e.river.StopAndCancel(stop)
		case <-tick.C:
			if err := e.sweep(ctx); err != nil && ctx.Err() == nil {
				e.log.Warn("look for rollouts that nobody works on", "error", err)
			}
		}
	}
}

// sweep puts rollouts back to work that are due and that nobody works on: those that waited for a
// time, and those whose server died.
func (e *Engine) sweep(ctx context.Context) error {
	orphans, err := e.rooms.Store.Orphans(ctx)
	if err != nil {
		return err
	}
	for _, o := range orphans {
		if e.isAtWork(o.Rollout) { // our own lease ran out while the database was away; the heartbeat renews it
			continue
		}
		if _, err := e.river.Insert(ctx, advanceArgs{o.Rollout, o.Epoch}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: sweepAgain}}); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) enqueue(ctx context.Context, tx pgx.Tx, rollout string, epoch int64) error {
	_, err := e.river.InsertTx(ctx, tx, advanceArgs{rollout, epoch}, &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true}})
	return err
}

// enqueuedAtOnce bounds a statement that writes jobs down.
const enqueuedAtOnce = 1000

func (e *Engine) enqueueAll(ctx context.Context, tx pgx.Tx, rollouts []store.Rollout) error {
	jobs := make([]river.InsertManyParams, len(rollouts))
	for i, r := range rollouts {
		jobs[i] = river.InsertManyParams{Args: advanceArgs{r.ID, r.Epoch}, InsertOpts: &river.InsertOpts{MaxAttempts: 1, UniqueOpts: river.UniqueOpts{ByArgs: true}}}
	}
	for chunk := range slices.Chunk(jobs, enqueuedAtOnce) {
		if _, err := e.river.InsertManyTx(ctx, tx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) isAtWork(rollout string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.atWork[rollout] != nil
}

// take marks a rollout as worked on by this server, after the step before has ended: that one's last
// act was to commit the job for this one. done unmarks it.
func (e *Engine) take(ctx context.Context, rollout string) (done func(), err error) {
	for {
		e.mu.Lock()
		before := e.atWork[rollout]
		if before == nil {
			ended := make(chan struct{})
			e.atWork[rollout] = ended
			e.mu.Unlock()
			return func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				delete(e.atWork, rollout)
				close(ended)
			}, nil
		}
		e.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// advance does one step of a rollout, forward or back, and commits its result together with the
// job for the next one.
func (e *Engine) advance(ctx context.Context, rollout string, epoch int64) error {
	done, err := e.take(ctx, rollout)
	if err != nil {
		return err
	}
	defer done()
	r, ok, err := e.rooms.Store.Acquire(ctx, rollout, epoch, e.holder, leaseTime)
	if err != nil || !ok {
		return err
	}
	lease := store.Lease{Rollout: r.ID, Epoch: r.Epoch}
	stepCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		e.beat(stepCtx, lease, r.State == store.Running, cancel)
	}()
	defer func() { cancel(nil); <-beating }()

	work, err := e.newWork(stepCtx, r, lease)
	if err != nil {
		e.log.Error("take up a rollout", "rollout", r.ID, "error", err)
		return e.giveBack(ctx, lease, r)
	}
	procedure, ok := procedures[work.promotion.Kind]
	if !ok {
		return e.giveBack(ctx, lease, r)
	}
	if r.State == store.Undoing {
		return e.back(ctx, stepCtx, work, procedure, r)
	}
	if r.Abort != "" {
		next := r
		next.State, next.Undo, next.Reason, next.Attempt = store.Undoing, true, "a person asked to go back: "+r.Abort, 0
		e.holdBack(work, &next)
		return e.commit(ctx, work, 0, "", "", next)
	}
	return e.forward(ctx, stepCtx, work, procedure, r)
}

// beat prolongs the lease while a step works. It ends the step when the lease is lost or a
// person asks to go back.
func (e *Engine) beat(ctx context.Context, lease store.Lease, abortable bool, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			abort, err := e.rooms.Store.Heartbeat(ctx, lease, leaseTime)
			switch {
			case errors.Is(err, store.ErrFenced):
				cancel(store.ErrFenced)
				return
			case err == nil && abort != "" && abortable:
				cancel(errAborted)
				return
			}
		}
	}
}

// forward does the step that the rollout stands at, after noting those that do not apply.
func (e *Engine) forward(ctx, stepCtx context.Context, w *Work, procedure []Step, r store.Rollout) error {
	var skipped []store.Skipped
	index := r.Step
	for ; index < len(procedure); index++ {
		if applies, why := procedure[index].applies(w); applies {
			break
		} else if why != "" {
			skipped = append(skipped, store.Skipped{Name: procedure[index].Name, Why: why})
		}
	}
	next := r
	next.Step = index
	if index == len(procedure) {
		next.State, next.Outcome = store.Done, store.Promoted
		return e.commit(ctx, w, 0, "", "", next, skipped...)
	}
	step := procedure[index]
	seq, err := e.rooms.Store.BeginStep(stepCtx, w.lease, step.Name, false, index, skipped...)
	if err != nil {
		return e.giveBack(ctx, w.lease, r)
	}
	w.seq, w.doing, w.skipped = seq, step.Name, skipped
	stepCtx = w.watched(stepCtx)
	e.fault("before:" + step.Name)
	bounded, done := w.withinHold(stepCtx, step)
	detail, err := step.Do(bounded, w)
	err = w.explain(ctx, stepCtx, bounded, err)
	done()
	if errors.Is(err, store.ErrFenced) {
		return nil
	}
	next.Memory = w.encodedMemory()
	next.HeldSeconds = w.memory.HeldSeconds
	var wait *Wait
	var fail *Failed
	var person *NeedsPerson
	outcome := "done"
	switch {
	case err == nil:
		next.Step, next.Attempt = index+1, 0
		if next.Step == len(procedure) {
			next.State, next.Outcome = store.Done, store.Promoted
		}
	case errors.Is(err, errInterrupted):
		outcome, detail = "interrupted", "the server stopped"
	case errors.As(err, &wait):
		outcome, detail = "waits", wait.Reason
		next.WakeAt, next.WaitsFor = &wait.Until, wait.Reason
	case errors.As(err, &person):
		outcome, detail = "waits", person.Error()
		next.State, next.Outcome, next.Reason = store.Waiting, store.WaitingForPerson, person.Error()
	case errors.As(err, &fail) || r.Attempt >= len(pauses):
		outcome, detail = "failed", oneLine(err.Error())
		next.State, next.Undo, next.Attempt = store.Undoing, true, 0
		next.Reason = step.Name + ": " + oneLine(err.Error())
		e.holdBack(w, &next)
	default:
		outcome, detail = "retried", oneLine(err.Error())
		next.Attempt++
		at := time.Now().Add(pauses[r.Attempt])
		next.WakeAt, next.WaitsFor = &at, "tries again: "+detail
	}
	e.fault("after:" + step.Name)
	return e.commit(ctx, w, seq, outcome, detail, next)
}

// holdBack keeps a rollout from going back over the point after which a restore would lose what
// people have written since: there, only a person's word will do.
func (e *Engine) holdBack(w *Work, next *store.Rollout) {
	if !w.memory.NoReturn || next.State != store.Undoing || w.rollout.AcceptLoss {
		return
	}
	next.State, next.Outcome = store.Waiting, store.WaitingForPerson
	next.Undo = false
	next.Reason = oneLine((&NeedsPerson{
		Reason: next.Reason + ". The new release has served requests since " + w.memory.ReleasedAt.Format(time.RFC3339) +
			"; going back restores checkpoint " + w.memory.FenceCheckpoint + " and loses everything written since then",
		Choices: []string{
			"keep the new release: waybill promotion resume " + w.promotion.ID,
			"go back and lose it: waybill rollback " + w.promotion.ID + " --accept-loss",
		},
	}).Error())
}

// back undoes the step that the rollout stands at.
func (e *Engine) back(ctx, stepCtx context.Context, w *Work, procedure []Step, r store.Rollout) error {
	next := r
	index := min(r.Step, len(procedure)-1)
	for ; index >= 0; index-- {
		if applies, _ := procedure[index].applies(w); applies && procedure[index].Undo != nil {
			break
		}
	}
	if index < 0 {
		next.State, next.Outcome, next.Step = store.Done, store.RolledBack, 0
		return e.commit(ctx, w, 0, "", "", next)
	}
	step := procedure[index]
	seq, err := e.rooms.Store.BeginStep(stepCtx, w.lease, step.Name, true, index)
	if err != nil {
		return e.giveBack(ctx, w.lease, r)
	}
	w.seq, w.doing, w.undoing = seq, step.Name, true
	stepCtx = w.watched(stepCtx)
	e.fault("before-undo:" + step.Name)
	detail, err := step.Undo(stepCtx, w)
	err = w.explain(ctx, stepCtx, stepCtx, err)
	if errors.Is(err, store.ErrFenced) {
		return nil
	}
	next.Memory, next.HeldSeconds = w.encodedMemory(), w.memory.HeldSeconds
	next.Step = index
	outcome := "done"
	var person *NeedsPerson
	switch {
	case err == nil:
		next.Step, next.Attempt = index-1, 0
		if next.Step < 0 {
			next.State, next.Outcome, next.Step = store.Done, store.RolledBack, 0
		}
	case errors.Is(err, errInterrupted):
		outcome, detail = "interrupted", "the server stopped"
	case errors.As(err, &person) || r.Attempt >= undoTries:
		outcome, detail = "waits", oneLine(err.Error())
		next.State, next.Outcome = store.Waiting, store.WaitingForPerson
		next.Reason = oneLine(fmt.Sprintf("%s; undoing %s did not succeed: %v — repair the cause, then: waybill promotion resume %s", r.Reason, step.Name, err, w.promotion.ID))
	default:
		outcome, detail = "retried", oneLine(err.Error())
		next.Attempt++
		at := time.Now().Add(undoPause(r.Attempt))
		next.WakeAt, next.WaitsFor = &at, "tries again: "+detail
	}
	e.fault("after-undo:" + step.Name)
	return e.commit(ctx, w, seq, outcome, detail, next)
}

// commit writes a step's result and the job for the next step in one transaction. It outlives
// a stop of the server and a short absence of the database, for as long as the lease is ours.
func (e *Engine) commit(ctx context.Context, w *Work, seq int64, outcome, detail string, next store.Rollout, skipped ...store.Skipped) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 60*time.Second)
	defer cancel()
	for {
		err := e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
			if err := e.rooms.Store.EndStep(ctx, tx, w.lease, seq, outcome, detail, next, skipped...); err != nil {
				return err
			}
			if err := e.recordStep(ctx, tx, w, seq, outcome, detail); err != nil {
				return err
			}
			if err := e.recordTurn(ctx, tx, w, next); err != nil {
				return err
			}
			if next.State == store.Done && next.Outcome == store.RolledBack && w.promotion.Kind == KindPromote && !w.memory.NotAdmitted {
				if err := e.rooms.Store.Quarantine(ctx, tx, next.Environment, w.promotion.Release, w.promotion.ID, next.Reason); err != nil {
					return err
				}
				if err := ledger.Record(ctx, tx, w.event(ledger.QuarantineSet, map[string]any{"reason": next.Reason})); err != nil {
					return err
				}
			}
			if err := e.announce(ctx, tx, w, next); err != nil {
				return err
			}
			if next.State == store.Done || next.State == store.Waiting || next.Outcome == "" {
				if err := e.rooms.Store.Conclude(ctx, tx, next.PromotionID); err != nil {
					return err
				}
			}
			if next.State == store.Done {
				if err := e.recordConclusion(ctx, tx, w); err != nil {
					return err
				}
				if err := e.callForReview(ctx, tx, w); err != nil {
					return err
				}
				if err := e.rooms.Store.QueueReversal(ctx, tx, next.PromotionID); err != nil {
					return err
				}
			}
			if err := e.Changed(ctx, tx, w.concerns(next)...); err != nil {
				return err
			}
			if err := e.ringsConcerned(ctx, tx, w, next); err != nil {
				return err
			}
			if err := e.kinConcerned(ctx, tx, w, next); err != nil {
				return err
			}
			if (next.State == store.Running || next.State == store.Undoing) && next.WakeAt == nil {
				return e.enqueue(ctx, tx, next.ID, w.lease.Epoch)
			}
			return nil
		})
		if err == nil {
			w.tellWatch(ctx, outcome, detail, next)
			if next.State == store.Done && e.rooms.Ended != nil {
				e.rooms.Ended()
			}
		}
		if err == nil || errors.Is(err, store.ErrFenced) || ctx.Err() != nil {
			return err
		}
		e.log.Warn("write down a step's result", "rollout", next.ID, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// giveBack frees the lease without having done anything; the sweep takes the rollout up again.
func (e *Engine) giveBack(ctx context.Context, lease store.Lease, r store.Rollout) error {
	at := time.Now().Add(time.Second)
	r.WakeAt = &at
	return e.rooms.Store.In(context.WithoutCancel(ctx), func(tx pgx.Tx) error {
		return e.rooms.Store.EndStep(ctx, tx, lease, 0, "", "", r)
	})
}

func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil { // only plain data is ever passed
		panic(err)
	}
	return data
}

// quiet passes on River's warnings only: what it does all day says nothing about releases.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
