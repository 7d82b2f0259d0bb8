package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
)

// Tenant is what Waybill last decided about a tenant.
type Tenant struct {
	Environment    string   `db:"environment" json:"environment"`
	Name           string   `db:"name" json:"name"`
	Database       string   `db:"database" json:"database"`
	Hosts          []string `db:"hosts" json:"hosts"`
	Group          string   `db:"pool_group" json:"group"`
	ServingRelease string   `db:"serving_release" json:"serving_release"` // digest that the route goes to
	SchemaRelease  string   `db:"schema_release" json:"schema_release"`   // digest that the database was updated to
	Live           Live     `db:"live" json:"live"`
}

// Live is the declared state of a tenant's route, cron and access. Routers, pool files and
// connect rights are derived from it and from nothing else.
type Live struct {
	Stable    string      `json:"stable,omitempty"` // pool
	Canary    string      `json:"canary,omitempty"` // pool that takes the buckets below Weight
	Weight    int         `json:"weight,omitempty"`
	Mode      router.Mode `json:"mode,omitempty"` // empty: open
	HoldUntil time.Time   `json:"hold_until,omitzero"`
	Message   string      `json:"message,omitempty"`
	Cron      string      `json:"cron,omitempty"`   // the one pool that runs cron
	Access    []string    `json:"access,omitempty"` // pools that may connect to the database; a fence is an empty list
	Updating  bool        `json:"updating,omitempty"`
	GCHold    bool        `json:"gc_hold,omitempty"`
	Suspended bool        `json:"suspended,omitempty"` // nobody is let through until a person says so
	Leaving   *Leaving    `json:"leaving,omitempty"`   // it was deleted; it is suspended as well
}

// Serves says whether the pool has the tenant on its list.
func (l Live) Serves(pool string) bool { return pool != "" && (l.Stable == pool || l.Canary == pool) }

// MayConnect says whether the pool's role may connect to the tenant's database.
func (l Live) MayConnect(pool string) bool { return slices.Contains(l.Access, pool) }

// Pool is a pool that exists, or should.
type Pool struct {
	Environment string            `db:"environment"`
	Name        string            `db:"name"`
	Release     string            `db:"release"`
	Image       string            `db:"image"`
	Group       string            `db:"pool_group"`
	Workers     int               `db:"workers"`
	Settings    map[string]string `db:"settings"`
	Memory      int64             `db:"memory"`   // bytes that each process may take; 0: not limited
	CPUs        float64           `db:"cpus"`     // likewise
	Sessions    string            `db:"sessions"` // URL of the Redis server that keeps them, without a password; empty: files
}

const tenantColumns = "environment, name, database, hosts, pool_group, serving_release, schema_release, live"

// Tenants lists an environment's tenants, or all for an empty name.
func (s *Store) Tenants(ctx context.Context, environment string) ([]Tenant, error) {
	return many[Tenant](ctx, s.Pool, "select "+tenantColumns+" from tenants where $1 = '' or environment = $1 order by environment, name", environment)
}

// Tenant reads one tenant.
func (s *Store) Tenant(ctx context.Context, environment, name string) (Tenant, error) {
	return one[Tenant](ctx, s.Pool, "select "+tenantColumns+" from tenants where environment = $1 and name = $2", environment, name)
}

// PutTenant writes down a tenant that is new, or that the estate now describes differently.
func (s *Store) PutTenant(ctx context.Context, t Tenant) error {
	return s.In(ctx, func(tx pgx.Tx) error { return s.PutTenants(ctx, tx, []Tenant{t}) })
}

// PutTenants is PutTenant for many, in tx. What has changed is another generation: a host that a new tenant claims may be one that
// somebody else yields, and a router takes no two tables of one generation.
func (s *Store) PutTenants(ctx context.Context, tx pgx.Tx, tenants []Tenant) error {
	batch := &pgx.Batch{}
	for _, t := range tenants {
		batch.Queue(`insert into tenants (environment, name, database, hosts, pool_group) values ($1, $2, $3, $4, $5)
			on conflict (environment, name) do update set database = excluded.database, hosts = excluded.hosts, pool_group = excluded.pool_group
			where (tenants.database, tenants.hosts, tenants.pool_group) is distinct from (excluded.database, excluded.hosts, excluded.pool_group)`,
			t.Environment, t.Name, t.Database, t.Hosts, t.Group)
	}
	changed := map[string]bool{}
	for i, item := range batch.QueuedQueries {
		item.Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() > 0 {
				changed[tenants[i].Environment] = true
			}
			return nil
		})
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	for environment := range changed {
		if _, err := tx.Exec(ctx, "insert into generations values ($1, 1) on conflict (environment) do update set generation = generations.generation + 1", environment); err != nil {
			return err
		}
	}
	return nil
}

// ChangeTenant changes a tenant under a row lock, provided that the rollout still holds its lease
// (a rollout of "" asks for none), and returns the tenant as it now is.
func (s *Store) ChangeTenant(ctx context.Context, environment, name string, lease Lease, change func(*Tenant)) (Tenant, error) {
	return s.ChangeTenantWith(ctx, environment, name, lease, change, nil)
}

// ChangeTenantWith is ChangeTenant, with something more to be written down in the same transaction.
func (s *Store) ChangeTenantWith(ctx context.Context, environment, name string, lease Lease, change func(*Tenant), with func(tx pgx.Tx) error) (Tenant, error) {
	var changed Tenant
	err := s.In(ctx, func(tx pgx.Tx) error {
		if err := lease.check(ctx, tx); err != nil {
			return err
		}
		t, err := one[Tenant](ctx, tx, "select "+tenantColumns+" from tenants where environment = $1 and name = $2 for update", environment, name)
		if err != nil {
			return err
		}
		change(&t)
		changed = t
		if _, err := tx.Exec(ctx, "update tenants set serving_release = $3, schema_release = $4, live = $5, hosts = $6, pool_group = $7 where environment = $1 and name = $2",
			environment, name, t.ServingRelease, t.SchemaRelease, t.Live, t.Hosts, t.Group); err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, `insert into generations values ($1, 1) on conflict (environment) do update set generation = generations.generation + 1`, environment); err != nil || with == nil {
			return err
		}
		return with(tx)
	})
	return changed, err
}

// ForgetTenant forgets a tenant that has no data and no pool, provided that the rollout still holds its lease; any other stays,
// and it reports false.
func (s *Store) ForgetTenant(ctx context.Context, environment, name string, lease Lease) (gone bool, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		if err := lease.check(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from tenants where environment = $1 and name = $2 and serving_release = '' and schema_release = ''
			and coalesce(live->>'stable', '') = '' and coalesce(live->>'canary', '') = ''`, environment, name)
		if err != nil {
			return err
		}
		gone = tag.RowsAffected() > 0
		_, err = tx.Exec(ctx, `insert into generations values ($1, 1) on conflict (environment) do update set generation = generations.generation + 1`, environment)
		return err
	})
	return gone, err
}

// Snapshot reads what an environment should look like, and the generation of that, in one look.
func (s *Store) Snapshot(ctx context.Context, environment string) (generation int64, tenants []Tenant, pools []Pool, err error) {
	err = pgx.BeginTxFunc(ctx, s.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "select coalesce(max(generation), 0) from generations where environment = $1", environment).Scan(&generation); err != nil {
			return err
		}
		if tenants, err = many[Tenant](ctx, tx, "select "+tenantColumns+" from tenants where environment = $1 order by name", environment); err != nil {
			return err
		}
		pools, err = many[Pool](ctx, tx, "select * from pools where environment = $1 order by name", environment)
		return err
	})
	return generation, tenants, pools, err
}

// PutPool records that a pool should exist. It answers before the runtime is asked to start it,
// so that nothing runs that Waybill does not know of.
func (s *Store) PutPool(ctx context.Context, p Pool) error {
	if p.Settings == nil {
		p.Settings = map[string]string{}
	}
	_, err := s.Pool.Exec(ctx, `insert into pools (environment, name, release, image, pool_group, workers, settings, memory, cpus, sessions) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		on conflict (environment, name) do update set release = excluded.release, image = excluded.image, workers = excluded.workers, settings = excluded.settings,
			memory = excluded.memory, cpus = excluded.cpus, sessions = excluded.sessions`,
		p.Environment, p.Name, p.Release, p.Image, p.Group, p.Workers, p.Settings, p.Memory, p.CPUs, p.Sessions)
	return err
}

// GetPool reads one pool.
func (s *Store) GetPool(ctx context.Context, environment, name string) (Pool, error) {
	return one[Pool](ctx, s.Pool, "select * from pools where environment = $1 and name = $2", environment, name)
}

// Environments lists the names of all environments with tenants or pools.
func (s *Store) Environments(ctx context.Context) ([]string, error) {
	rows, err := s.Pool.Query(ctx, "select environment from tenants union select environment from pools order by 1")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// DropPool forgets a pool that no tenant uses any more; it reports false while one does.
func (s *Store) DropPool(ctx context.Context, environment, name string) (bool, error) {
	tag, err := s.Pool.Exec(ctx, `delete from pools where environment = $1 and name = $2 and not exists (
		select from tenants where environment = $1 and ($2 in (live->>'stable', live->>'canary', live->>'cron') or live->'access' ? $2))`, environment, name)
	return err == nil && tag.RowsAffected() > 0, err
}

// PutRelease remembers a release by its digest.
func (s *Store) PutRelease(ctx context.Context, r release.Release) error {
	_, err := s.Pool.Exec(ctx, "insert into releases (digest, repository, name, data) values ($1, $2, $3, $4) on conflict (digest) do nothing",
		r.Digest, r.Repository, r.Name, r)
	return err
}

type releaseRow struct {
	Digest string          `db:"digest"`
	Data   release.Release `db:"data"`

	CreatedAt time.Time `db:"created_at"`
}

// Release finds a release by digest, by at least eight characters of one, or by name (the newest of that name).
func (s *Store) Release(ctx context.Context, ref string) (release.Release, error) {
	row, err := one[releaseRow](ctx, s.Pool, `select digest, data from releases
		where digest = $1 or name = $1 or (length($1) >= 8 and (starts_with(digest, $1) or starts_with(digest, 'sha256:' || $1)))
		order by digest = $1 desc, created_at desc limit 1`, ref)
	row.Data.Digest = row.Digest
	return row.Data, err
}

// Releases lists releases, newest first, those behind one that became known at a time (zero: from the newest); last is when the last of them did.
func (s *Store) Releases(ctx context.Context, before time.Time, digest string, limit int) (list []release.Release, last time.Time, err error) {
	rows, err := many[releaseRow](ctx, s.Pool, `select digest, data, created_at from releases where $1::timestamptz is null or (created_at, digest) < ($1, $2)
		order by created_at desc, digest desc limit $3`, nullTime(before), digest, limit)
	list = make([]release.Release, 0, len(rows))
	for _, row := range rows {
		row.Data.Digest = row.Digest
		list, last = append(list, row.Data), row.CreatedAt
	}
	return list, last, err
}

// Quarantine keeps a release out of an environment that took it back.
func (s *Store) Quarantine(ctx context.Context, tx pgx.Tx, environment, digest, promotion, reason string) error {
	_, err := tx.Exec(ctx, "insert into quarantine values ($1, $2, $3, $4) on conflict do nothing", environment, digest, promotion, reason)
	return err
}

// Quarantined tells which promotion took the release back, and why; empty: none did.
func (s *Store) Quarantined(ctx context.Context, environment, digest string) (promotion, reason string, err error) {
	err = s.Pool.QueryRow(ctx, "select coalesce(max(promotion_id), ''), coalesce(max(reason), '') from quarantine where environment = $1 and digest = $2",
		environment, digest).Scan(&promotion, &reason)
	return promotion, reason, err
}

// LiftQuarantine lets a release in again.
func (s *Store) LiftQuarantine(ctx context.Context, environment, digest string) error {
	_, err := s.Pool.Exec(ctx, "delete from quarantine where environment = $1 and digest = $2", environment, digest)
	return err
}
