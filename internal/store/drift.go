package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// DeclaredObject is what was applied to a cluster last of one object.
type DeclaredObject struct {
	Scope       string `db:"scope"`
	APIVersion  string `db:"api_version"`
	Kind        string `db:"kind"`
	Namespace   string `db:"namespace"`
	Name        string `db:"name"`
	Environment string `db:"environment"`
	Manifest    []byte `db:"manifest"` // sealed
	Applied     string `db:"applied"`
	Fingerprint string `db:"fingerprint"`
}

const declaredColumns = "scope, api_version, kind, namespace, name, environment, manifest, applied, fingerprint"

// KeepDeclared writes it down, in the place of what was declared before.
func (s *Store) KeepDeclared(ctx context.Context, d DeclaredObject) error {
	_, err := s.Pool.Exec(ctx, "insert into declared_objects ("+declaredColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		on conflict (scope, kind, namespace, name) do update set api_version = excluded.api_version, environment = excluded.environment,
			manifest = excluded.manifest, applied = excluded.applied, fingerprint = excluded.fingerprint, kept_at = now()`,
		d.Scope, d.APIVersion, d.Kind, d.Namespace, d.Name, d.Environment, d.Manifest, d.Applied, d.Fingerprint)
	return err
}

// Declared lists what was declared in a cluster.
func (s *Store) Declared(ctx context.Context, scope string) ([]DeclaredObject, error) {
	return many[DeclaredObject](ctx, s.Pool, "select "+declaredColumns+" from declared_objects where scope = $1 order by kind, namespace, name", scope)
}

// DeclaredOne reads what was declared of one object.
func (s *Store) DeclaredOne(ctx context.Context, scope, kind, namespace, name string) (DeclaredObject, error) {
	return one[DeclaredObject](ctx, s.Pool, "select "+declaredColumns+" from declared_objects where scope = $1 and kind = $2 and namespace = $3 and name = $4", scope, kind, namespace, name)
}

// DropDeclared forgets one object.
func (s *Store) DropDeclared(ctx context.Context, scope, kind, namespace, name string) error {
	_, err := s.Pool.Exec(ctx, "delete from declared_objects where scope = $1 and kind = $2 and namespace = $3 and name = $4", scope, kind, namespace, name)
	return err
}

// DropDeclaredNamespace forgets a namespace and everything in it.
func (s *Store) DropDeclaredNamespace(ctx context.Context, scope, namespace string) error {
	_, err := s.Pool.Exec(ctx, "delete from declared_objects where scope = $1 and (namespace = $2 or kind = 'Namespace' and name = $2)", scope, namespace)
	return err
}

// Drift is how an object that runs differs, or differed, from what was declared.
type Drift struct {
	Scope       string          `db:"scope"`
	APIVersion  string          `db:"api_version"`
	Kind        string          `db:"kind"`
	Namespace   string          `db:"namespace"`
	Name        string          `db:"name"`
	Environment string          `db:"environment"` // empty: of the whole cluster
	Finding     json.RawMessage `db:"finding"`     // drift.Finding
	What        string          `db:"what"`        // what of the finding makes it another one
	FoundAt     time.Time       `db:"found_at"`
	ToldAt      time.Time       `db:"told_at"`
	MendedAt    *time.Time      `db:"mended_at"`
	Heals       []time.Time     `db:"heals"`
	Fought      bool            `db:"fought"`
}

const driftColumns = "scope, api_version, kind, namespace, name, environment, finding, what, found_at, told_at, mended_at, heals, fought"

// DriftIn reads what is known of an object, locked until the transaction ends; known is false where nothing was ever found.
func (s *Store) DriftIn(ctx context.Context, tx pgx.Tx, scope, kind, namespace, name string) (d Drift, known bool, err error) {
	// Of two servers that find the same at the same time, before there is a row, one waits for the other.
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(hashtextextended('drift ' || $1 || ' ' || $2 || ' ' || $3 || ' ' || $4, 0))", scope, kind, namespace, name); err != nil {
		return d, false, err
	}
	d, err = one[Drift](ctx, tx, "select "+driftColumns+" from drifts where scope = $1 and kind = $2 and namespace = $3 and name = $4", scope, kind, namespace, name)
	if errors.Is(err, ErrNotFound) {
		return d, false, nil
	}
	return d, err == nil, err
}

// PutDrift writes it down.
func (s *Store) PutDrift(ctx context.Context, tx pgx.Tx, d Drift) error {
	if d.Heals == nil {
		d.Heals = []time.Time{}
	}
	_, err := tx.Exec(ctx, "insert into drifts ("+driftColumns+`) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		on conflict (scope, kind, namespace, name) do update set api_version = excluded.api_version, environment = excluded.environment, finding = excluded.finding,
			what = excluded.what, found_at = excluded.found_at, told_at = excluded.told_at, mended_at = excluded.mended_at, heals = excluded.heals, fought = excluded.fought`,
		d.Scope, d.APIVersion, d.Kind, d.Namespace, d.Name, d.Environment, d.Finding, d.What, d.FoundAt, d.ToldAt, d.MendedAt, d.Heals, d.Fought)
	return err
}

// Drifts lists what drifts now, in a cluster or, with an empty scope, in all, the environments' one after the other.
func (s *Store) Drifts(ctx context.Context, scope string) ([]Drift, error) {
	return many[Drift](ctx, s.Pool, "select "+driftColumns+" from drifts where mended_at is null and $1 in ('', scope) order by environment, kind, namespace, name", scope)
}
