package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Head is the estate's commit that is in force, where the estate is kept in Git.
type Head struct {
	Commit   string    `db:"commit" json:"commit"`
	Seen     string    `db:"seen" json:"seen"`                 // the branch's newest commit, as of the last look
	Problem  string    `db:"problem" json:"problem,omitempty"` // why that one is not in force
	Accepted string    `db:"accepted" json:"-"`                // taken by a person although history was rewritten before it
	At       time.Time `db:"at" json:"at"`
}

// EstateHead reads it.
func (s *Store) EstateHead(ctx context.Context) (Head, error) {
	return one[Head](ctx, s.Pool, "select commit, seen, problem, accepted, at from estate_head")
}

// PutEstateHead writes it down, but for what a person accepted.
func (s *Store) PutEstateHead(ctx context.Context, tx pgx.Tx, h Head) error {
	_, err := tx.Exec(ctx, "update estate_head set commit = $1, seen = $2, problem = $3, at = now()", h.Commit, h.Seen, h.Problem)
	return err
}

// AcceptEstate takes a commit although the history before it was rewritten.
func (s *Store) AcceptEstate(ctx context.Context, commit string) error {
	_, err := s.Pool.Exec(ctx, "update estate_head set accepted = $1", commit)
	return err
}

// Target is what Git wanted of an environment when it was last acted on.
type Target struct {
	Environment string    `db:"environment" json:"environment"`
	Release     string    `db:"release" json:"release"`
	Commit      string    `db:"commit" json:"commit"`
	Promotion   string    `db:"promotion" json:"promotion,omitempty"`
	Problem     string    `db:"problem" json:"problem,omitempty"`
	At          time.Time `db:"at" json:"at"`
}

// Targets lists them.
func (s *Store) Targets(ctx context.Context) ([]Target, error) {
	return many[Target](ctx, s.Pool, "select * from targets order by environment")
}

// PutTarget writes down what was acted on, in tx where there is one.
func (s *Store) PutTarget(ctx context.Context, tx pgx.Tx, t Target) error {
	const sql = `insert into targets (environment, release, commit, promotion) values ($1, $2, $3, $4)
		on conflict (environment) do update set release = excluded.release, commit = excluded.commit, promotion = excluded.promotion, problem = '', at = now()`
	if tx == nil {
		_, err := s.Pool.Exec(ctx, sql, t.Environment, t.Release, t.Commit, t.Promotion)
		return err
	}
	_, err := tx.Exec(ctx, sql, t.Environment, t.Release, t.Commit, t.Promotion)
	return err
}

// SetTargetProblem says why what Git wants has not been started.
func (s *Store) SetTargetProblem(ctx context.Context, environment, problem string) error {
	_, err := s.Pool.Exec(ctx, `insert into targets (environment, release, commit, promotion, problem) values ($1, '', '', '', $2)
		on conflict (environment) do update set problem = excluded.problem where targets.problem <> excluded.problem`, environment, problem)
	return err
}

// Configuration is what Git wanted of an environment's configuration when it was last acted on.
type Configuration struct {
	Environment string    `db:"environment" json:"environment"`
	Wanted      string    `db:"wanted" json:"-"` // hash of the settings
	Commit      string    `db:"commit" json:"commit"`
	Promotion   string    `db:"promotion" json:"promotion,omitempty"`
	Problem     string    `db:"problem" json:"problem,omitempty"`
	At          time.Time `db:"at" json:"at"`
}

// Configurations lists them.
func (s *Store) Configurations(ctx context.Context) ([]Configuration, error) {
	return many[Configuration](ctx, s.Pool, "select * from configurations order by environment")
}

// PutConfiguration writes down what was acted on.
func (s *Store) PutConfiguration(ctx context.Context, tx pgx.Tx, c Configuration) error {
	_, err := tx.Exec(ctx, `insert into configurations (environment, wanted, commit, promotion) values ($1, $2, $3, $4)
		on conflict (environment) do update set wanted = excluded.wanted, commit = excluded.commit, promotion = excluded.promotion, problem = '', at = now()`,
		c.Environment, c.Wanted, c.Commit, c.Promotion)
	return err
}

// SetConfigurationProblem says why what Git wants has not been started.
func (s *Store) SetConfigurationProblem(ctx context.Context, environment, problem string) error {
	_, err := s.Pool.Exec(ctx, `insert into configurations (environment, wanted, commit, promotion, problem) values ($1, '', '', '', $2)
		on conflict (environment) do update set problem = excluded.problem where configurations.problem <> excluded.problem`, environment, problem)
	return err
}

// Open says whether a promotion of an environment has not ended.
func (s *Store) Open(ctx context.Context, environment string) (open bool, err error) {
	err = s.Pool.QueryRow(ctx, "select exists (select from promotions where environment = $1 and finished_at is null)", environment).Scan(&open)
	return open, err
}

// Reversal is a release that went back, which Git has still to be told.
type Reversal struct {
	ID          int64      `db:"id" json:"id"`
	Environment string     `db:"environment" json:"environment"`
	Release     string     `db:"release" json:"release"`
	BackTo      string     `db:"back_to" json:"back_to"`
	Promotion   string     `db:"promotion" json:"promotion"`
	Reason      string     `db:"reason" json:"reason"`
	Tries       int        `db:"tries" json:"tries"`
	Problem     string     `db:"problem" json:"problem,omitempty"`
	Commit      string     `db:"commit" json:"commit,omitempty"`
	CreatedAt   time.Time  `db:"created_at" json:"created_at"`
	DoneAt      *time.Time `db:"done_at" json:"done_at,omitempty"`
}

// Reversals lists those that Git has not been told, the oldest first.
func (s *Store) Reversals(ctx context.Context) ([]Reversal, error) {
	return many[Reversal](ctx, s.Pool, "select * from reversals where done_at is null order by id")
}

// EmergencyReason begins the reason of what came in by the emergency path, which Git is told afterwards too.
const EmergencyReason = "emergency: "

// QueueReversal writes down, in the transaction that ends a promotion, that Git has to be told when the environment's
// tenants then serve another release than Git wants. Where they serve different ones, a person has to decide.
func (s *Store) QueueReversal(ctx context.Context, tx pgx.Tx, promotion string) error {
	_, err := tx.Exec(ctx, `insert into reversals (environment, release, back_to, promotion, reason)
		select t.environment, t.release, n.serving, p.id, coalesce((select $2::text || x.reason || ' (asked by ' || x.asked_by || ', confirmed by ' || x.second || ')' from emergencies x where x.promotion_id = p.id and p.outcome = 'promoted'),
				(select r.reason from rollouts r where r.promotion_id = p.id and r.reason <> '' order by r.id limit 1), '')
		from promotions p
		join targets t on t.environment = p.environment and t.release <> ''
		join (select environment, min(serving_release) serving, max(serving_release) other from tenants where not coalesce((live->>'suspended')::boolean, false) group by environment) n on n.environment = p.environment
		where p.id = $1 and p.finished_at is not null and n.serving = n.other and n.serving <> t.release
			and (p.kind in ('rollback', 'restore') or p.release = t.release or p.options ? 'emergency')
			and not exists (select from promotions later where later.environment = p.environment and later.finished_at is null)
		on conflict (promotion) do nothing`, promotion, EmergencyReason)
	return err
}

// EndReversal writes down that Git says so, in that commit, or that it need not ("" and why), and what is now acted on.
func (s *Store) EndReversal(ctx context.Context, r Reversal, commit, why string) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "update reversals set done_at = now(), commit = $2, problem = $3 where id = $1", r.ID, commit, why); err != nil {
			return err
		}
		if commit == "" {
			return nil
		}
		return s.PutTarget(ctx, tx, Target{Environment: r.Environment, Release: r.BackTo, Commit: commit, Promotion: r.Promotion})
	})
}

// ReversalFailed counts a try.
func (s *Store) ReversalFailed(ctx context.Context, id int64, problem string) error {
	_, err := s.Pool.Exec(ctx, "update reversals set tries = tries + 1, problem = $2 where id = $1", id, problem)
	return err
}

// gitopsLock is the advisory lock of whoever follows the estate's repository.
const gitopsLock = 0x5761796269

// Alone runs f while no other server does, and reports whether it did.
func (s *Store) Alone(ctx context.Context, f func(context.Context) error) (done bool, err error) {
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", int64(gitopsLock)).Scan(&done); err != nil || !done {
		return false, err
	}
	defer func() {
		_, unlock := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", int64(gitopsLock))
		err = errors.Join(err, unlock)
	}()
	return true, f(ctx)
}

// Serves is the release that all tenants of an environment serve; empty where there are none, or where they differ.
func (s *Store) Serves(ctx context.Context, environment string) (release string, err error) {
	err = s.Pool.QueryRow(ctx, `select coalesce(case when min(serving_release) = max(serving_release) then min(serving_release) end, '')
		from tenants where environment = $1 and not coalesce((live->>'suspended')::boolean, false)`, environment).Scan(&release)
	return release, err
}
