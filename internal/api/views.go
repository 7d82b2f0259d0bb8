package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/readings"
	"github.com/waybill-dev/waybill/internal/ring"
	"github.com/waybill-dev/waybill/internal/store"
)

// How much of its steps a list tells of a promotion.
const (
	stepsNewest = "newest" // all of the tenants whose part goes on, and of the others the newest alone
	stepsAll    = "all"
)

// list leaves out what who asks may not see, and reads on until there are as many as were asked for; found is how they are told.
func (b Backend) list(ctx context.Context, environment string, before int64, limit int, steps string) (visible []store.Promotion, found encoded[[]Promotion], err error) {
	sees := b.sees(ctx, identity.PromotionRead)
	for {
		rows, err := readings.Shared(ctx, b.readings, fmt.Sprintf("promotions %d %d %s", before, limit, environment), func(ctx context.Context) ([]store.Promotion, error) {
			return b.Store.Promotions(ctx, environment, before, limit)
		})
		if err != nil {
			return nil, nil, err
		}
		for _, p := range rows {
			if sees(p.Environment) && len(visible) < limit {
				visible = append(visible, p)
			}
		}
		if len(rows) < limit || len(visible) == limit {
			break
		}
		before = rows[len(rows)-1].Seq
	}
	key := "views " + steps
	for _, p := range visible {
		key += " " + p.ID
	}
	found, err = readings.Shared(ctx, b.readings, key, func(ctx context.Context) (encoded[[]Promotion], error) {
		list, err := b.views(ctx, visible, steps == stepsAll, false)
		if err != nil {
			return nil, err
		}
		return encode(list)
	})
	return visible, found, err
}

// views joins promotions with their rollouts and steps, in few queries however many there are; allSteps: see stepsNewest; whole: with what
// lists leave out.
func (b Backend) views(ctx context.Context, rows []store.Promotion, allSteps, whole bool) ([]Promotion, error) {
	ids := make([]string, len(rows))
	for i, p := range rows {
		ids[i] = p.ID
	}
	parts, err := b.Store.Parts(ctx, ids...)
	if err != nil {
		return nil, err
	}
	var partIDs, open, ended, ringed []string
	partsOf := map[string][]store.Part{}
	for _, r := range parts {
		partIDs, partsOf[r.PromotionID] = append(partIDs, r.ID), append(partsOf[r.PromotionID], r)
		if allSteps || r.State != store.Done {
			open = append(open, r.ID)
		} else {
			ended = append(ended, r.ID)
		}
		if r.Ring != "" && (len(ringed) == 0 || ringed[len(ringed)-1] != r.PromotionID) {
			ringed = append(ringed, r.PromotionID)
		}
	}
	stepsOf := map[string][]Step{}
	for _, read := range []struct {
		of    []string
		steps func(context.Context, ...string) ([]store.Step, error)
	}{{open, b.Store.Steps}, {ended, b.Store.NewestSteps}} {
		steps, err := read.steps(ctx, read.of...)
		if err != nil {
			return nil, err
		}
		for _, s := range steps {
			stepsOf[s.RolloutID] = append(stepsOf[s.RolloutID], Step{Name: s.Name, Undo: s.Undo, Outcome: s.Outcome, Detail: s.Detail, Started: s.StartedAt, Finished: s.FinishedAt})
		}
	}
	verdictsOf, err := b.verdicts(ctx, whole, partIDs)
	if err != nil {
		return nil, err
	}
	emergencies, err := b.Store.Emergencies(ctx, ids...)
	if err != nil {
		return nil, err
	}
	estates, err := b.Store.Estates(ctx, ringed...)
	if err != nil {
		return nil, err
	}
	views := make([]Promotion, 0, len(rows))
	for _, p := range rows {
		view := Promotion{ID: p.ID, Seq: p.Seq, Kind: p.Kind, Environment: p.Environment, Release: p.Release, ReleaseName: p.ReleaseName, Class: p.Class,
			Outcome: p.Outcome, RequestedBy: p.RequestedBy, EstateCommit: p.EstateCommit, Created: p.CreatedAt, Finished: p.FinishedAt, Rollouts: []Rollout{}}
		if i := slices.IndexFunc(emergencies, func(x store.Emergency) bool { return x.Promotion == p.ID }); i >= 0 {
			view.Emergency = &emergencies[i]
		}
		for _, r := range partsOf[p.ID] {
			view.Revision += r.Revision
			rollout := Rollout{Tenant: r.Tenant, Ring: r.Ring, State: r.State, Outcome: r.Outcome, Reason: r.Reason, HeldSeconds: r.HeldSeconds, Predicted: r.Predicted, WaitsFor: r.WaitsFor,
				Rehearsal: r.Rehearsal, Checkpoint: r.Checkpoint, Steps: stepsOf[r.ID], Verdicts: verdictsOf[r.ID]}
			if rollout.Steps == nil {
				rollout.Steps = []Step{}
			}
			view.Rollouts = append(view.Rollouts, rollout)
		}
		if whole {
			view.Procedure = promotion.Procedure(p.Kind)
		}
		if view.Rings, err = rings(estates[p.ID], partsOf[p.ID]); err != nil {
			return nil, err
		}
		views = append(views, view)
	}
	return views, nil
}

// rings are how far a promotion is in each ring that has tenants in it, by the estate that is kept with it.
func rings(kept json.RawMessage, parts []store.Part) ([]Ring, error) {
	counts := ring.Counts{}
	for _, r := range parts {
		if r.Ring != "" {
			counts.Add(r.Ring, r.TurnAt != nil, r.State == store.Done, r.Outcome == store.Promoted, r.FinishedAt)
		}
	}
	if len(counts) == 0 {
		return nil, nil
	}
	var s promotion.Snapshot
	if err := json.Unmarshal(kept, &s); err != nil {
		return nil, err
	}
	declared := promotion.Rings(s.Environment)
	standings := ring.Plan{Rings: declared, Counts: counts}.Standings(time.Now())
	var list []Ring
	for _, r := range declared {
		c, now := counts[r.Name], standings[r.Name]
		if c.Total == 0 {
			continue
		}
		view := Ring{Name: r.Name, State: now.State, Why: now.Why, Total: c.Total, UnderWay: c.Turn, Promoted: c.Promoted, Failed: c.Failed}
		if !now.Until.IsZero() {
			view.Until = &now.Until
		}
		list = append(list, view)
	}
	return list, nil
}

// await waits until a promotion has changed, so that whoever watches need not ask all the time.
func (b Backend) await(ctx context.Context, id string, after int64, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for {
		revision, err := readings.Shared(ctx, b.readings, "revision "+id, func(ctx context.Context) (int64, error) { return b.Store.Revision(ctx, id) })
		if err != nil || revision > after || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// whole is one promotion with all there is to tell.
func (b Backend) whole(ctx context.Context, p store.Promotion) (Promotion, error) {
	views, err := b.views(ctx, []store.Promotion{p}, true, true)
	if err != nil {
		return Promotion{}, err
	}
	return views[0], nil
}

// status is what runs where, as far as who asks may see it.
func (b Backend) status(ctx context.Context) (Status, error) {
	s, err := readings.Shared(ctx, b.readings, "status", b.everywhere)
	if err != nil {
		return s, err
	}
	sees, seesVulnerable := b.sees(ctx, identity.StatusRead), b.sees(ctx, identity.VulnerabilityRead)
	all := s.Environments
	s.Environments = make([]Environment, 0, len(all))
	for _, env := range all {
		if !seesVulnerable(env.Name) {
			env.Vulnerable = nil
		}
		if sees(env.Name) {
			s.Environments = append(s.Environments, env)
		}
	}
	return s, nil
}

// everywhere is the status of all environments.
func (b Backend) everywhere(ctx context.Context) (Status, error) {
	declared, err := b.Estate(ctx)
	if err != nil {
		return Status{}, err
	}
	s := Status{Version: b.Version, Estate: declared.Root, EstateCommit: declared.Commit, Environments: []Environment{}}
	known, err := b.Store.Tenants(ctx, "")
	if err != nil {
		return s, err
	}
	besides, err := b.besides(ctx, "", "")
	if err != nil {
		return s, err
	}
	actives, err := b.Store.Actives(ctx)
	if err != nil {
		return s, err
	}
	type place struct{ environment, tenant string }
	active, there := map[place]store.Active{}, map[place]store.Tenant{}
	for _, a := range actives {
		active[place{a.Environment, a.Tenant}] = a
	}
	for _, k := range known {
		there[place{k.Environment, k.Name}] = k
	}
	var digests []string
	for _, k := range known {
		digests = append(digests, k.ServingRelease, k.SchemaRelease)
	}
	names, err := b.Store.ReleaseNames(ctx, digests)
	if err != nil {
		return s, err
	}
	for _, env := range declared.Environments {
		view := Environment{Name: env.Name, Tenants: []Tenant{}}
		if env.Runtime.Docker != nil {
			view.Address = env.Runtime.Docker.HTTP
		}
		tenants := declared.TenantsOf(env.Name)
		for _, k := range known { // also where somebody has taken its document out: its data is there
			if k.Environment == env.Name && k.Live.Leaving != nil && !slices.ContainsFunc(tenants, func(t estate.Tenant) bool { return t.Name == k.Name }) {
				tenants = append(tenants, estate.Tenant{Name: k.Name, Database: k.Database, Hosts: k.Hosts})
			}
		}
		for _, t := range tenants {
			tenant := Tenant{Name: t.Name, Database: t.Database, Hosts: t.Hosts, Mode: "none"}
			if k, ok := there[place{env.Name, t.Name}]; ok {
				runs(&tenant, k, names)
			}
			if a, ok := active[place{env.Name, t.Name}]; ok {
				tenant.Promotion, tenant.PromotionState = a.Promotion, a.State
			}
			for _, x := range besides {
				if x.Environment == env.Name && x.Tenant == t.Name {
					tenant.Beside = append(tenant.Beside, x)
				}
			}
			view.Tenants = append(view.Tenants, tenant)
		}
		s.Environments = append(s.Environments, view)
	}
	if err := errors.Join(b.markIsolation(ctx, &s), b.markUsage(ctx, &s), b.markDrift(ctx, &s)); err != nil {
		return s, err
	}
	b.markNoisy(&s)
	return s, b.markVulnerable(ctx, &s, declared)
}

// runs says what a tenant runs. names are those of the releases that are known, by digest.
func runs(t *Tenant, known store.Tenant, names map[string]string) {
	name := func(digest string) string { return cmp.Or(names[digest], digest) }
	t.ServingDigest, t.SchemaDigest = known.ServingRelease, known.SchemaRelease
	t.Serving, t.Schema = name(known.ServingRelease), name(known.SchemaRelease)
	t.CanaryPercent = known.Live.Weight
	if l := known.Live.Leaving; l != nil { // nothing serves it
		t.Mode, t.LeavingUntil, t.Serving, t.ServingDigest = "leaving", &l.Until, "", ""
	}
	if known.Live.Stable != "" && known.Live.Leaving == nil {
		t.Mode = string(known.Live.Mode)
		if known.Live.Suspended {
			t.Mode = "suspended"
		}
		if t.Mode == "" {
			t.Mode = "open"
		}
	}
}

// rollback goes back in the way that fits: a promotion under way is undone; one that has ended is
// taken back by the route where the old release works on the schema, else by a restore.
func (b Backend) rollback(ctx context.Context, id, reason string, acceptLoss bool) (*body[Asked], error) {
	p, err := b.Store.Promotion(ctx, id)
	if err != nil {
		return nil, problem(err)
	}
	rollouts, err := b.Store.Rollouts(ctx, id)
	if err != nil {
		return nil, problem(err)
	}
	if reason == "" {
		reason = "asked on the command line"
	}
	if err := b.write(ctx, ledger.Event{Kind: ledger.RollbackAsked, Environment: p.Environment, Promotion: p.ID, Release: p.Release, Payload: map[string]any{"reason": reason, "accept_loss": acceptLoss}}); err != nil {
		return nil, problem(err)
	}
	open := false
	for _, r := range rollouts {
		if r.State == store.Done {
			continue
		}
		open = true
		if r.State == store.Waiting && !acceptLoss {
			var memory promotion.Memory
			if err := json.Unmarshal(r.Memory, &memory); err != nil {
				return nil, problem(err)
			}
			if memory.NoReturn {
				return nil, as(lossToAccept, "going back restores checkpoint "+memory.FenceCheckpoint+" and loses everything written since "+
					memory.ReleasedAt.Format(time.RFC3339)+"; say --accept-loss if that is what you want")
			}
		}
		if err := b.Store.Abort(ctx, r.ID, reason, acceptLoss); err != nil {
			return nil, problem(err)
		}
	}
	if open {
		return reply(Asked{Promotion: id}, nil)
	}
	return b.takeBack(ctx, p, rollouts, acceptLoss)
}

func (b Backend) takeBack(ctx context.Context, p store.Promotion, rollouts []store.Rollout, acceptLoss bool) (*body[Asked], error) {
	if p.Kind != promotion.KindPromote && p.Kind != promotion.KindConfiguration || p.Outcome != store.Promoted || len(rollouts) == 0 {
		return nil, huma.Error409Conflict("promotion " + p.ID + " (" + p.Kind + ", " + p.Outcome + ") has nothing to take back")
	}
	var memory promotion.Memory
	if err := json.Unmarshal(rollouts[0].Memory, &memory); err != nil {
		return nil, problem(err)
	}
	tenants := make([]string, len(rollouts))
	for i, r := range rollouts {
		tenants[i] = r.Tenant
	}
	switch {
	case p.Kind == promotion.KindConfiguration:
		return b.start(ctx, promotion.Request{Kind: p.Kind, Environment: p.Environment, Tenants: tenants, Options: promotion.Options{Of: p.ID}})
	case memory.OldRelease == "":
		return nil, huma.Error409Conflict("before promotion " + p.ID + " nothing served; there is nothing to go back to")
	case estate.Class(p.Class).Breaks() && !acceptLoss:
		return nil, as(lossToAccept, "the release before cannot work on this schema; going back restores checkpoint "+memory.FenceCheckpoint+
			" and loses everything written since "+memory.ReleasedAt.Format(time.RFC3339)+"; say --accept-loss if that is what you want")
	case estate.Class(p.Class).Breaks():
		return b.start(ctx, promotion.Request{Kind: promotion.KindRestore, Environment: p.Environment, Tenants: tenants,
			Options: promotion.Options{Checkpoint: memory.FenceCheckpoint, Of: p.ID}})
	}
	return b.start(ctx, promotion.Request{Kind: promotion.KindRollback, Environment: p.Environment, Tenants: tenants, Release: memory.OldRelease,
		Options: promotion.Options{Of: p.ID}})
}
