package store

import (
	"context"
	"encoding/json"
)

// ActiveRollouts lists the rollouts of an environment that have not ended.
func (s *Store) ActiveRollouts(ctx context.Context, environment string) ([]Rollout, error) {
	return many[Rollout](ctx, s.Pool, "select * from rollouts where environment = $1 and state <> 'done' order by tenant", environment)
}

// Measured is how long a tenant's last successful promotion took.
type Measured struct {
	Tenant      string  `db:"tenant"`
	Promotion   string  `db:"promotion"`
	ReleaseName string  `db:"release_name"`
	Held        float64 `db:"held"` // seconds that people waited
	Took        float64 `db:"took"` // seconds from the first of the steps that count to its end; 0: it had none
}

// LastMeasured are the newest successful promotions of an environment's tenants. What came before the last of the steps that are
// named does not count: they wait, and where a rollout began anew its first try is before them too.
func (s *Store) LastMeasured(ctx context.Context, environment string, waits []string) ([]Measured, error) {
	return many[Measured](ctx, s.Pool, `with last as (select distinct on (r.tenant) r.* from rollouts r join promotions p on p.id = r.promotion_id
			where r.environment = $1 and p.kind = 'promote' and r.state = 'done' and r.outcome = 'promoted' order by r.tenant, r.created_at desc)
		select l.tenant, l.promotion_id as promotion, p.release_name, l.held_seconds as held,
			coalesce(extract(epoch from l.finished_at - (select min(started_at) from steps s where s.rollout_id = l.id and s.outcome <> 'skipped'
				and s.seq > (select coalesce(max(seq), 0) from steps w where w.rollout_id = l.id and w.name = any($2)))), 0)::double precision as took
		from last l join promotions p on p.id = l.promotion_id`, environment, waits)
}

// Recovered is a restore that a rehearsal has measured.
type Recovered struct {
	Tenant    string  `db:"tenant"`
	Rehearsal string  `db:"rehearsal"`
	Seconds   float64 `db:"seconds"`
}

// LastRecovered are the newest measured restores of an environment's tenants, of whatever release.
func (s *Store) LastRecovered(ctx context.Context, environment string) ([]Recovered, error) {
	return many[Recovered](ctx, s.Pool, `select distinct on (tenant) tenant, id as rehearsal, (report->>'recovery_seconds')::double precision as seconds from rehearsals
		where environment = $1 and state = 'done' and (report->>'recovery_seconds')::double precision > 0 order by tenant, seq desc`, environment)
}

// Evidence is what a rehearsal proved, without its long parts.
type Evidence struct {
	ID         string          `db:"id"`
	Tenant     string          `db:"tenant"`
	OldRelease string          `db:"old_release"`
	Report     json.RawMessage `db:"report"`
}

// Evidence lists the newest rehearsals of a release that proved something, or that it fails, one a tenant and release that served then.
func (s *Store) Evidence(ctx context.Context, environment, release string) ([]Evidence, error) {
	return many[Evidence](ctx, s.Pool, `select distinct on (tenant, old_release) id, tenant, old_release, report - '{timeline,effect,update,way_back,advice,steps,restore}'::text[] as report from rehearsals
		where environment = $1 and release = $2 and state = 'done' and outcome in ('proven', 'fails') order by tenant, old_release, seq desc`, environment, release)
}
