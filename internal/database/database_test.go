package database

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

var cluster = postgrestest.Shared(postgres.Options{})

type bundle struct {
	*Server
	t         *testing.T
	db, owner string
}

// setup makes a database and an owner named after the test.
func setup(t *testing.T) bundle {
	t.Helper()
	s, err := Open(t.Context(), cluster(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	name := strings.ToLower(strings.NewReplacer("/", "_", "Test", "").Replace(t.Name()))
	b := bundle{Server: s, t: t, db: "db-" + name, owner: "Owner." + name}
	require.NoError(t, s.EnsureOwner(t.Context(), b.owner))
	require.NoError(t, s.EnsureOwner(t.Context(), b.owner), "twice")
	require.NoError(t, s.Create(t.Context(), b.db, b.owner))
	t.Cleanup(func() { require.NoError(t, s.Drop(context.Background(), b.db)) })
	return b
}

func (b bundle) login(role string) {
	b.t.Helper()
	require.NoError(b.t, b.EnsureLogin(b.t.Context(), role, "pw-"+role, b.owner))
}

func (b bundle) urlAs(role, db string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, "pw-"+role), Path: "/" + db,
		RawQuery: url.Values{"host": {cluster(b.t).SocketDir()}, "port": {fmt.Sprint(cluster(b.t).Port())}, "application_name": {"waybill"}}.Encode()}
	return u.String() // the name "waybill" spares no role but a superuser
}

func (b bundle) connect(role, db string) *pgx.Conn {
	b.t.Helper()
	conn, err := pgx.Connect(b.t.Context(), b.urlAs(role, db))
	require.NoError(b.t, err)
	b.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func TestLoginActsAsOwner(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	b.login("Pool-One")
	b.login("Pool-One")
	_, err := pgx.Connect(ctx, b.urlAs("Pool-One", b.db))
	require.ErrorContains(t, err, "permission denied for database", "a new database is closed, to its owner's members as well")

	_, err = b.SetAccess(ctx, b.db, []string{"Pool-One"})
	require.NoError(t, err)
	conn := b.connect("Pool-One", b.db)
	_, err = conn.Exec(ctx, "CREATE TABLE t (); CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent")
	require.NoError(t, err, "Odoo makes its extensions itself")
	var owner string
	require.NoError(t, conn.QueryRow(ctx, "SELECT tableowner::text FROM pg_tables WHERE tablename = 't'").Scan(&owner))
	require.Equal(t, b.owner, owner)
	conn.Close(ctx)

	ok, err := b.RoleSurvivesReset(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	var left int
	require.NoError(t, b.pool.QueryRow(ctx, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'waybill_check%'").Scan(&left))
	require.Zero(t, left)

	size, err := b.Size(ctx, b.db)
	require.NoError(t, err)
	require.Positive(t, size)
	_, err = b.Size(ctx, "none")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestCreateTwice(t *testing.T) {
	b, ctx := setup(t), t.Context()
	require.NoError(t, b.Create(ctx, b.db, b.owner))
	require.NoError(t, b.EnsureOwner(ctx, "somebody"))
	require.ErrorIs(t, b.Create(ctx, b.db, "somebody"), ErrExists)
	ok, err := b.Exists(ctx, b.db)
	require.NoError(t, err)
	require.True(t, ok)
}

func TestNames(t *testing.T) {
	b, ctx := setup(t), t.Context()
	for _, name := range []string{"", `a"b`, "a b", "-x", strings.Repeat("x", 64), "postgres", "template1", "a;b", "a'b", "ü"} {
		require.ErrorIs(t, b.Create(ctx, name, b.owner), ErrName, name)
		require.ErrorIs(t, b.Drop(ctx, name), ErrName, name)
	}
	for _, role := range []string{"", "pg_x", "PUBLIC", "none", `x"; DROP ROLE y; --`} {
		require.ErrorIs(t, b.EnsureLogin(ctx, role, "x", b.owner), ErrName, role)
		_, err := b.SetAccess(ctx, b.db, []string{role})
		require.ErrorIs(t, err, ErrName, role)
	}
	_, err := b.SetAccess(ctx, b.db, []string{"no-such-role"})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Open(ctx, "postgres://x:top-secret@%zz/")
	require.NotContains(t, err.Error(), "top-secret")
}

func TestSetAccessRefusesAHoleInTheFence(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("hole_member")
	_, err := b.pool.Exec(ctx, `CREATE ROLE hole_group; GRANT hole_group TO hole_member; ALTER ROLE hole_member INHERIT; CREATE ROLE hole_in LOGIN IN ROLE hole_member`)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = b.pool.Exec(context.Background(), "DROP ROLE hole_in") })
	_, err = b.SetAccess(ctx, b.db, []string{"hole_member"})
	require.ErrorContains(t, err, "hole_in may still connect")
}

// The storm: clients that reconnect without pause and each commit what they can. After the fence has
// come down, not one more commit.
func TestFenceUnderAStorm(t *testing.T) {
	long.Test(t)
	b := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	b.login("storm_old")
	b.login("storm_new")
	require.NoError(t, setAccess(b, ctx, "storm_old"))
	first := b.connect("storm_old", b.db)
	_, err := first.Exec(ctx, "CREATE TABLE counter (who text, n int); INSERT INTO counter VALUES ('storm_old', 0), ('storm_new', 0)")
	require.NoError(t, err)
	first.Close(ctx)

	var acknowledged, refused atomic.Int64
	var wg sync.WaitGroup
	storm, calm := context.WithCancel(ctx)
	client := func(role string) {
		for storm.Err() == nil {
			conn, err := pgx.Connect(storm, b.urlAs(role, b.db))
			if err != nil {
				refused.Add(1)
				continue
			}
			for i := 0; i < 20; i++ { // implicit and explicit transactions, some left open in the middle
				if i%3 == 0 {
					_, err = conn.Exec(storm, "BEGIN; UPDATE counter SET n = n + 1 WHERE who = '"+role+"'; COMMIT")
				} else {
					_, err = conn.Exec(storm, "UPDATE counter SET n = n + 1 WHERE who = $1", role)
				}
				if err != nil {
					break
				}
				acknowledged.Add(1)
			}
			conn.Close(context.Background())
		}
	}
	for range 12 {
		wg.Go(func() { client("storm_old") })
	}
	for range 4 {
		wg.Go(func() { client("storm_new") })
	}
	t.Cleanup(func() { calm(); wg.Wait() })

	count := func(role string) (n int) {
		admin, err := b.Server.connect(ctx, b.db)
		require.NoError(t, err)
		defer admin.Close(ctx)
		require.NoError(t, admin.QueryRow(ctx, "SELECT n FROM counter WHERE who = $1", role).Scan(&n))
		return n
	}
	grows := func(role string) {
		t.Helper()
		before := count(role)
		require.Eventually(t, func() bool { return count(role) > before+5 }, time.Minute, 10*time.Millisecond)
	}
	grows("storm_old")
	rounds, ended := 6, 0
	for i := range rounds {
		n, err := b.SetAccess(ctx, b.db, []string{"storm_new"})
		require.NoError(t, err)
		ended += n
		at := count("storm_old")
		grows("storm_new") // the storm rages on: fenced clients knock all the time
		require.Equal(t, at, count("storm_old"), "round %d: a commit behind the fence", i)
		if i == 0 {
			again, err := b.SetAccess(ctx, b.db, []string{"storm_new"})
			require.NoError(t, err)
			require.Zero(t, again, "idempotent: the session that may stay does")
		}
		n, err = b.SetAccess(ctx, b.db, nil) // both out
		require.NoError(t, err)
		ended += n
		at, other := count("storm_old"), count("storm_new")
		before := refused.Load()
		require.Eventually(t, func() bool { return refused.Load() > before+50 }, time.Minute, 5*time.Millisecond)
		require.Equal(t, [2]int{at, other}, [2]int{count("storm_old"), count("storm_new")}, "round %d", i)
		require.NoError(t, setAccess(b, ctx, "storm_old"))
		grows("storm_old")
	}
	t.Logf("%d rounds, %d sessions ended, %d commits acknowledged, %d connections refused", rounds, ended, acknowledged.Load(), refused.Load())
	require.Positive(t, ended)
}

func setAccess(b bundle, ctx context.Context, logins ...string) error {
	_, err := b.SetAccess(ctx, b.db, logins)
	return err
}

func TestFenceSparesOurselvesAndOnlyOurselves(t *testing.T) {
	b, ctx := setup(t), t.Context()
	ours, err := b.Server.connect(ctx, b.db)
	require.NoError(t, err)
	defer ours.Close(ctx)
	cfg := b.pool.Config().ConnConfig.Copy()
	cfg.Database = b.db
	cfg.RuntimeParams["application_name"] = "psql"
	theirs, err := pgx.ConnectConfig(ctx, cfg)
	require.NoError(t, err)
	defer theirs.Close(ctx)
	n, err := b.SetAccess(ctx, b.db, nil)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, ours.Ping(ctx))
	require.Error(t, theirs.Ping(ctx))
	logins, err := b.Logins(ctx, b.db)
	require.NoError(t, err)
	require.Empty(t, logins)
}

func TestSwap(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("swap_pool")
	require.NoError(t, setAccess(b, ctx, "swap_pool"))
	next, kept := b.db+"-next", b.db+"-kept"
	require.ErrorIs(t, b.Swap(ctx, b.db, next, kept), ErrNotFound)
	require.ErrorIs(t, b.Swap(ctx, "none", next, kept), ErrNotFound)
	require.NoError(t, b.Create(ctx, next, b.owner))
	t.Cleanup(func() { _ = b.Drop(context.Background(), next); _ = b.Drop(context.Background(), kept) })
	mark := func(db, text string) {
		conn, err := b.Server.connect(ctx, db)
		require.NoError(t, err)
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "CREATE TABLE who (name text); INSERT INTO who VALUES ('"+text+"'); GRANT SELECT ON who TO PUBLIC")
		require.NoError(t, err)
	}
	mark(b.db, "old")
	mark(next, "new")

	// Clients that come back all the time do not keep the swap from happening.
	storm, calm := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for storm.Err() == nil {
				if conn, err := pgx.Connect(storm, b.urlAs("swap_pool", b.db)); err == nil {
					_, _ = conn.Exec(storm, "SELECT pg_sleep(10)")
					conn.Close(context.Background())
				}
			}
		})
	}
	require.Eventually(t, func() bool {
		var n int
		_ = b.pool.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'swap_pool'").Scan(&n)
		return n >= 4
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, b.Swap(ctx, b.db, next, kept))
	calm()
	wg.Wait()
	require.NoError(t, b.Swap(ctx, b.db, next, kept), "done already")
	require.ErrorIs(t, b.Swap(ctx, b.db, next, kept+"2"), ErrNotFound, "another swap is not the one that was done")

	var who string
	conn := b.connect("swap_pool", b.db)
	require.NoError(t, conn.QueryRow(ctx, "SELECT name FROM who").Scan(&who))
	require.Equal(t, "new", who)
	_, err := pgx.Connect(ctx, b.urlAs("swap_pool", kept))
	require.ErrorContains(t, err, "permission denied for database")
	owner, err := b.Owner(ctx, b.db)
	require.NoError(t, err)
	require.Equal(t, b.owner, owner)

	// And back again.
	require.NoError(t, b.Swap(ctx, b.db, kept, next))
	conn = b.connect("swap_pool", b.db)
	require.NoError(t, conn.QueryRow(ctx, "SELECT name FROM who").Scan(&who))
	require.Equal(t, "old", who)

	require.ErrorIs(t, b.Swap(ctx, b.db, next, "db-swap-next"), ErrName)
	require.NoError(t, b.Create(ctx, kept, b.owner))
	require.ErrorIs(t, b.Swap(ctx, b.db, next, kept), ErrExists)
}

func TestUpdateRunning(t *testing.T) {
	b, ctx := setup(t), t.Context()
	running, err := b.UpdateRunning(ctx, b.db)
	require.NoError(t, err)
	require.False(t, running)
	conn, err := b.Server.connect(ctx, b.db)
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1, $2)", int32(bridge.LockClass), int32(bridge.LockKey))
	require.NoError(t, err)
	running, err = b.UpdateRunning(ctx, b.db)
	require.NoError(t, err)
	require.True(t, running)
	require.NoError(t, conn.Close(ctx))
	require.Eventually(t, func() bool { r, err := b.UpdateRunning(ctx, b.db); return err == nil && !r }, time.Minute, 10*time.Millisecond)
	_, err = b.UpdateRunning(ctx, "none")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestDropLogin(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.login("leaver")
	require.NoError(t, setAccess(b, ctx, "leaver"))
	conn := b.connect("leaver", b.db)
	_, err := conn.Exec(ctx, "RESET ROLE; SET ROLE NONE")
	require.NoError(t, err)
	admin, err := b.Server.connect(ctx, b.db)
	require.NoError(t, err)
	defer admin.Close(ctx)
	_, err = admin.Exec(ctx, "CREATE TABLE mine (n int); INSERT INTO mine VALUES (7); ALTER TABLE mine OWNER TO leaver; CREATE TABLE seen (); GRANT SELECT ON seen TO leaver")
	require.NoError(t, err)
	require.NoError(t, b.DropLogin(ctx, "leaver"))
	require.NoError(t, b.DropLogin(ctx, "leaver"), "twice")
	require.Error(t, conn.Ping(ctx))
	var owner string
	var n int
	require.NoError(t, admin.QueryRow(ctx, "SELECT tableowner::text, (SELECT n FROM mine) FROM pg_tables WHERE tablename = 'mine'").Scan(&owner, &n))
	require.Equal(t, b.owner, owner)
	require.Equal(t, 7, n)
}
