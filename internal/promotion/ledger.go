package promotion

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/store"
)

// recordAsked writes to the ledger that a promotion was asked for.
func recordAsked(ctx context.Context, tx pgx.Tx, p store.Promotion, q Request, s Snapshot) error {
	tenants := make([]string, len(s.Tenants))
	for i, t := range s.Tenants {
		tenants[i] = t.Name
	}
	return ledger.Record(ctx, tx, ledger.Event{Actor: q.By, Kind: ledger.PromotionAsked, Environment: p.Environment, Promotion: p.ID, Release: p.Release, Payload: map[string]any{
		"kind": p.Kind, "release_name": p.ReleaseName, "tenants": tenants, "options": q.Options, "estate_commit": p.EstateCommit,
	}})
}

// recorded is what the ledger is told of a step.
type recorded struct {
	Step    string          `json:"step"`
	Undo    bool            `json:"undo,omitempty"`
	Outcome string          `json:"outcome"`
	Detail  string          `json:"detail,omitempty"`
	Attempt int             `json:"attempt,omitempty"` // failed tries before this one
	Skipped []store.Skipped `json:"skipped,omitempty"` // steps before this one that did not apply
	Server  string          `json:"server"`            // among its replicas
}

// recordStep writes to the ledger what came of a step. One that goes on waiting for the same is told once.
func (e *Engine) recordStep(ctx context.Context, tx pgx.Tx, w *Work, seq int64, outcome, detail string) error {
	if seq == 0 {
		return nil
	}
	if outcome == "waits" {
		var before string
		if err := tx.QueryRow(ctx, "select coalesce((select case when outcome = 'waits' and name = $3 then detail end from steps where rollout_id = $1 and seq < $2 order by seq desc limit 1), '')",
			w.rollout.ID, seq, w.doing).Scan(&before); err != nil || before == detail {
			return err
		}
	}
	event := w.event(ledger.RolloutStep, recorded{Step: w.doing, Undo: w.undoing, Outcome: outcome, Detail: detail, Attempt: w.rollout.Attempt, Skipped: w.skipped, Server: e.holder})
	if w.doing == "admit" && outcome == "failed" {
		event.Kind = ledger.AdmissionRefused
	}
	return ledger.Record(ctx, tx, event)
}

// recordTurn writes to the ledger where a rollout stands after a turn, when it has ended or needs a person.
func (e *Engine) recordTurn(ctx context.Context, tx pgx.Tx, w *Work, next store.Rollout) error {
	m := w.memory
	switch next.State {
	case store.Waiting:
		return ledger.Record(ctx, tx, w.event(ledger.RolloutWaits, map[string]any{"reason": next.Reason}))
	case store.Done:
		return ledger.Record(ctx, tx, w.event(ledger.RolloutEnded, map[string]any{
			"outcome": next.Outcome, "reason": next.Reason, "class": m.Plan.Class, "rehearsal": m.Plan.Rehearsal,
			"held_seconds": next.HeldSeconds, "predicted_seconds": m.Plan.PredictedSeconds,
			"checkpoint": m.Checkpoint, "fence_checkpoint": m.FenceCheckpoint, "release_before": m.OldRelease,
		}))
	}
	return nil
}

// recordConclusion writes to the ledger that the last rollout of a promotion has ended.
func (e *Engine) recordConclusion(ctx context.Context, tx pgx.Tx, w *Work) error {
	var finished *time.Time
	var outcome string
	if err := tx.QueryRow(ctx, "select finished_at, outcome from promotions where id = $1", w.promotion.ID).Scan(&finished, &outcome); err != nil || finished == nil {
		return err
	}
	event := w.event(ledger.PromotionEnded, map[string]any{"kind": w.promotion.Kind, "outcome": outcome, "release_name": w.promotion.ReleaseName})
	event.Tenant, event.Rollout = "", ""
	return ledger.Record(ctx, tx, event)
}

func (w *Work) event(kind string, payload any) ledger.Event {
	digest := w.memory.Release
	if digest == "" {
		digest = w.promotion.Release
	}
	return ledger.Event{Kind: kind, Environment: w.rollout.Environment, Tenant: w.rollout.Tenant, Promotion: w.promotion.ID, Rollout: w.rollout.ID, Release: digest, Payload: payload}
}
