package promotion

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// newHouse is a yard whose shared tenants acme and bolt have files and people who are logged in.
func newHouse(t *testing.T) *yard {
	y := newYard(t)
	for i := range y.declared.Tenants {
		if y.declared.Tenants[i].Hosting == "" {
			y.declared.Tenants[i].Hosting = estate.Shared
		}
	}
	env := &y.declared.Environments[0]
	env.HoldBudget, env.DrainLimit, env.Deadline = 30*time.Second, 10*time.Second, time.Minute
	for file, content := range map[string]string{
		"filestore/rotated/ab/abcd":      "a picture",
		"filestore/rotated_bolt/ab/abcd": "bolt's picture",
		"sessions/aa/aa1":                `{"db": "rotated", "uid": 2}`,
		"sessions/bb/bb1":                `{"db": "rotated_bolt", "uid": 2}`,
		"sessions/cc/cc1":                `{"db": `,
	} {
		y.keep("shared", file, content)
	}
	y.run("rotated_bolt", "create table orders (id serial)")
	return y
}

// run runs statements as the pool that is shared.
func (y *yard) run(database, statements string) {
	y.t.Helper()
	db, err := pgx.ConnectConfig(y.t.Context(), y.pool("r-0011223344").inDatabase(database))
	require.NoError(y.t, err)
	_, err = db.Exec(y.t.Context(), statements)
	require.NoError(y.t, err)
	require.NoError(y.t, db.Close(y.t.Context()))
}

func (y *yard) keep(group, file, content string) {
	y.t.Helper()
	path := filepath.Join(y.DataDir("rotation", group), file)
	require.NoError(y.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(y.t, os.WriteFile(path, []byte(content), 0o644))
}

// kept are the files in a group's folder.
func (y *yard) kept(group string) (list []string) {
	y.t.Helper()
	dir := y.DataDir("rotation", group)
	require.NoError(y.t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			path, err = filepath.Rel(dir, path)
			list = append(list, path)
		}
		if os.IsNotExist(err) {
			err = nil
		}
		return err
	}))
	return list
}

func (y *yard) move(to estate.Hosting) store.Rollout {
	y.t.Helper()
	id, err := y.engine.MoveTenant(y.t.Context(), y.declared, "rotation", "acme", to, "bob")
	require.NoError(y.t, err)
	return y.ended(id)
}

// acmesPool has the settings of the environment, which the others were started with too.
const acmesPool = "acme-0011223344-f51ac2"

var (
	boltsOwn = []string{"filestore/rotated_bolt/ab/abcd", "sessions/bb/bb1", "sessions/cc/cc1"}
	acmesOwn = []string{"filestore/rotated/ab/abcd", "sessions/aa/aa1"}
	both     = []string{"filestore/rotated/ab/abcd", "filestore/rotated_bolt/ab/abcd", "sessions/aa/aa1", "sessions/bb/bb1", "sessions/cc/cc1"}
)

// lives looks that acme is whole in a group, and nowhere else.
func (y *yard) lives(group, pool string) {
	y.t.Helper()
	tenant, err := y.store.Tenant(y.t.Context(), "rotation", "acme")
	require.NoError(y.t, err)
	require.Equal(y.t, group, tenant.Group)
	require.Equal(y.t, store.Live{Stable: pool, Cron: pool, Access: []string{pool}}, store.Live{Stable: tenant.Live.Stable, Canary: tenant.Live.Canary,
		Weight: tenant.Live.Weight, Cron: tenant.Live.Cron, Access: tenant.Live.Access, Suspended: tenant.Live.Suspended})
	var table, database string
	y.ask("rotated", "select tableowner from pg_tables where tablename = 'orders'", &table)
	y.ask("rotated", "select pg_get_userbyid(datdba) from pg_database where datname = 'rotated'", &database)
	require.Equal(y.t, ownerRole("rotation", group), table)
	require.Equal(y.t, ownerRole("rotation", group), database)
	logins, err := y.place.Databases.Logins(y.t.Context(), "rotated")
	require.NoError(y.t, err)
	require.Equal(y.t, []string{poolRole("rotation", pool)}, logins)
	if group == "shared" {
		require.Equal(y.t, both, y.kept("shared"))
		require.Empty(y.t, y.kept("acme"))
		require.Nil(y.t, y.pool(acmesPool))
	} else {
		require.Equal(y.t, boltsOwn, y.kept("shared"))
		require.Equal(y.t, acmesOwn, y.kept("acme"))
	}
	for _, host := range []string{"acme.example", "bolt.example"} {
		status, text := y.answer(host)
		require.Equal(y.t, 200, status, text)
	}
}

// People order all the while: whoever was told that an order is placed finds it afterwards, and nobody is refused.
func TestMoveToPoolsOfItsOwnAndBack(t *testing.T) {
	long.Test(t)
	y := newHouse(t)
	var before int64
	y.ask("rotated", "select count(*) from orders", &before)
	stop := y.busy(4, y.order)
	r := y.move(estate.Dedicated)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Equal(t, "dedicated", y.book.written["acme hosting"])
	y.keep("acme", "filestore/rotated/ef/ef01", "new since")
	y.declared.Tenants[0].Hosting = estate.Dedicated
	require.NoError(t, os.Chtimes(filepath.Join(y.DataDir("rotation", "acme"), "sessions/aa/aa1"), time.Time{}, time.Now().Add(-48*time.Hour)))

	r = y.move(estate.Shared)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	placed, err := stop()
	require.NoError(t, err, "nobody is refused")
	var after int64
	y.ask("rotated", "select count(*) from orders", &after)
	require.Equal(t, placed, after-before, "of those that were acknowledged none is lost")
	require.FileExists(t, filepath.Join(y.DataDir("rotation", "shared"), "filestore/rotated/ef/ef01"))
	old, err := os.Stat(filepath.Join(y.DataDir("rotation", "shared"), "sessions/aa/aa1"))
	require.NoError(t, err)
	require.Less(t, old.ModTime(), time.Now().Add(-47*time.Hour), "a session does not grow younger")
	require.NoError(t, os.Remove(filepath.Join(y.DataDir("rotation", "shared"), "filestore/rotated/ef/ef01")))
	require.NoError(t, os.Remove(filepath.Join(y.DataDir("rotation", "shared"), "filestore/rotated/ef")))
	require.NoDirExists(t, y.DataDir("rotation", "acme"))
	missing, err := y.place.Databases.Missing(t.Context(), []string{ownerRole("rotation", "acme"), poolRole("rotation", acmesPool)})
	require.NoError(t, err)
	require.Len(t, missing, 2, "no role of its own is left")
	y.declared.Tenants[0].Hosting = estate.Shared
	y.lives("shared", "r-0011223344")
}

// Whichever step fails, after it has done its work: the tenant is where it was, and serves.
func TestAMoveThatFails(t *testing.T) {
	long.Test(t)
	y := newHouse(t)
	steps := procedures[KindMove]
	t.Cleanup(func() { procedures[KindMove] = steps })
	for i, step := range steps[:len(steps)-2] { // from the record on it serves there for good
		t.Run(step.Name, func(t *testing.T) {
			changed := slices.Clone(steps)
			changed[i].Do = func(ctx context.Context, w *Work) (string, error) {
				if _, err := step.Do(ctx, w); err != nil {
					return "", err
				}
				return "", failed("the lights went out")
			}
			procedures[KindMove] = changed
			r := y.move(estate.Dedicated)
			require.Equal(t, store.RolledBack, r.Outcome)
			require.Contains(t, r.Reason, "the lights went out")
			y.lives("shared", "r-0011223344")
			if i > 0 {
				require.Equal(t, "shared", y.book.written["acme hosting"])
			}
		})
	}
}

// A server that dies when a step has done its work, or in the middle of it, does it again.
func TestAMoveHoweverOftenAServerDies(t *testing.T) {
	long.Test(t)
	y := newHouse(t)
	y.declared.Environments[0].HoldBudget = time.Minute
	twice(t, KindMove)
	killed := kills(t, y.engine, "inside:declare", "inside:hold", "inside:hand over")
	r := y.move(estate.Dedicated)
	require.Empty(t, killed(), "not killed there")
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	y.lives("acme", acmesPool)
}

func TestMovesThatMakeNoSense(t *testing.T) {
	long.Test(t)
	y := newHouse(t)
	for name, c := range map[string]struct {
		environment, tenant string
		to                  estate.Hosting
		says                string
	}{
		"environment": {"moon", "acme", estate.Dedicated, "no environment"},
		"tenant":      {"rotation", "zulu", estate.Dedicated, "no tenant zulu"},
		"already":     {"rotation", "acme", estate.Shared, "is shared already"},
		"hosting":     {"rotation", "acme", "hybrid", "it can be shared or dedicated"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := y.engine.MoveTenant(t.Context(), y.declared, c.environment, c.tenant, c.to, "bob")
			require.ErrorIs(t, err, ErrBadRequest)
			require.ErrorContains(t, err, c.says)
		})
	}
	y.book.refuses = os.ErrPermission
	_, err := y.engine.MoveTenant(t.Context(), y.declared, "rotation", "acme", estate.Dedicated, "bob")
	require.ErrorContains(t, err, "nothing was touched")
	y.book.refuses = nil

	// Where somebody has written it, or merged it, nothing else goes on until the data has followed; and nothing is written.
	y.declared.Tenants[0].Hosting = estate.Dedicated
	_, err = y.engine.Start(t.Context(), y.declared, Request{Kind: KindPromote, Environment: "rotation", Release: "r1"})
	require.ErrorContains(t, err, "waybill tenant move rotation/acme --to dedicated")
	y.keep("acme", "filestore/rotated/ab/abcd", "somebody's")
	r := y.move(estate.Dedicated)
	require.Contains(t, r.Reason, "Waybill knows nothing of them")
	require.NoError(t, os.RemoveAll(y.DataDir("rotation", "acme")))

	// What stands beside it is in the folder that would go.
	require.NoError(t, y.store.In(t.Context(), func(tx pgx.Tx) error {
		return y.store.PutBeside(t.Context(), tx, store.Beside{Environment: "rotation", Tenant: "acme", Name: "look", Database: "rotated__b_look", Checkpoint: "c1", Promotion: r.PromotionID, ExpiresAt: time.Now().Add(time.Hour)})
	}))
	_, err = y.engine.MoveTenant(t.Context(), y.declared, "rotation", "acme", estate.Dedicated, "bob")
	require.ErrorContains(t, err, "waybill restore drop rotation/acme look")
	_, err = y.store.Pool.Exec(t.Context(), "delete from besides")
	require.NoError(t, err)

	y.lives("shared", "r-0011223344")

	y.declared.Tenants[0].Hosting = estate.Shared
	r = y.life(KindSuspend, Options{})
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	_, err = y.engine.MoveTenant(t.Context(), y.declared, "rotation", "acme", estate.Dedicated, "bob")
	require.ErrorContains(t, err, "waybill tenant resume rotation/acme")
	y.declared.Tenants[0].Hosting = estate.Shared
	r = y.life(KindResume, Options{})
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	y.declared.Tenants[0].Hosting = estate.Dedicated

	r = y.move(estate.Dedicated)
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	require.Empty(t, y.book.written)
	y.lives("acme", acmesPool)
}
