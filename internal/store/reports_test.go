package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/report"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

var day = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// history writes rows as the engine leaves them. Minutes are those of day.
const history = `
create function pg_temp.m(minutes float) returns timestamptz language sql as $$ select timestamptz '2026-11-02Z' + minutes * interval '1 minute' $$;

insert into releases (digest, repository, name, data, created_at) values
	('sha256:good', 'acme', 'good', '{"created": "2026-11-01T00:00:00Z"}', pg_temp.m(-60)),
	('sha256:dirty', 'acme', 'dirty', '{"created": "2026-10-01T00:00:00Z", "dirty": true}', pg_temp.m(-30)),
	('sha256:zero', 'acme', 'zero', '{"created": "0001-01-01T00:00:00Z"}', pg_temp.m(-20));

insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, created_at, finished_at, outcome) values
	('p1', 'promote', 'production', 'sha256:good', 'good', 'anna', '{}', '{}', '', pg_temp.m(0), pg_temp.m(60), 'halted'),
	('p2', 'promote', 'production', 'sha256:dirty', 'dirty', 'anna', '{}', '{}', '', pg_temp.m(100), pg_temp.m(160), 'promoted'),
	('p3', 'rollback', 'production', 'sha256:good', 'good', 'anna', '{"of": "p2"}', '{}', '', pg_temp.m(200), pg_temp.m(210), 'promoted'),
	('p4', 'promote', 'production', 'sha256:dirty', 'dirty', 'anna', '{}', '{}', '', pg_temp.m(300), pg_temp.m(310), 'promoted'),
	('p5', 'promote', 'production', 'sha256:zero', 'zero', 'anna', '{}', '{}', '', pg_temp.m(400), pg_temp.m(410), 'rolled_back'),
	('p6', 'promote', 'production', 'sha256:zero', 'zero', 'anna', '{}', '{}', '', pg_temp.m(500), null, ''),
	('p7', 'promote', 'test', 'sha256:zero', 'zero', 'anna', '{}', '{}', '', pg_temp.m(600), pg_temp.m(610), 'promoted');

insert into rollouts (id, promotion_id, environment, tenant, state, memory, outcome, held_seconds, ring, created_at, finished_at) values
	('r1a', 'p1', 'production', 'a', 'done', '{"plan": {"class": "compatible", "predicted_seconds": 8}}', 'promoted', 10, 'early', pg_temp.m(0), pg_temp.m(50)),
	('r1b', 'p1', 'production', 'b', 'done', '{"plan": {"class": "breaking"}}', 'rolled_back', 20, 'late', pg_temp.m(0), pg_temp.m(60)),
	('r2a', 'p2', 'production', 'a', 'done', '{"plan": {"class": "swap"}}', 'promoted', 0, '', pg_temp.m(100), pg_temp.m(160)),
	('r3a', 'p3', 'production', 'a', 'done', '{}', 'promoted', 0, '', pg_temp.m(200), pg_temp.m(210)),
	('r4a', 'p4', 'production', 'a', 'done', '{}', 'promoted', 0, '', pg_temp.m(300), pg_temp.m(310)),
	('r5a', 'p5', 'production', 'a', 'done', '{"not_admitted": true}', 'rolled_back', 0, '', pg_temp.m(400), pg_temp.m(410)),
	('r6a', 'p6', 'production', 'a', 'running', '{}', '', 0, '', pg_temp.m(500), null),
	('r7a', 'p7', 'test', 'a', 'done', '{}', 'promoted', 0, '', pg_temp.m(600), pg_temp.m(610));

insert into steps (rollout_id, name, undo, outcome, epoch, started_at, finished_at) values
	('r1a', 'gates', false, 'waits', 1, pg_temp.m(1), pg_temp.m(1)),
	('r1a', 'gates', false, 'done', 1, pg_temp.m(9), pg_temp.m(10)),
	('r1a', 'checkpoint', false, 'retried', 1, pg_temp.m(10), pg_temp.m(11)),
	('r1a', 'checkpoint', false, 'done', 1, pg_temp.m(11), pg_temp.m(12)),
	('r1a', 'shift', false, 'waits', 1, pg_temp.m(20), pg_temp.m(21)),
	('r1a', 'shift', false, 'done', 1, pg_temp.m(22), pg_temp.m(23)),
	('r1b', 'checkpoint', false, 'skipped', 1, pg_temp.m(10), pg_temp.m(10)),
	('r1b', 'checkpoint in fence', false, 'failed', 1, pg_temp.m(10), pg_temp.m(10)),
	('r1b', 'shift', false, 'done', 1, pg_temp.m(30), pg_temp.m(31)),
	('r1b', 'bake', false, 'failed', 1, pg_temp.m(32), pg_temp.m(40)),
	('r1b', 'shift', true, 'done', 1, pg_temp.m(41), pg_temp.m(42)),
	('r1b', 'hold', true, 'done', 1, pg_temp.m(44), pg_temp.m(45)),
	('r1b', 'start pool', true, 'done', 1, pg_temp.m(46), pg_temp.m(60)),
	('r2a', 'shift', false, 'done', 1, pg_temp.m(110), pg_temp.m(111)),
	('r7a', 'shift', false, 'done', 1, pg_temp.m(605), pg_temp.m(606));

insert into approvals (id, promotion_id, decision, person, token, roles, reason, binding, saw, created_at, expires_at) values
	('a1', 'p1', 'reject', 'bert', '', '{}', 'r', '', '{}', pg_temp.m(4), pg_temp.m(9999)),
	('a2', 'p1', 'approve', 'bert', '', '{}', 'r', '', '{}', pg_temp.m(5), pg_temp.m(9999)),
	('a3', 'p1', 'approve', 'carl', '', '{}', 'r', '', '{}', pg_temp.m(8), pg_temp.m(9999)),
	('a4', 'p1', 'approve', 'dora', '', '{}', 'r', '', '{}', pg_temp.m(30), pg_temp.m(9999));

insert into rehearsals (id, environment, tenant, release, release_name, old_release, requested_by, state, outcome, created_at, finished_at) values
	('h1', 'production', 'a', 'sha256:good', 'good', '', 'anna', 'done', 'proven', pg_temp.m(0), pg_temp.m(1)),
	('h2', 'test', 'a', 'sha256:good', 'good', '', 'anna', 'done', 'fails', pg_temp.m(0), pg_temp.m(1)),
	('h3', 'production', 'a', 'sha256:good', 'good', '', 'anna', 'running', '', pg_temp.m(0), null);
`

func minute(m float64) time.Time { return day.Add(time.Duration(m * float64(time.Minute))) }

func wrote(t *testing.T, s *store.Store, sql string) {
	t.Helper()
	conn, err := s.Pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, err = conn.Conn().PgConn().Exec(t.Context(), sql).ReadAll()
	require.NoError(t, err)
}

func TestReport(t *testing.T) {
	s := storetest.Open(t, cluster(t))
	wrote(t, s, history)
	d, err := s.Report(t.Context(), day, day.AddDate(0, 0, 1), "")
	require.NoError(t, err)
	var ids []string
	rows := map[string]report.Rollout{}
	for _, r := range d.Rollouts {
		ids = append(ids, r.Promotion+"/"+r.Tenant)
		for _, at := range []*time.Time{&r.PromotionEnded, &r.Ended, &r.Committed, &r.AskedAt, &r.LetInAt, &r.ApprovedAt, &r.ServedAt, &r.FailedAt, &r.BackAt} {
			if !at.IsZero() {
				*at = at.UTC()
			}
		}
		rows[ids[len(ids)-1]] = r
	}
	require.Equal(t, []string{"p1/a", "p1/b", "p2/a", "p3/a", "p4/a", "p5/a", "p7/a"}, ids, "what has ended, in its order")
	require.Equal(t, report.Rollout{Promotion: "p1", Kind: "promote", Environment: "production", Tenant: "a", Ring: "early", Release: "sha256:good", ReleaseName: "good",
		Promoted: true, First: true, PromotionEnded: minute(60), Ended: minute(50), Committed: day.AddDate(0, 0, -1), AskedAt: minute(1), LetInAt: minute(10),
		ApprovedAt: minute(8), ServedAt: minute(20), Predicted: 8, Held: 10, Checkpoints: 1}, rows["p1/a"])
	b := rows["p1/b"]
	require.Equal(t, []time.Time{minute(30), minute(40), minute(45)}, []time.Time{b.ServedAt, b.FailedAt, b.BackAt}, "of a breaking release people are back when the hold has ended")
	require.Equal(t, 1, b.CheckpointsFailed)
	require.False(t, b.First)
	later := rows["p2/a"]
	require.Equal(t, []time.Time{minute(110), minute(200), minute(210)}, []time.Time{later.ServedAt, later.FailedAt, later.BackAt}, "somebody took it back an hour and a half later")
	require.Equal(t, minute(-30), later.Committed, "of a dirty build the commit says nothing")
	require.True(t, later.First)
	require.False(t, rows["p4/a"].First, "it had come to this release before")
	require.True(t, rows["p5/a"].Refused)
	require.Equal(t, minute(-20), rows["p5/a"].Committed, "a commit without a time")
	require.Len(t, d.Rehearsals, 2)

	d, err = s.Report(t.Context(), day, day.AddDate(0, 0, 1), "test")
	require.NoError(t, err)
	require.Len(t, d.Rollouts, 1)
	require.Len(t, d.Rehearsals, 1)
	d, err = s.Report(t.Context(), minute(60), minute(160), "")
	require.NoError(t, err)
	require.Len(t, d.Rollouts, 2, "the promotion that ended at the period's beginning is in it, the one at its end is not")
}

// many writes 10,000 promotions of three years with fifteen steps each, as a restore does: without triggers.
const many = `
set session_replication_role = replica;
insert into releases (digest, repository, name, data) select 'sha256:' || n, 'acme', 'r' || n, '{"created": "2024-01-01T00:00:00Z"}' from generate_series(1, 2000) n;
insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, created_at, finished_at, outcome)
	select 'p' || n, case when n % 20 = 0 then 'rollback' else 'promote' end, case when n % 2 = 0 then 'test' else 'production' end, 'sha256:' || n % 2000 + 1, 'r', 'anna',
		case when n % 20 = 0 then jsonb_build_object('of', 'p' || n - 2) else '{}' end, '{}', '', at, at + interval '1 hour', 'promoted'
	from (select n, timestamptz '2024-01-01Z' + n * interval '157 minutes' as at from generate_series(1, 10000) n) x;
insert into rollouts (id, promotion_id, environment, tenant, state, memory, outcome, created_at, finished_at)
	select p.id || '/' || t, p.id, p.environment, 't' || t, 'done', jsonb_build_object('plan', jsonb_build_object('class', 'swap', 'checksums', repeat('x', 1500))), case when hashtext(p.id) % 10 = 0 then 'rolled_back' else 'promoted' end, p.created_at, p.finished_at
	from promotions p, generate_series(1, 1) t;
insert into steps (rollout_id, name, undo, outcome, epoch, started_at, finished_at)
	select r.id, (array['admit', 'rehearse', 'gates', 'start pool', 'checkpoint', 'hold', 'update', 'let go', 'verify', 'shift', 'shift', 'shift', 'bake', 'record', 'record'])[n], false, 'done', 1, r.created_at + n * interval '1 minute', r.created_at + (n + 1) * interval '1 minute'
	from rollouts r, generate_series(1, 15) n;
set session_replication_role = origin;
analyze;
`

// A report of 10,000 promotions is held against reading and grouping all of their 150,000 steps once: that is as slow as the
// machine is just now, and what a report cannot do without.
func TestReportOfTenThousandPromotions(t *testing.T) {
	s := storetest.Open(t, cluster(t))
	wrote(t, s, many)
	quickest := func(do func()) time.Duration {
		best := time.Hour
		for range 3 {
			begin := time.Now()
			do()
			best = min(best, time.Since(begin))
		}
		return best
	}
	measure := quickest(func() {
		var n int
		require.NoError(t, s.Pool.QueryRow(t.Context(), "select count(*) from (select rollout_id, min(started_at), max(finished_at) from steps group by 1) x").Scan(&n))
		require.Equal(t, 10_000, n)
	})
	for _, c := range []struct {
		name     string
		from     time.Time
		times    float64
		rollouts int
	}{
		{"all", day.AddDate(-3, 0, 0), 25, 10_000},
		{"quarter", day.AddDate(0, 0, -90), 8, 1321},
	} {
		to := day.AddDate(1, 0, 0)
		took := quickest(func() {
			d, err := s.Report(t.Context(), c.from, to, "")
			require.NoError(t, err)
			require.InDelta(t, c.rollouts, len(d.Rollouts), 20)
			_, err = report.Make(report.Question{From: c.from, To: to, By: report.Tenant, Bucket: report.Week, Zone: time.UTC}, d)
			require.NoError(t, err)
		})
		t.Logf("%s: %s, %.1f times as long as reading all steps (%s)", c.name, took, float64(took)/float64(measure), measure)
		require.Less(t, float64(took)/float64(measure), c.times, c.name)
	}
}
