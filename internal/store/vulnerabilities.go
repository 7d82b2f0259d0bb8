package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// VulnerabilityScan is what is known of the last comparison of running releases with advisories.
type VulnerabilityScan struct {
	State     string               `db:"state"` // of everything that it depends on; another one means: compare again
	Newest    map[string]time.Time `db:"newest"`
	Problems  []string             `db:"problems"`
	Error     string               `db:"error"`
	ScannedAt *time.Time           `db:"scanned_at"`
}

// Vulnerability is one that a release has which runs in an environment.
type Vulnerability struct {
	Environment string    `db:"environment"`
	Release     string    `db:"release"` // digest
	ID          string    `db:"id"`
	Ecosystem   string    `db:"ecosystem"`
	Component   string    `db:"component"`
	Version     string    `db:"version"`
	Level       string    `db:"level"` // refuse, warn
	Severity    string    `db:"severity"`
	Detail      string    `db:"detail"`
	Fix         string    `db:"fix"`
	FirstSeen   time.Time `db:"first_seen"`
}

type vulnerabilityKey struct{ environment, release, id, ecosystem, component, version string }

func (v Vulnerability) key() vulnerabilityKey {
	return vulnerabilityKey{v.Environment, v.Release, v.ID, v.Ecosystem, v.Component, v.Version}
}

// RunningRelease is a release that runs in an environment: a tenant's route goes to it, or a pool of it is there.
type RunningRelease struct {
	Environment string `db:"environment"`
	Release     string `db:"release"` // digest
}

// RunningReleases lists what runs where.
func (s *Store) RunningReleases(ctx context.Context) ([]RunningRelease, error) {
	return many[RunningRelease](ctx, s.Pool, `select environment, serving_release as release from tenants where serving_release <> ''
		union select environment, release from pools order by 1, 2`)
}

// LastVulnerabilityScan reads what is known; the zero value where there never was one.
func (s *Store) LastVulnerabilityScan(ctx context.Context) (VulnerabilityScan, error) {
	scan, err := one[VulnerabilityScan](ctx, s.Pool, "select state, newest, problems, error, scanned_at from vulnerability_scan")
	if errors.Is(err, ErrNotFound) {
		return VulnerabilityScan{}, nil
	}
	return scan, err
}

// Vulnerabilities lists what the running releases have, the gravest first.
func (s *Store) Vulnerabilities(ctx context.Context) ([]Vulnerability, error) {
	return many[Vulnerability](ctx, s.Pool, `select * from vulnerabilities
		order by environment, release, level, array_position(array['critical', 'high', 'medium', 'low', 'none'], severity), component, id`)
}

// SaveVulnerabilities replaces all that is known by a new scan, and returns what is new: not there
// before, or graver now. Of two servers that find the same, one is told that it is new.
func (s *Store) SaveVulnerabilities(ctx context.Context, scan VulnerabilityScan, found []Vulnerability) (fresh []Vulnerability, err error) {
	err = s.In(ctx, func(tx pgx.Tx) error {
		fresh = nil
		if _, err := tx.Exec(ctx, "lock table vulnerabilities in exclusive mode"); err != nil {
			return err
		}
		known, err := many[Vulnerability](ctx, tx, "select * from vulnerabilities")
		if err != nil {
			return err
		}
		before := map[vulnerabilityKey]Vulnerability{}
		for _, v := range known {
			before[v.key()] = v
		}
		if _, err := tx.Exec(ctx, "delete from vulnerabilities"); err != nil {
			return err
		}
		rows := make([][]any, 0, len(found))
		now := time.Now()
		for _, v := range found {
			old, there := before[v.key()]
			v.FirstSeen = now
			if there && (old.Level == v.Level || old.Level == "refuse") {
				v.FirstSeen = old.FirstSeen
			} else {
				fresh = append(fresh, v)
			}
			rows = append(rows, []any{v.Environment, v.Release, v.ID, v.Ecosystem, v.Component, v.Version, v.Level, v.Severity, v.Detail, v.Fix, v.FirstSeen})
		}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"vulnerabilities"},
			[]string{"environment", "release", "id", "ecosystem", "component", "version", "level", "severity", "detail", "fix", "first_seen"}, pgx.CopyFromRows(rows)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `insert into vulnerability_scan (state, newest, problems, error, scanned_at) values ($1, $2, $3, '', now())
			on conflict (one) do update set state = excluded.state, newest = excluded.newest, problems = excluded.problems, error = '', scanned_at = now()`,
			scan.State, orEmpty(scan.Newest), append([]string{}, scan.Problems...))
		return err
	})
	return fresh, err
}

// FailVulnerabilityScan keeps why a scan failed, and what was found before. It reports whether that is
// another reason than the last one.
func (s *Store) FailVulnerabilityScan(ctx context.Context, reason string) (another bool, err error) {
	tag, err := s.Pool.Exec(ctx, `insert into vulnerability_scan as v (state, error) values ('', $1)
		on conflict (one) do update set state = '', error = excluded.error where v.error <> excluded.error`, reason)
	return err == nil && tag.RowsAffected() > 0, err
}

// ForgetVulnerabilities removes all that is known: the estate no longer asks.
func (s *Store) ForgetVulnerabilities(ctx context.Context) error {
	return s.In(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "delete from vulnerabilities"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from vulnerability_scan")
		return err
	})
}

func orEmpty(m map[string]time.Time) map[string]time.Time {
	if m == nil {
		return map[string]time.Time{}
	}
	return m
}
