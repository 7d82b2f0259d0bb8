package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/store"
)

// The ways back.
const (
	backNone     = "none"     // there is nothing to take back
	backUndo     = "undo"     // it is under way: what was done is undone, and nothing is lost
	backRoute    = "route"    // the release before works on the database as it is
	backRestore  = "restore"  // it does not: a checkpoint is restored
	backSettings = "settings" // the release stays, its settings are as before
)

// TakeBack is what taking a promotion back would do now, and what it would cost.
type TakeBack struct {
	How        string     `json:"how" enum:"none,undo,route,restore,settings"`
	Says       string     `json:"says" doc:"What would happen, or why nothing can"`
	Cost       string     `json:"cost" doc:"What it costs those who work; empty where nothing happens"`
	Loses      bool       `json:"loses" doc:"What was written since is lost: accept_loss must say so"`
	Since      *time.Time `json:"since,omitempty" doc:"What was written after this is lost"`
	Checkpoint string     `json:"checkpoint,omitempty" doc:"That would be restored"`
	To         string     `json:"to,omitempty" doc:"Name of the release that would serve"`
	ToDigest   string     `json:"to_digest,omitempty"`
	Tenants    []string   `json:"tenants" doc:"Whom it concerns"`
	Seconds    *float64   `json:"seconds,omitempty" doc:"That a restore took when it was last measured: the longest of the tenants"`
}

func (b Backend) takeBackRoutes(api huma.API) {
	huma.Get(api, "/api/v1/promotions/{id}/rollback", func(ctx context.Context, in *IDInput) (*body[TakeBack], error) {
		p, err := b.mayWith(ctx, identity.PromotionRead, in.ID)
		if err != nil {
			return nil, err
		}
		rollouts, err := b.Store.Rollouts(ctx, p.ID)
		if err != nil {
			return nil, problem(err)
		}
		return reply(b.wayBack(ctx, p, rollouts))
	}, does(identity.PromotionRead), describe("What taking a promotion back would do", "Nothing is changed. POST to the same path does it"))
}

// wayBack decides as rollback does, and says so in words. It only reads.
func (b Backend) wayBack(ctx context.Context, p store.Promotion, rollouts []store.Rollout) (TakeBack, error) {
	w := TakeBack{How: backNone, Tenants: []string{}}
	open := slices.DeleteFunc(slices.Clone(rollouts), func(r store.Rollout) bool { return r.State == store.Done })
	concerned := rollouts
	if len(open) > 0 {
		concerned = open
	}
	if len(concerned) == 0 {
		w.Says = nothingBack(p)
		return w, nil
	}
	memories := make([]promotion.Memory, len(concerned))
	for i, r := range concerned {
		if err := json.Unmarshal(r.Memory, &memories[i]); err != nil {
			return w, err
		}
		w.Tenants = append(w.Tenants, r.Tenant)
	}
	first := memories[0]
	w.ToDigest, w.To = first.OldRelease, first.OldRelease
	if first.OldRelease != "" {
		before, err := b.Store.Release(ctx, first.OldRelease)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return w, err
		}
		if err == nil {
			w.To = before.Name
		}
	}
	if len(open) > 0 {
		undoing(&w, open, memories)
		return w, b.restoreTime(ctx, &w, p.Environment)
	}
	class := estate.Class(p.Class)
	switch {
	case p.Kind != promotion.KindPromote && p.Kind != promotion.KindConfiguration || p.Outcome != store.Promoted:
		w.Says = nothingBack(p)
	case p.Kind == promotion.KindConfiguration:
		w.How, w.Says = backSettings, "The pools are started anew with the settings that they had before, and traffic moves over to them."
		w.Cost = "Nothing is lost, and nobody waits."
	case first.OldRelease == "":
		w.Says = "Before promotion " + p.ID + " nothing served; there is nothing to go back to."
	case class.Breaks():
		w.How, w.Loses, w.Checkpoint = backRestore, true, first.FenceCheckpoint
		w.Says = w.To + " cannot work on this database: checkpoint " + first.FenceCheckpoint + " is restored, and " + w.To + " serves again."
		since(&w, first.ReleasedAt)
	default:
		w.How, w.Says = backRoute, "Traffic goes back to "+w.To+" by the route. The database stays as it is: "+w.To+" works on it."
		w.Cost = "Nothing is lost. " + w.To + " is started where it no longer runs, which takes a while; meanwhile everybody works on " + p.ReleaseName + "."
	}
	return w, b.restoreTime(ctx, &w, p.Environment)
}

// undoing is what happens to rollouts that have not ended: what each has done is undone. The gravest is what is said.
func undoing(w *TakeBack, open []store.Rollout, memories []promotion.Memory) {
	w.How = backUndo
	to := "what served before"
	if w.To != "" {
		to = w.To
	}
	untouched, restored := 0, 0
	for i, m := range memories {
		switch {
		case m.NoReturn:
			w.How, w.Checkpoint = backRestore, m.FenceCheckpoint
			// One under way that has not stopped goes back without asking; see rollback.
			w.Loses = w.Loses || open[i].State == store.Waiting
			w.Says = "Everybody is on the new release, and " + to + " cannot work on this database: checkpoint " + m.FenceCheckpoint + " is restored."
			since(w, m.ReleasedAt)
			return
		case !m.Updated:
			untouched++
		case m.Plan.Class.Breaks():
			restored++
		}
	}
	switch {
	case untouched == len(memories):
		w.Says = "The database has not been updated yet. What was started for the release is removed, and " + to + " goes on serving."
		w.Cost = "Nothing is lost."
	case restored > 0:
		w.Says = "The checkpoint that was taken while nobody wrote is restored, and " + to + " serves again."
		w.Cost = "Nothing is lost: nobody has written since. Requests wait until the restore is done."
	default:
		w.Says = "Traffic goes back to " + to + " by the route, at once. The database stays updated: " + to + " works on it."
		w.Cost = "Nothing is lost, and nobody waits."
	}
}

func since(w *TakeBack, at time.Time) {
	w.Cost = "Everything written since the release took over is lost."
	if !at.IsZero() {
		w.Since = &at
		w.Cost = "Everything written since " + at.UTC().Format("2006-01-02 15:04 MST") + " is lost."
	}
}

func nothingBack(p store.Promotion) string {
	outcome := strings.ReplaceAll(p.Outcome, "_", " ")
	if outcome == "" {
		outcome = "under way"
	}
	return fmt.Sprintf("promotion %s (%s, %s) has nothing to take back", p.ID, p.Kind, outcome)
}

// restoreTime adds how long a restore took when it was last measured.
func (b Backend) restoreTime(ctx context.Context, w *TakeBack, environment string) error {
	if w.How != backRestore {
		return nil
	}
	measured, err := b.Store.LastRecovered(ctx, environment)
	if err != nil {
		return err
	}
	for _, m := range measured {
		if slices.Contains(w.Tenants, m.Tenant) && (w.Seconds == nil || m.Seconds > *w.Seconds) {
			w.Seconds = &m.Seconds
		}
	}
	return nil
}
