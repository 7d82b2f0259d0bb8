package rehearsal

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// noJobs stands where no container is needed; it remembers that it was told to remove them.
type noJobs struct {
	dir     string
	removed *int
}

func (noJobs) StartJob(context.Context, runtime.Job) error { return nil }
func (noJobs) Job(context.Context, string, string) (runtime.JobState, error) {
	return runtime.JobState{}, runtime.ErrNotFound
}
func (noJobs) WaitJob(context.Context, string, string) (runtime.JobState, error) {
	return runtime.JobState{}, runtime.ErrNotFound
}
func (noJobs) RemoveJob(context.Context, string, string) error { return nil }
func (n noJobs) RemoveEnvironment(context.Context, string) error {
	*n.removed++
	return nil
}
func (n noJobs) Filestore(environment, group, database string) filestore.Store {
	return filestore.Dir(filepath.Join(n.dir, environment, group, database))
}
func (noJobs) EnsureDataDir(string, string) error { return nil }
func (noJobs) Close() error                       { return nil }

// folder is one that the server's unprivileged user can pass through.
func folder(t *testing.T) string {
	dir, err := os.MkdirTemp("", "wbrh")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func rehearser(dir string, removed *int) *Rehearser {
	return New(filepath.Join(dir, "rehearsals"), Rooms{Jobs: func(_ context.Context, at Room) (Jobs, error) { return noJobs{at.DataDir, removed}, nil }})
}

// asUpdate runs SQL as the update's role does.
func asUpdate(t *testing.T, s *scratch, db string, sql ...string) *pgx.Conn {
	u, err := url.Parse(s.cluster.URL(db))
	require.NoError(t, err)
	u.User = url.UserPassword(loginRole, s.password)
	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, q := range sql {
		_, err := conn.Exec(t.Context(), q, pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err, q)
	}
	return conn
}

func limits() Limits {
	l := Limits{Memory: 1 << 30}
	l.fill()
	return l
}

// odooTables is as much of Odoo as the comparison reads.
const odooTables = `
SET ROLE waybill_owner;
CREATE TABLE ir_model_data (id int, module text, name text, model text, res_id int);
CREATE TABLE ir_ui_view (id int, type text, model text, active bool, arch_db text, mode text, priority int, inherit_id int);
CREATE TABLE ir_cron (id int, interval_number int, interval_type text, active bool);
CREATE TABLE ir_config_parameter (key text, value text);
CREATE TABLE ir_module_module (name text, state text, latest_version text);
CREATE TABLE ir_model_fields (id int, model text, name text, store bool);
CREATE TABLE ir_model_fields_selection (field_id int, value text);
CREATE TABLE stock_move (id int PRIMARY KEY, lane int, kind varchar, write_date timestamp);
CREATE TABLE untouched (id int);
INSERT INTO stock_move SELECT i, i, CASE WHEN i < 4 THEN 'b' ELSE 'a' END FROM generate_series(1, 100) i;
INSERT INTO ir_model_fields VALUES (1, 'stock.move', 'kind', true);
INSERT INTO ir_model_fields_selection VALUES (1, 'a'), (1, 'b');
INSERT INTO ir_config_parameter VALUES ('waybill.update', 'x'), ('web.base.url', 'https://secret.example');`

func TestScratch(t *testing.T) {
	long.Test(t)
	dir, removed := folder(t), 0
	like, err := look(t.Context(), tenants(t).URL("postgres"))
	require.NoError(t, err)
	r := rehearser(dir, &removed)
	s, err := r.open(t.Context(), "first", like, limits())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.remove(context.Background(), "first")) })
	t.Cleanup(s.close)

	require.NoError(t, s.in(t.Context(), "postgres", func(conn *pgx.Conn) error {
		for setting, want := range map[string]string{"work_mem": "7MB", "random_page_cost": "1.3", "shared_buffers": "64MB", "listen_addresses": "", "fsync": "off"} {
			var is string
			require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&is))
			assert.Equal(t, want, is, setting)
		}
		return nil
	}))
	conn, err := s.connect(t.Context(), "postgres")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT length(repeat('x', 900000000)) + length(repeat('y', 900000000))")
	assert.ErrorContains(t, err, "out of memory", "memory is bounded")
	s.disconnect(t.Context(), conn)
	require.NoError(t, s.server.Create(t.Context(), pristine, ownerRole))
	require.NoError(t, s.in(t.Context(), pristine, func(conn *pgx.Conn) error {
		_, err := conn.Exec(t.Context(), odooTables)
		return err
	}))
	require.NoError(t, s.prepareTrace(t.Context()))
	require.NoError(t, s.copy(t.Context(), "acme", map[string]string{"search_path": `"$user", public`}))

	t.Run("nothing changes", func(t *testing.T) {
		asUpdate(t, s, "acme", "UPDATE stock_move SET write_date = now()", "UPDATE ir_config_parameter SET value = 'y' WHERE key = 'waybill.update'").Close(t.Context())
		e, err := s.effect(t.Context(), "acme")
		require.NoError(t, err)
		assert.True(t, e.Empty(), "%+v", e)
		require.NotEmpty(t, e.Tables)
		assert.Equal(t, "stock_move", e.Tables[0].Table)
	})

	t.Run("an update", func(t *testing.T) {
		require.NoError(t, s.copy(t.Context(), "acme", nil))
		traced, err := s.watch(t.Context(), "acme")
		require.NoError(t, err)
		conn := asUpdate(t, s, "acme",
			`DO $$BEGIN RAISE LOG 'waybill-mark %', '{"event": "begin"}'; END$$`,
			`DO $$BEGIN RAISE LOG 'waybill-mark %', '{"event": "module", "name": "acme_dock"}'; END$$`,
			"BEGIN", "ALTER TABLE stock_move ALTER lane TYPE varchar USING lane::varchar", "SAVEPOINT s", "CREATE TABLE lost (id int)", "ROLLBACK TO s",
			"ALTER TABLE stock_move ADD seal varchar NOT NULL DEFAULT 'hunter2'", "DROP TABLE untouched", "CREATE INDEX by_kind ON stock_move (kind)",
			"UPDATE stock_move SET lane = 'hunter2' WHERE id < 11", "DELETE FROM ir_model_fields_selection WHERE value = 'b'")
		require.Eventually(t, func() bool {
			traced.mu.Lock()
			defer traced.mu.Unlock()
			return traced.held[[2]string{"public.stock_move", "AccessExclusiveLock"}] != nil
		}, time.Minute, 20*time.Millisecond)
		_, err = conn.Exec(t.Context(), "COMMIT", pgx.QueryExecModeSimpleProtocol)
		require.NoError(t, err)
		require.NoError(t, conn.Close(t.Context()))
		traced.end()
		lines, err := readTimeline(s.logFile(), 0, "acme")
		require.NoError(t, err)
		line := traced.timeline(lines)
		text := ""
		for _, st := range line.Statements {
			text += st.Tag + " " + strings.Join(st.Objects, " ") + " " + strings.Join(st.Rewrites, " ") + " " + strings.Join(st.Dropped, " ") + "\n"
			assert.Equal(t, "acme_dock", st.Module)
			assert.NotContains(t, st.SQL, "hunter2")
		}
		assert.Contains(t, text, "ALTER TABLE public.stock_move public.stock_move", "the rewrite is seen")
		assert.Contains(t, text, "table public.untouched")
		assert.Contains(t, text, "CREATE TABLE public.lost", "also what was rolled back")
		i := slices.IndexFunc(line.Locks, func(l Lock) bool { return l.Table == "public.stock_move" && l.Mode == "AccessExclusive" })
		require.GreaterOrEqual(t, i, 0, "%v", line.Locks)
		assert.Contains(t, line.Locks[i].SQL, "ALTER TABLE stock_move ALTER lane TYPE")
		assert.Greater(t, line.Locks[i].To, line.Locks[i].From)

		e, err := s.effect(t.Context(), "acme")
		require.NoError(t, err)
		assert.Contains(t, e.Schema, Change{Kind: "column", Name: "stock_move.lane", Before: "integer", After: "character varying"})
		assert.Contains(t, e.Schema, Change{Kind: "table", Name: "untouched", Before: "table"})
		assert.Contains(t, e.Schema, Change{Kind: "column", Name: "stock_move.seal", After: "character varying not null default 'hunter2'::character varying"})
		assert.Equal(t, []Orphan{{Field: "stock.move.kind", Value: "b", Rows: 3}}, e.Orphans)
		i = slices.IndexFunc(e.Tables, func(d TableData) bool { return d.Table == "stock_move" })
		assert.True(t, e.Tables[i].Changed)
		assert.EqualValues(t, 10, e.Tables[i].Updated)
	})
}

// TestSweep: whatever a killed server left goes, and nobody else is asked.
func TestSweep(t *testing.T) {
	long.Test(t)
	dir, removed := folder(t), 0
	like := &likeness{settings: map[string]string{}, pages: map[string]int64{}}
	killed, err := rehearser(dir, &removed).open(t.Context(), "killed", like, limits())
	require.NoError(t, err)
	before := removed
	r := rehearser(dir, &removed)
	require.NoError(t, r.Sweep(t.Context(), nil))
	assert.Equal(t, before+1, removed, "containers")
	killed.close()
	entries, err := os.ReadDir(r.dir)
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.Error(t, killed.alive(t.Context()))
	require.NoError(t, r.Sweep(t.Context(), nil), "twice is fine")
}

// TestDiskIsCheckedFirst: nothing is made where it would not fit.
func TestDiskIsCheckedFirst(t *testing.T) {
	dir := folder(t)
	run := &run{Rehearser: New(dir, Rooms{}), manifest: &checkpoint.Manifest{Dump: []checkpoint.Object{{Size: 1 << 50}}}}
	run.subject.Limits.fill()
	require.ErrorIs(t, run.enoughDisk(), ErrNoSpace)
	run.manifest.Dump[0].Size = 10 << 20
	run.subject.Limits.Disk = 1 << 20
	require.ErrorIs(t, run.enoughDisk(), ErrNoSpace)

	// The filestore's copy may lie on another disk.
	run.subject.Limits.Disk, run.manifest.Dump = 0, nil
	require.NoError(t, run.enoughDisk())
	run.rooms.Files = dir
	run.manifest.Files = []checkpoint.File{{Name: "aa/x", Size: 1}}
	require.NoError(t, run.enoughDisk())
	run.rooms.Files = filepath.Join(dir, "none")
	require.Error(t, run.enoughDisk())
}

func TestRunRefusesAnID(t *testing.T) {
	for _, id := range []string{"", "../x", "A", strings.Repeat("a", 21)} {
		_, err := New(t.TempDir(), Rooms{}).Run(t.Context(), Subject{ID: id}, nil)
		assert.Error(t, err, id)
	}
}

// TestServerIsReachedFromElsewhere: where containers cannot be given a socket, the update's login comes over the network, to the address
// that its containers are told, and nobody is there any more afterwards.
func TestServerIsReachedFromElsewhere(t *testing.T) {
	long.Test(t)
	dir, removed, swept := folder(t), 0, 0
	var rooms []Room
	r := New(filepath.Join(dir, "rehearsals"), Rooms{
		Jobs: func(_ context.Context, at Room) (Jobs, error) {
			rooms = append(rooms, at)
			return noJobs{at.DataDir, &removed}, nil
		},
		Address: func(context.Context) (netip.Addr, error) { return netip.MustParseAddr("127.0.0.1"), nil },
		Sweep:   func(context.Context, func(context.Context, string) (bool, error)) error { swept++; return nil },
	})
	s, err := r.open(t.Context(), "away", &likeness{settings: map[string]string{}, pages: map[string]int64{}}, limits())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.remove(context.Background(), "away")) })
	t.Cleanup(s.close)
	require.Equal(t, s.at, rooms[len(rooms)-1].Server)
	require.Equal(t, "away", rooms[len(rooms)-1].ID)

	conf := s.conf()
	require.Equal(t, "127.0.0.1", conf.Host)
	require.Equal(t, "require", conf.SSLMode)
	connect := func(user, password string) error {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: net.JoinHostPort(conf.Host, strconv.Itoa(conf.Port)), Path: "/postgres", RawQuery: "sslmode=" + conf.SSLMode}
		conn, err := pgx.Connect(t.Context(), u.String())
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err
	}
	require.NoError(t, connect(conf.User, conf.Password))
	require.Error(t, connect(conf.User, "guessed"))
	require.NoError(t, s.alive(t.Context()), "Waybill itself goes through the socket")

	require.NoError(t, r.Sweep(t.Context(), nil))
	require.Equal(t, 1, swept)
	require.False(t, rooms[len(rooms)-1].Server.IsValid(), "nothing is let through to what is removed")
	require.Error(t, connect(conf.User, conf.Password))
	require.NoError(t, New(filepath.Join(dir, "none"), r.rooms).Sweep(t.Context(), nil))
	require.Equal(t, 2, swept, "also where this machine knows of none: another may have begun it")
}
