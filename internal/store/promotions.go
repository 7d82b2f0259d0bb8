package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Promotion is one release going into one environment, or another procedure over its tenants.
type Promotion struct {
	ID           string          `db:"id"`
	Seq          int64           `db:"seq"`
	Kind         string          `db:"kind"`
	Environment  string          `db:"environment"`
	Release      string          `db:"release"`
	ReleaseName  string          `db:"release_name"`
	Class        string          `db:"class"`
	RequestedBy  string          `db:"requested_by"`
	Options      json.RawMessage `db:"options"`
	Estate       json.RawMessage `db:"estate"`
	EstateCommit string          `db:"estate_commit"`
	CreatedAt    time.Time       `db:"created_at"`
	FinishedAt   *time.Time      `db:"finished_at"`
	Outcome      string          `db:"outcome"`
}

// The states of a rollout.
const (
	Running = "running"
	Undoing = "undoing"
	Waiting = "waiting" // for a person
	Done    = "done"
)

// The outcomes of a rollout; while it waits for a person, its outcome is WaitingForPerson.
const (
	Promoted         = "promoted"
	RolledBack       = "rolled_back"
	WaitingForPerson = "waiting"
)

// Rollout is one tenant's part of a promotion.
type Rollout struct {
	ID          string          `db:"id"`
	PromotionID string          `db:"promotion_id"`
	Environment string          `db:"environment"`
	Tenant      string          `db:"tenant"`
	State       string          `db:"state"`
	Undo        bool            `db:"undo"` // on the way back; kept while it waits for a person
	Step        int             `db:"step"`
	Attempt     int             `db:"attempt"`
	Memory      json.RawMessage `db:"memory"`
	Outcome     string          `db:"outcome"`
	Reason      string          `db:"reason"`
	HeldSeconds float64         `db:"held_seconds"`
	Abort       string          `db:"abort"`
	AcceptLoss  bool            `db:"accept_loss"`
	Epoch       int64           `db:"epoch"`
	Holder      string          `db:"holder"`
	LeaseUntil  *time.Time      `db:"lease_until"`
	WakeAt      *time.Time      `db:"wake_at"`
	WaitsFor    string          `db:"waits_for"`
	Wakes       int64           `db:"wakes"` // grows when an event concerns it, see EndStep
	Revision    int64           `db:"revision"`
	CreatedAt   time.Time       `db:"created_at"`
	FinishedAt  *time.Time      `db:"finished_at"`
	Ring        string          `db:"ring"`       // empty: its promotion has none
	TurnAt      *time.Time      `db:"turn_at"`    // when it had its turn in the ring
	TurnWaits   bool            `db:"turn_waits"` // all else allows it to begin
	Declared    json.RawMessage `db:"declared"`   // what the estate said of the tenant, see promotion.Snapshot; null in old ones
}

// Step is one try at one step of a rollout.
type Step struct {
	RolloutID  string     `db:"rollout_id"`
	Seq        int64      `db:"seq"`
	Name       string     `db:"name"`
	Undo       bool       `db:"undo"`
	Outcome    string     `db:"outcome"`
	Detail     string     `db:"detail"`
	Epoch      int64      `db:"epoch"`
	StartedAt  time.Time  `db:"started_at"`
	FinishedAt *time.Time `db:"finished_at"`
}

// Lease is the right to work on a rollout. The epoch is the fencing token: whoever writes with an
// older one is refused.
type Lease struct {
	Rollout string
	Epoch   int64
}

// check locks the rollout's row, so that nobody takes the lease before the transaction ends.
func (l Lease) check(ctx context.Context, tx pgx.Tx) error {
	if l.Rollout == "" {
		return nil
	}
	var epoch int64
	if err := tx.QueryRow(ctx, "select epoch from rollouts where id = $1 for update", l.Rollout).Scan(&epoch); err != nil {
		return err
	}
	if epoch != l.Epoch {
		return ErrFenced
	}
	return nil
}

// ErrTenantBusy is returned when a tenant already takes part in an unfinished promotion.
var ErrTenantBusy = errors.New("the tenant takes part in another promotion that has not ended")

// CreatePromotion writes a promotion and its rollouts. It returns ErrTenantBusy when a tenant is
// already in another one.
func (s *Store) CreatePromotion(ctx context.Context, tx pgx.Tx, p Promotion, rollouts []Rollout) error {
	if _, err := tx.Exec(ctx, `insert into promotions (id, kind, environment, release, release_name, class, requested_by, options, estate, estate_commit)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		p.ID, p.Kind, p.Environment, p.Release, p.ReleaseName, p.Class, p.RequestedBy, p.Options, p.Estate, p.EstateCommit); err != nil {
		return err
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"rollouts"}, []string{"id", "promotion_id", "environment", "tenant", "state", "memory", "ring", "declared"},
		pgx.CopyFromSlice(len(rollouts), func(i int) ([]any, error) {
			r := rollouts[i]
			return []any{r.ID, p.ID, p.Environment, r.Tenant, Running, r.Memory, r.Ring, r.Declared}, nil
		}))
	var violation *pgconn.PgError
	if errors.As(err, &violation) && violation.ConstraintName == "rollouts_one_at_a_time" {
		return ErrTenantBusy
	}
	return err
}

// Promotion reads one promotion.
func (s *Store) Promotion(ctx context.Context, id string) (Promotion, error) {
	return one[Promotion](ctx, s.Pool, "select * from promotions where id = $1", id)
}

// Promotions lists promotions of an environment ("" for all), newest first, those before seq (0: from the newest). Their estates
// are left out: they are most of what is kept of a promotion.
func (s *Store) Promotions(ctx context.Context, environment string, before int64, limit int) ([]Promotion, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	of, args := "", []any{before, limit} // in the text, so that each of the two questions is answered out of its own index
	if environment != "" {
		of, args = " and environment = $3", append(args, environment)
	}
	return many[Promotion](ctx, s.Pool, `select id, seq, kind, environment, release, release_name, class, requested_by, options, estate_commit, created_at, finished_at, outcome
		from promotions where seq < $1`+of+" order by seq desc limit $2", args...)
}

// Estates are the snapshots of the estate that promotions were asked for with, by the promotion's ID.
func (s *Store) Estates(ctx context.Context, promotions ...string) (map[string]json.RawMessage, error) {
	of := map[string]json.RawMessage{}
	if len(promotions) == 0 {
		return of, nil
	}
	rows, err := s.Pool.Query(ctx, "select id, estate from promotions where id = any($1)", promotions)
	if err != nil {
		return nil, err
	}
	var id string
	var estate json.RawMessage
	_, err = pgx.ForEachRow(rows, []any{&id, &estate}, func() error {
		of[id] = slices.Clone(estate)
		return nil
	})
	return of, err
}

// WasPromoted says whether a release was promoted in an environment, however long ago.
func (s *Store) WasPromoted(ctx context.Context, environment, release string) (was bool, err error) {
	err = s.Pool.QueryRow(ctx, "select exists (select from promotions where environment = $1 and release = $2 and outcome = 'promoted')", environment, release).Scan(&was)
	return was, err
}

// Rollout reads one rollout.
func (s *Store) Rollout(ctx context.Context, id string) (Rollout, error) {
	return one[Rollout](ctx, s.Pool, "select * from rollouts where id = $1", id)
}

// Rollouts lists the rollouts of promotions.
func (s *Store) Rollouts(ctx context.Context, promotions ...string) ([]Rollout, error) {
	return many[Rollout](ctx, s.Pool, "select * from rollouts where promotion_id = any($1) order by promotion_id, tenant", promotions)
}

// Part is what is shown of a rollout: without what it remembers, which is long.
type Part struct {
	ID          string     `db:"id"`
	PromotionID string     `db:"promotion_id"`
	Tenant      string     `db:"tenant"`
	Ring        string     `db:"ring"`
	State       string     `db:"state"`
	Outcome     string     `db:"outcome"`
	Reason      string     `db:"reason"`
	HeldSeconds float64    `db:"held_seconds"`
	WaitsFor    string     `db:"waits_for"`
	Revision    int64      `db:"revision"`
	TurnAt      *time.Time `db:"turn_at"`
	FinishedAt  *time.Time `db:"finished_at"`
	Predicted   float64    `db:"predicted"`  // seconds held, by its plan
	Rehearsal   string     `db:"rehearsal"`  // of its plan
	Checkpoint  string     `db:"checkpoint"` // the newest that it can be restored from
}

// Parts lists what is shown of the rollouts of promotions.
func (s *Store) Parts(ctx context.Context, promotions ...string) ([]Part, error) {
	return many[Part](ctx, s.Pool, `select id, promotion_id, tenant, ring, state, outcome, reason, held_seconds, waits_for, revision, turn_at, finished_at,
			coalesce((m.plan->>'predicted_seconds')::double precision, 0) as predicted, coalesce(m.plan->>'rehearsal', '') as rehearsal,
			coalesce(nullif(m.fence_checkpoint, ''), m.checkpoint, '') as checkpoint
		from rollouts cross join lateral jsonb_to_record(memory) as m(plan jsonb, fence_checkpoint text, checkpoint text)
		where promotion_id = any($1) order by promotion_id, tenant`, promotions)
}

// RolloutsOf lists the rollouts of a promotion for those tenants; all of them where none is named.
func (s *Store) RolloutsOf(ctx context.Context, promotion string, tenants []string) ([]Rollout, error) {
	return many[Rollout](ctx, s.Pool, "select * from rollouts where promotion_id = $1 and (cardinality($2::text[]) = 0 or tenant = any($2)) order by tenant", promotion, append([]string{}, tenants...))
}

// Revision grows with every change of a promotion.
func (s *Store) Revision(ctx context.Context, promotion string) (n int64, err error) {
	err = s.Pool.QueryRow(ctx, "select coalesce(sum(r.revision), 0) from promotions p left join rollouts r on r.promotion_id = p.id where p.id = $1 group by p.id", promotion).Scan(&n)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotFound
	}
	return n, err
}

// ActiveRollout returns the unfinished rollout of a tenant.
func (s *Store) ActiveRollout(ctx context.Context, environment, tenant string) (Rollout, error) {
	return one[Rollout](ctx, s.Pool, "select * from rollouts where environment = $1 and tenant = $2 and state <> 'done'", environment, tenant)
}

// Active is the unfinished part that a tenant takes in a promotion.
type Active struct {
	Environment string `db:"environment"`
	Tenant      string `db:"tenant"`
	Promotion   string `db:"promotion_id"`
	State       string `db:"state"`
}

// Actives lists the unfinished parts of all tenants.
func (s *Store) Actives(ctx context.Context) ([]Active, error) {
	return many[Active](ctx, s.Pool, "select environment, tenant, promotion_id, state from rollouts where state <> 'done'")
}

// Steps lists the steps of rollouts in the order they began.
func (s *Store) Steps(ctx context.Context, rollouts ...string) ([]Step, error) {
	if len(rollouts) == 0 {
		return nil, nil
	}
	return many[Step](ctx, s.Pool, "select * from steps where rollout_id = any($1) order by rollout_id, seq", rollouts)
}

// NewestSteps is the newest step of each rollout that has one.
func (s *Store) NewestSteps(ctx context.Context, rollouts ...string) ([]Step, error) {
	if len(rollouts) == 0 {
		return nil, nil
	}
	return many[Step](ctx, s.Pool, `select s.* from unnest($1::text[]) r (id)
		cross join lateral (select * from steps where rollout_id = r.id order by seq desc limit 1) s`, rollouts)
}

// Acquire takes the lease on a rollout for holder when nobody else holds it and its epoch is
// still the one given. ok is false when there is nothing to do.
func (s *Store) Acquire(ctx context.Context, rollout string, epoch int64, holder string, lease time.Duration) (r Rollout, ok bool, err error) {
	r, err = one[Rollout](ctx, s.Pool, `update rollouts set epoch = epoch + 1, holder = $3, lease_until = now() + $4, wake_at = null, waits_for = '', revision = revision + 1
		where id = $1 and epoch = $2 and state in ('running', 'undoing') and (lease_until is null or lease_until < now()) returning *`,
		rollout, epoch, holder, lease)
	if errors.Is(err, ErrNotFound) {
		return r, false, nil
	}
	return r, err == nil, err
}

// Heartbeat prolongs the lease and tells whether a person asked to go back. A lease that was given
// back (EndStep) is not taken again: the next step would find the rollout taken, by nobody.
func (s *Store) Heartbeat(ctx context.Context, l Lease, lease time.Duration) (abort string, err error) {
	err = s.Pool.QueryRow(ctx, "update rollouts set lease_until = now() + $3 where id = $1 and epoch = $2 and lease_until is not null returning abort",
		l.Rollout, l.Epoch, lease).Scan(&abort)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrFenced
	}
	return abort, err
}

// Orphans lists rollouts that should be worked on and that nobody works on: they are due, and
// their lease is free or has run out.
func (s *Store) Orphans(ctx context.Context) ([]Lease, error) {
	return many[Lease](ctx, s.Pool, `select id as rollout, epoch from rollouts where state in ('running', 'undoing')
		and (wake_at is null or wake_at <= now()) and (lease_until is null or lease_until < now())`)
}

// SaveMemory keeps what a step must remember in the middle of its work.
func (s *Store) SaveMemory(ctx context.Context, l Lease, memory any) error {
	tag, err := s.Pool.Exec(ctx, "update rollouts set memory = $3, revision = revision + 1 where id = $1 and epoch = $2", l.Rollout, l.Epoch, memory)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return err
}

// Skipped is a step that did not apply.
type Skipped struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// BeginStep notes the steps that did not apply, and that the next one has begun. A try of the
// same step that was cut off is closed as interrupted.
func (s *Store) BeginStep(ctx context.Context, l Lease, name string, undo bool, index int, skipped ...Skipped) (seq int64, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update steps set outcome = 'interrupted', finished_at = now() where rollout_id = $1 and outcome = 'running'", l.Rollout); err != nil {
			return err
		}
		for _, skip := range skipped {
			if err := s.closeSkipped(ctx, tx, l, skip); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "update rollouts set step = $2, revision = revision + 1 where id = $1", l.Rollout, index); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "insert into steps (rollout_id, name, undo, outcome, epoch) values ($1, $2, $3, 'running', $4) returning seq",
			l.Rollout, name, undo, l.Epoch).Scan(&seq)
	})
	return seq, err
}

// Note replaces the detail of a running step.
func (s *Store) Note(ctx context.Context, l Lease, seq int64, detail string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "update rollouts set revision = revision + 1 where id = $1", l.Rollout); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "update steps set detail = $3 where rollout_id = $1 and seq = $2 and outcome = 'running'", l.Rollout, seq, detail)
		return err
	})
}

// EndStep closes a step and moves the rollout on, inside tx, under the lease. It frees the lease. A rollout that
// was woken since it was acquired (next.Wakes is of then) does not go to sleep.
func (s *Store) EndStep(ctx context.Context, tx pgx.Tx, l Lease, seq int64, outcome, detail string, next Rollout, skipped ...Skipped) error {
	if err := l.check(ctx, tx); err != nil {
		return err
	}
	for _, skip := range skipped {
		if err := s.closeSkipped(ctx, tx, l, skip); err != nil {
			return err
		}
	}
	if seq > 0 {
		if _, err := tx.Exec(ctx, "update steps set outcome = $3, detail = $4, finished_at = now() where rollout_id = $1 and seq = $2",
			l.Rollout, seq, outcome, detail); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `update rollouts set state = $2, step = $3, attempt = $4, memory = $5, outcome = $6, reason = $7, held_seconds = $8,
		wake_at = case when wakes = $12 then $9::timestamptz end, waits_for = $10, undo = $11, holder = '', lease_until = null, revision = revision + 1,
		finished_at = case when $2 = 'done' then now() end where id = $1`,
		l.Rollout, next.State, next.Step, next.Attempt, next.Memory, next.Outcome, next.Reason, next.HeldSeconds, next.WakeAt, next.WaitsFor, next.Undo, next.Wakes)
	return err
}

func (s *Store) closeSkipped(ctx context.Context, tx pgx.Tx, l Lease, skip Skipped) error {
	_, err := tx.Exec(ctx, "insert into steps (rollout_id, name, undo, outcome, detail, epoch, finished_at) values ($1, $2, false, 'skipped', $3, $4, now())",
		l.Rollout, skip.Name, skip.Why, l.Epoch)
	return err
}

// Conclude sets the promotion's outcome once no rollout of it is unfinished.
func (s *Store) Conclude(ctx context.Context, tx pgx.Tx, promotion string) error {
	// In a statement of its own, so that the one below sees what another rollout of the promotion, which ends at
	// the same time, has committed: else each would see the other as open, and nobody would conclude.
	if _, err := tx.Exec(ctx, "select from promotions where id = $1 for no key update", promotion); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update promotions set finished_at = case when o.open = 0 then now() end, outcome = case
			when o.open > 0 and o.waiting > 0 then 'waiting' when o.open > 0 then ''
			when o.back = 0 then 'promoted' when o.promoted = 0 then 'rolled_back' else 'halted' end
		from (select count(*) filter (where state <> 'done') as open, count(*) filter (where state = 'waiting') as waiting,
			count(*) filter (where outcome = 'rolled_back') as back, count(*) filter (where outcome = 'promoted') as promoted
			from rollouts where promotion_id = $1) o
		where id = $1`, promotion)
	return err
}

// SetClass records the class that a rollout turned out to have.
func (s *Store) SetClass(ctx context.Context, promotion, class string) error {
	_, err := s.Pool.Exec(ctx, "update promotions set class = $2 where id = $1", promotion, class)
	return err
}

// Abort asks a rollout to go back. It wakes one that waits. ErrNotFound when it has ended.
func (s *Store) Abort(ctx context.Context, rollout, reason string, acceptLoss bool) error {
	tag, err := s.Pool.Exec(ctx, `update rollouts set abort = $2, accept_loss = accept_loss or $3, wake_at = null,
		state = case when state = 'waiting' then 'running' else state end, attempt = 0,
		outcome = '', revision = revision + 1 where id = $1 and state <> 'done'`, rollout, reason, acceptLoss)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}
