package promotion

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/store"
)

// Tenants are kin whose databases have the same modules, were brought to where they are by the same releases, and would be
// updated in the same way: what a rehearsal proves on the data of one holds for the code that all of them run. Data differ; so the
// largest one is rehearsed, and one in which people have made things by hand is rehearsed itself.

// Kin says whose rehearsal may stand for a tenant's.
type Kin struct {
	Set   string `json:"set"`             // the same for tenants with the same modules before and the same update
	Bytes int64  `json:"bytes"`           // of the database
	Own   string `json:"own,omitempty"`   // why it is rehearsed itself, whoever its kin are
	Young bool   `json:"young,omitempty"` // it has a checkpoint that it can be rehearsed on
}

// setOf names a tenant's set. The order in which a database lists things does not count, nor does what is left of modules that it
// has no longer.
func setOf(facts odoo.Facts, oldRelease, oldSchema string, plan Plan) string {
	type module struct{ Name, Version, State, Checksum string }
	var modules []module
	for _, m := range facts.Modules {
		modules = append(modules, module{m.Name, m.Version, m.State, facts.Checksums[m.Name]})
	}
	slices.SortFunc(modules, func(a, b module) int { return strings.Compare(a.Name, b.Name) })
	sum := sha256.Sum256(encode([]any{oldRelease, oldSchema, modules, facts.PartiallyUpdated, slices.Sorted(slices.Values(plan.Update)), slices.Sorted(slices.Values(plan.Install)), plan.Transactional}))
	return hex.EncodeToString(sum[:])[:16]
}

// relative is a tenant among those of a promotion.
type relative struct {
	Tenant string
	Kin
}

// eldest is the one of a set to rehearse, by its place in the list: of those that can be, the largest; the first by name where several are.
// None (-1) where all are rehearsed by themselves.
func eldest(list []relative, set string) int {
	found := -1
	for i, r := range list {
		if r.Set == "" || r.Set != set || r.Own != "" {
			continue
		}
		if found < 0 || elder(r, list[found]) {
			found = i
		}
	}
	return found
}

func elder(a, b relative) bool {
	if a.Young != b.Young {
		return a.Young
	}
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Tenant, b.Tenant)) < 0
}

// knowKin notes who a tenant's kin are, once its plan is known; where that may decide anything.
func (w *Work) knowKin(ctx context.Context, facts odoo.Facts) error {
	w.memory.Kin = nil
	plan := w.memory.Plan
	if !w.sharesRehearsals() || w.skips(estate.SkipRehearsal) || len(plan.Update)+len(plan.Install) == 0 || w.memory.OldRelease == "" {
		return w.rooms.Store.DropKin(ctx, w.lease) // of a try before, under another plan
	}
	kin := &Kin{Set: setOf(facts, w.memory.OldRelease, w.memory.OldSchema, plan)}
	var err error
	if kin.Bytes, err = w.place.Databases.Size(ctx, w.state.Database); err != nil {
		return err
	}
	if kin.Young, err = w.rehearsable(ctx, w.rollout.Environment, w.tenant.Name, w.memory.OldSchema); err != nil {
		return err
	}
	if err := w.inDatabase(ctx, func(db *pgx.Conn) error {
		use, err := odoo.ReadUse(ctx, db)
		kin.Own = use.Customised()
		return err
	}); err != nil {
		if ctx.Err() != nil {
			return err
		}
		kin.Own = "what people have made in it by hand cannot be told: " + oneLine(err.Error())
	}
	return w.joinKin(ctx, kin)
}

func (w *Work) joinKin(ctx context.Context, kin *Kin) error {
	w.memory.Kin = kin
	if kin.Own != "" {
		return w.rooms.Store.DropKin(ctx, w.lease)
	}
	return w.rooms.Store.PutKin(ctx, w.lease, store.Kin{PromotionID: w.promotion.ID, Tenant: w.tenant.Name, Set: kin.Set, Young: kin.Young, Bytes: kin.Bytes})
}

// sharesRehearsals: there are others in the promotion that a rehearsal may stand for.
func (w *Work) sharesRehearsals() bool {
	return w.env.Environment.Rehearsal.Wanted() && w.env.many()
}

// found is the evidence for a tenant, and what it lets its kin do.
type found struct {
	report *rehearsal.Report // nil: there is none
	own    bool              // it was to come from the tenant's own data
}

// evidenceOfKin finds evidence in the tenant's own data or, where another one of its promotion is rehearsed for it, in that one's. It
// waits until all have their plans: only then is it known who that is.
func (w *Work) evidenceOfKin(ctx context.Context) (found, error) {
	own := func() (found, error) {
		report, err := w.evidence(ctx)
		return found{report, true}, err
	}
	kin := w.memory.Kin
	if kin == nil || kin.Own != "" || w.memory.Rehearsal != "" { // asked for before a kill
		return own()
	}
	if report, err := w.proven(ctx); err != nil || report != nil {
		return found{report, true}, err
	}
	planned, err := w.rooms.Store.AllPlanned(ctx, w.promotion.ID)
	if err != nil {
		return found{}, err
	}
	if !planned {
		return found{}, &Wait{Until: time.Now().Add(never), Reason: "whose rehearsal stands for whom is known once all tenants of the promotion are planned"}
	}
	first, failed, err := w.rooms.Store.FirstOfKin(ctx, w.promotion.ID, kin.Set)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (failed || first.RolloutID == w.rollout.ID):
		return own()
	case err != nil:
		return found{}, err
	case first.Stands == "":
		return found{}, &Wait{Until: time.Now().Add(never), Reason: "it is rehearsed on " + first.Tenant + ", the largest of those with the same modules"}
	}
	kept, err := w.rooms.Store.Rehearsal(ctx, first.Rehearsal)
	if err != nil {
		return found{}, fmt.Errorf("look up rehearsal %s on %s: %w", first.Rehearsal, first.Tenant, err)
	}
	report, err := reportOf(kept)
	if err != nil {
		return found{}, err
	}
	if report == nil || report.Outcome != rehearsal.Proven || !w.fits(report) {
		return own()
	}
	return found{report, false}, nil
}

// stand notes, for the transaction that ends the step, what a tenant's own rehearsal came to: its kin wait for that.
func (w *Work) stand(f found) {
	if w.memory.Kin == nil || w.memory.Kin.Own != "" || !f.own {
		return
	}
	switch {
	case f.report == nil || f.report.Outcome == rehearsal.Unfinished:
		w.stands = store.KinNone
	case f.report.Outcome == rehearsal.Fails:
		w.stands, w.standsBy = store.KinFails, f.report.ID
	default:
		w.stands, w.standsBy = store.KinProven, f.report.ID
	}
}

// kinArgs is the River job "let those look again who wait for the rehearsal of their kin". Set is empty where they wait for all to be
// planned.
type kinArgs struct {
	Promotion string `json:"promotion"`
	Set       string `json:"set"`
	Step      int    `json:"step"` // at which they stand
}

func (kinArgs) Kind() string { return "kin" }

type kinWorker struct {
	river.WorkerDefaults[kinArgs]
	engine *Engine
}

func (w *kinWorker) Work(ctx context.Context, job *river.Job[kinArgs]) error {
	return w.engine.wakeKin(ctx, job.Args)
}

func (e *Engine) wakeKin(ctx context.Context, q kinArgs) error {
	if q.Set == "" {
		if planned, err := e.rooms.Store.AllPlanned(ctx, q.Promotion); err != nil || !planned {
			return err // whoever is planned last says so
		}
	}
	ids, err := e.rooms.Store.WaitingKin(ctx, q.Promotion, q.Set, q.Step)
	if err != nil {
		return err
	}
	return e.rouse(ctx, ids)
}

// kinConcerned tells the kin of a rollout, in the transaction that ends its step, what they may wait for: that it has its plan, what its
// rehearsal came to, or that there will be none.
func (e *Engine) kinConcerned(ctx context.Context, tx pgx.Tx, w *Work, next store.Rollout) error {
	step := slices.IndexFunc(procedures[w.promotion.Kind], func(s Step) bool { return s.Name == rehearseStep })
	if step < 0 || !w.sharesRehearsals() {
		return nil
	}
	tell := func(set string) error {
		_, err := e.river.InsertTx(ctx, tx, kinArgs{w.promotion.ID, set, step}, nil)
		return err
	}
	goesOn := next.State == store.Running
	if w.rollout.Step < step && w.rollout.State == store.Running && (next.Step >= step || !goesOn) {
		if err := tell(""); err != nil {
			return err
		}
	}
	if w.rollout.Step != step || w.rollout.State != store.Running || w.memory.Kin == nil || w.memory.Kin.Own != "" {
		return nil
	}
	switch {
	case w.stands != "" && (next.Step > step || !goesOn):
	case w.stands == "" && !goesOn:
		w.stands = store.KinNone
	default:
		return nil
	}
	if err := e.rooms.Store.StandForKin(ctx, tx, w.rollout.ID, w.stands, w.standsBy); err != nil {
		return err
	}
	return tell(w.memory.Kin.Set)
}
