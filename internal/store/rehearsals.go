package store

import (
	"context"
	"encoding/json"
	"time"
)

// The states of a rehearsal.
const (
	Queued        = "queued"
	RehearsalRuns = "running"
	Rehearsed     = "done"
)

// Rehearsal is one rehearsal, asked for, under way or done.
type Rehearsal struct {
	ID          string          `db:"id"`
	Seq         int64           `db:"seq"`
	Environment string          `db:"environment"`
	Tenant      string          `db:"tenant"`
	Release     string          `db:"release"` // digest
	ReleaseName string          `db:"release_name"`
	OldRelease  string          `db:"old_release"` // digest of the one that served when it was asked for
	RequestedBy string          `db:"requested_by"`
	Options     json.RawMessage `db:"options"`
	State       string          `db:"state"`
	Progress    string          `db:"progress"`
	Outcome     string          `db:"outcome"`
	Report      json.RawMessage `db:"report"` // null until it is done; left out of lists
	Revision    int64           `db:"revision"`
	Holder      string          `db:"holder"` // the server that took it up
	CreatedAt   time.Time       `db:"created_at"`
	FinishedAt  *time.Time      `db:"finished_at"`
}

const rehearsalColumns = "id, seq, environment, tenant, release, release_name, old_release, requested_by, options, state, progress, outcome, revision, holder, created_at, finished_at"

// PutRehearsal writes down that a rehearsal was asked for.
func (s *Store) PutRehearsal(ctx context.Context, r Rehearsal) error {
	if r.Options == nil {
		r.Options = json.RawMessage("{}")
	}
	_, err := s.Pool.Exec(ctx, "insert into rehearsals (id, environment, tenant, release, release_name, old_release, requested_by, options) values ($1, $2, $3, $4, $5, $6, $7, $8)",
		r.ID, r.Environment, r.Tenant, r.Release, r.ReleaseName, r.OldRelease, r.RequestedBy, r.Options)
	return err
}

// Rehearsal reads one, its report included.
func (s *Store) Rehearsal(ctx context.Context, id string) (Rehearsal, error) {
	return one[Rehearsal](ctx, s.Pool, "select "+rehearsalColumns+", report from rehearsals where id = $1", id)
}

// Rehearsals lists them, newest first, those before seq (0: from the newest), without their reports; empty arguments stand for any.
func (s *Store) Rehearsals(ctx context.Context, environment, tenant string, before int64, limit int) ([]Rehearsal, error) {
	return many[Rehearsal](ctx, s.Pool, "select "+rehearsalColumns+" from rehearsals where $1 in ('', environment) and $2 in ('', tenant) and ($3 = 0 or seq < $3) order by seq desc limit $4", environment, tenant, before, limit)
}

// ProvenRehearsal is the newest rehearsal of a release on a tenant, while that old release served, that proved something:
// its class, or that the update fails. ErrNotFound where there is none.
func (s *Store) ProvenRehearsal(ctx context.Context, environment, tenant, release, old string) (Rehearsal, error) {
	return one[Rehearsal](ctx, s.Pool, "select "+rehearsalColumns+`, report from rehearsals where environment = $1 and tenant = $2 and release = $3 and old_release = $4
		and state = 'done' and outcome in ('proven', 'fails') order by seq desc limit 1`, environment, tenant, release, old)
}

// Wait is how long people were predicted to wait in one promotion, and how long they did, in seconds.
type Wait struct {
	Predicted float64 `db:"predicted"` // as computed, without calibration
	Held      float64 `db:"held"`
}

// Waits are those of a tenant's promotions that succeeded after a prediction, newest first.
func (s *Store) Waits(ctx context.Context, environment, tenant string, limit int) ([]Wait, error) {
	return many[Wait](ctx, s.Pool, `select (memory->'plan'->>'computed_seconds')::double precision predicted, held_seconds held from rollouts
		where environment = $1 and tenant = $2 and state = 'done' and outcome = 'promoted' and held_seconds > 0
		and (memory->'plan'->>'computed_seconds')::double precision > 0 order by created_at desc limit $3`, environment, tenant, limit)
}
