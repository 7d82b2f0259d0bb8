package promotion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/ring"
	"github.com/waybill-dev/waybill/internal/store"
)

// A rollout whose gates are open has its turn when its ring has room. Rings are those of the promotion's snapshot; how far they
// are is counted from the rollouts themselves. Nothing polls: whoever ends has the rings looked at.

// Rings are the rings of an environment, as the estate declares them.
func Rings(e estate.Environment) []ring.Ring {
	var rings []ring.Ring
	for _, r := range e.Rings {
		rings = append(rings, ring.Ring{Name: r.Name, After: r.After, AtOnce: r.AtOnce, Soak: r.Soak, Failures: r.Failures})
	}
	return rings
}

// turn lets a rollout go on whose ring has room, and else waits for that.
func (w *Work) turn(ctx context.Context, said string) (string, error) {
	if w.rollout.Ring == "" {
		return said, nil
	}
	rings := Rings(w.env.Environment)
	var now ring.Standing
	has := w.rollout.TurnAt != nil // before a kill
	if !has {
		var err error
		has, err = w.rooms.Store.TakeTurn(ctx, w.lease, w.promotion.ID, func(counts ring.Counts) bool {
			now = ring.Plan{Rings: rings, Counts: counts}.Standings(time.Now())[w.rollout.Ring]
			return now.State == ring.Goes && now.Free > 0
		})
		if err != nil {
			return "", err
		}
	}
	if has {
		return said + "; it is the turn of ring " + w.rollout.Ring, nil
	}
	if now.State == ring.Stopped {
		return "", &NeedsPerson{Reason: now.Why + "; " + w.tenant.Name + " and those that wait with it keep their release", Choices: []string{
			"mend what is wrong and try again, those that went back first: waybill promotion resume " + w.promotion.ID,
			"leave it at that: waybill promotion abandon " + w.promotion.ID,
		}}
	}
	wait := &Wait{Until: time.Now().Add(never), Reason: now.Why}
	if !now.Until.IsZero() {
		wait.Until = now.Until
	}
	return "", wait
}

// loseTurn says that a rollout which had all but its turn waits for something else now, so that another one may begin.
func (w *Work) loseTurn(ctx context.Context) error {
	if !w.rollout.TurnWaits && w.rollout.TurnAt == nil {
		return nil
	}
	waited, err := w.rooms.Store.LoseTurn(ctx, w.lease)
	if err != nil || !waited {
		return err
	}
	_, err = w.river.Insert(ctx, ringArgs{w.promotion.ID}, nil)
	return err
}

// ringArgs is the River job "look whose turn it is in this promotion".
type ringArgs struct {
	Promotion string `json:"promotion"`
}

func (ringArgs) Kind() string { return "rings" }

type ringWorker struct {
	river.WorkerDefaults[ringArgs]
	engine *Engine
}

// Timeout is in force for River's rescue of jobs, too.
func (w *ringWorker) Timeout(*river.Job[ringArgs]) time.Duration { return eventLimit }

// Work looks once for all who ended by now: hundreds may, at the same time.
func (w *ringWorker) Work(ctx context.Context, job *river.Job[ringArgs]) error {
	same := river.NewJobDeleteManyParams().Kinds(ringArgs{}.Kind()).States(rivertype.JobStateAvailable).
		Where("args->>'promotion' = @promotion", river.NamedArgs{"promotion": job.Args.Promotion})
	if _, err := w.engine.river.JobDeleteMany(ctx, same); err != nil {
		return err
	}
	return w.engine.nextTurns(ctx, job.Args.Promotion)
}

// ringsConcerned says in the transaction that ends a rollout, or stops it, that others may have their turn.
func (e *Engine) ringsConcerned(ctx context.Context, tx pgx.Tx, w *Work, next store.Rollout) error {
	if w.rollout.Ring == "" || next.State != store.Done && next.State != store.Waiting {
		return nil
	}
	_, err := e.river.InsertTx(ctx, tx, ringArgs{next.PromotionID}, nil)
	return err
}

// nextTurns wakes those whose turn it is, and tells the others what they wait for. Of a ring that has stopped one is woken, which
// asks a person for all.
func (e *Engine) nextTurns(ctx context.Context, promotion string) error {
	p, err := e.rooms.Store.Promotion(ctx, promotion)
	if err != nil || p.FinishedAt != nil {
		return err
	}
	var snapshot Snapshot
	if err := json.Unmarshal(p.Estate, &snapshot); err != nil {
		return fmt.Errorf("what is stored of promotion %s does not parse: %w", promotion, err)
	}
	counts, err := e.rooms.Store.RingCounts(ctx, promotion)
	if err != nil {
		return err
	}
	rings := Rings(snapshot.Environment)
	standings := ring.Plan{Rings: rings, Counts: counts}.Standings(time.Now())
	var wake []string
	stopped := ""
	for _, r := range rings {
		switch now := standings[r.Name]; now.State {
		case ring.Goes:
			ids, err := e.rooms.Store.Next(ctx, promotion, r.Name, now.Free)
			if err != nil {
				return err
			}
			wake = append(wake, ids...)
		case ring.Waits:
			if err := e.rooms.Store.WaitInRing(ctx, promotion, r.Name, now.Why, now.Until, r.AtOnce); err != nil {
				return err
			}
		case ring.Stopped:
			if err := e.rooms.Store.WaitInRing(ctx, promotion, r.Name, now.Why, time.Time{}, 0); err != nil {
				return err
			}
			if stopped == "" {
				stopped = r.Name
			}
		}
	}
	if stopped != "" {
		one, err := e.spokesman(ctx, promotion, rings, standings)
		if err != nil {
			return err
		}
		wake = append(wake, one...)
	}
	return e.rouse(ctx, wake)
}

// spokesman is one of those that wait in rings that have stopped, unless a person is asked already.
func (e *Engine) spokesman(ctx context.Context, promotion string, rings []ring.Ring, standings map[string]ring.Standing) ([]string, error) {
	rollouts, err := e.rooms.Store.Rollouts(ctx, promotion)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(rollouts, func(r store.Rollout) bool { return r.State == store.Waiting }) {
		return nil, nil
	}
	for _, r := range rings {
		if standings[r.Name].State != ring.Stopped {
			continue
		}
		if ids, err := e.rooms.Store.Next(ctx, promotion, r.Name, 1); err != nil || len(ids) > 0 {
			return ids, err
		}
	}
	return nil, nil
}

// ErrNothingToDo is returned where a promotion does not stand at what is asked for.
var ErrNothingToDo = errors.New("nothing to do")

// Resume lets a promotion go on that waits for a person. Where a ring of it has stopped, those that went back begin anew, and the
// release is let in again.
func (e *Engine) Resume(ctx context.Context, promotion, by string) error {
	p, err := e.rooms.Store.Promotion(ctx, promotion)
	if err != nil {
		return err
	}
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		again, err := e.rooms.Store.Reopen(ctx, tx, promotion)
		if err != nil {
			return err
		}
		if len(again) > 0 {
			lifted, err := e.rooms.Store.LiftQuarantineOf(ctx, tx, promotion)
			if err != nil {
				return err
			}
			if lifted {
				if err := ledger.Record(ctx, tx, ledger.Event{Actor: by, Kind: ledger.QuarantineLifted, Environment: p.Environment, Release: p.Release, Promotion: promotion,
					Payload: map[string]any{"release_name": p.ReleaseName, "reason": "its promotion is resumed"}}); err != nil {
					return err
				}
			}
		}
		waiting, err := e.rooms.Store.ResumeAll(ctx, tx, promotion)
		if err != nil {
			return err
		}
		if len(waiting)+len(again) == 0 {
			return fmt.Errorf("%w: promotion %s waits for nobody", ErrNothingToDo, promotion)
		}
		for _, r := range append(again, waiting...) {
			if err := ledger.Record(ctx, tx, ledger.Event{Actor: by, Kind: ledger.PromotionResumed, Environment: r.Environment, Tenant: r.Tenant, Promotion: promotion, Rollout: r.ID}); err != nil {
				return err
			}
			if err := e.enqueue(ctx, tx, r.ID, r.Epoch); err != nil {
				return err
			}
		}
		if err := e.rooms.Store.Conclude(ctx, tx, promotion); err != nil {
			return err
		}
		_, err = e.river.InsertTx(ctx, tx, ringArgs{promotion}, nil)
		return err
	})
}

// Abandon ends a promotion whose ring has stopped: those that have not had their turn keep their release.
func (e *Engine) Abandon(ctx context.Context, promotion, reason, by string) error {
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		left, err := e.rooms.Store.AbortUnturned(ctx, tx, promotion, "abandoned by "+by+": "+reason)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return fmt.Errorf("%w: no tenant of promotion %s waits for its turn", ErrNothingToDo, promotion)
		}
		for _, r := range left {
			if err := ledger.Record(ctx, tx, ledger.Event{Actor: by, Kind: ledger.PromotionAbandoned, Environment: r.Environment, Tenant: r.Tenant, Promotion: promotion, Rollout: r.ID,
				Payload: map[string]any{"reason": reason}}); err != nil {
				return err
			}
			if err := e.enqueue(ctx, tx, r.ID, r.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
}
