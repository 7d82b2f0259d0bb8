package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/long"
)

func TestRoundTrip(t *testing.T) {
	b, ctx := setup(t), t.Context()
	b.exec(b.db, "INSERT INTO ir_attachment (store_fname) VALUES ('aa/aa00000000000000000000000000000000000000'), ('../../etc/passwd'); CREATE ROLE roundtrip_reader; GRANT SELECT ON res_partner TO roundtrip_reader")
	bad := b.addFile([]byte("will be changed"))
	require.NoError(t, os.WriteFile(filepath.Join(b.filestore, bad), []byte("not what it says"), 0o644))
	t.Cleanup(func() { b.exec("postgres", "DROP ROLE roundtrip_reader") })
	t.Cleanup(func() { b.exec(b.db, "DROP OWNED BY roundtrip_reader") })

	var stages []string
	m, err := b.store.Capture(ctx, b.subject(""), func(p Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	})
	require.NoError(t, err)
	require.Equal(t, []string{"dump", "upload", "filestore", "manifest"}, stages)
	require.Len(t, m.Files, 40)
	require.Equal(t, 40, m.NewFiles)
	require.Equal(t, []string{"../../etc/passwd", "aa/aa00000000000000000000000000000000000000"}, m.Missing)
	require.Equal(t, []string{bad}, m.Damaged)
	require.Equal(t, int64(5000), m.Tables["public.res_partner"])
	require.Equal(t, int64(0), m.Tables["public.empty_one"], "without its child's rows")
	require.Equal(t, int64(1), m.Tables["public.child"])
	require.NotContains(t, m.Tables, "public.moves")
	require.NotEmpty(t, m.LSN)
	require.WithinDuration(t, time.Now(), m.RecoveryPoint, time.Minute)

	for _, path := range b.objects() { // nothing of the data, nor the password, is readable in the bucket
		raw, err := os.ReadFile(filepath.Join(b.bucket, path))
		require.NoError(t, err)
		for _, secret := range []string{"partner", "pw-top-secret", "file 3"} {
			require.NotContains(t, string(raw), secret, path)
		}
	}
	infos, err := b.store.List(ctx, "", "")
	require.NoError(t, err)
	require.Len(t, infos, 1)
	require.True(t, infos[0].Verified.IsZero())
	v, err := b.store.Verify(ctx, m.Ref(), nil)
	require.NoError(t, err)
	require.False(t, v.Verified.IsZero())

	// A second one copies nothing again, and reads no file back again.
	extra := b.addFile([]byte("one more"))
	m2 := b.capture("")
	require.Equal(t, 1, m2.NewFiles)
	require.Equal(t, 41, m2.FileCount)
	_, err = b.store.Verify(ctx, m2.Ref(), nil)
	require.NoError(t, err)
	var seen verified
	require.NoError(t, b.store.getPlain(ctx, m2.Ref().verifiedKey(), &seen))
	require.Equal(t, 1, seen.Files)

	// Restored from the bucket and a key alone: with the offline key, into a filestore that has one of the files.
	away, err := OpenStore(ctx, "file://"+b.bucket, b.offline)
	require.NoError(t, err)
	defer away.Close()
	away.TempDir = b.store.TempDir
	want := b.content(b.db)
	to := b.target("cp_roundtrip_new")
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to.Filestore.String(), extra)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(to.Filestore.String(), extra), []byte("one more"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(to.Filestore.String(), b.files[1])), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(to.Filestore.String(), b.files[1]), []byte("something else"), 0o600))
	r, err := away.Restore(ctx, m2.Ref(), to, nil)
	require.NoError(t, err)
	require.Empty(t, r.Warnings)
	require.Equal(t, want, b.content(to.Database))
	require.Equal(t, 39, r.FilesAdded)
	require.Equal(t, 1, r.FilesKept)
	require.Equal(t, []string{b.files[1]}, r.Conflicts, "told, and not replaced")
	require.Len(t, r.Missing, 3)
	raw, err := os.ReadFile(filepath.Join(to.Filestore.String(), b.files[1]))
	require.NoError(t, err)
	require.Equal(t, "something else", string(raw))
	for _, f := range m.Files {
		if f.Name == b.files[1] {
			continue
		}
		want, err := os.ReadFile(filepath.Join(b.filestore, f.Name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(to.Filestore.String(), f.Name))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	var granted bool
	conn, err := connect(ctx, cluster(t).URL("postgres"), to.Database)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(ctx, "SELECT has_table_privilege('roundtrip_reader', 'res_partner', 'SELECT')").Scan(&granted))
	conn.Close(ctx)
	require.True(t, granted)
	logins, err := b.server.Logins(ctx, to.Database)
	require.NoError(t, err)
	require.Empty(t, logins, "nobody may connect before the swap")

	again, err := away.Restore(ctx, m2.Ref(), to, nil)
	require.NoError(t, err, "a completed restore is left as it is")
	require.Zero(t, again.FilesAdded)
	_, err = away.Restore(ctx, m.Ref(), to, nil)
	require.ErrorIs(t, err, database.ErrExists, "another checkpoint is not written over it")
	onto := to
	onto.Database = b.db
	_, err = away.Restore(ctx, m.Ref(), onto, nil)
	require.ErrorIs(t, err, database.ErrExists, "nor over the live database")
	require.NoError(t, b.server.Swap(ctx, b.db, to.Database, "cp_roundtrip_kept"))
	require.NoError(t, b.server.Swap(ctx, b.db, "cp_roundtrip_kept", to.Database))

	// Captured again under the same name: the one that exists.
	require.Equal(t, m.RecoveryPoint, b.capture(m.ID).RecoveryPoint)
}

func TestDamageIsFound(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	m := b.capture("")
	_, err := b.store.Verify(ctx, m.Ref(), nil)
	require.NoError(t, err)
	file := m.Ref().fileKey(b.files[3])
	var biggest Object
	for _, o := range m.Dump {
		if o.Size > biggest.Size {
			biggest = o
		}
	}
	flip := func(key string) (undo func()) {
		path := filepath.Join(b.bucket, key)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := bytes.Clone(raw)
		changed[len(changed)/2] ^= 1
		require.NoError(t, os.WriteFile(path, changed, 0o600))
		return func() { require.NoError(t, os.WriteFile(path, raw, 0o600)) }
	}
	check := func(key string) {
		t.Helper()
		_, err := b.store.Verify(ctx, m.Ref(), nil)
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, key)
		infos, err := b.store.List(ctx, "production", "acme")
		require.NoError(t, err)
		require.True(t, infos[0].Verified.IsZero(), "no longer counts as verified")
		to := b.target("cp_damage_new")
		_, err = b.store.Restore(ctx, m.Ref(), to, nil)
		require.ErrorContains(t, err, key)
		exists, err := b.server.Exists(ctx, to.Database)
		require.NoError(t, err)
		require.False(t, exists, "a failed restore leaves no database")
	}
	for _, key := range []string{biggest.Key, m.Ref().dumpKey("toc.dat"), file} {
		undo := flip(key)
		check(key)
		undo()
		path := filepath.Join(b.bucket, key)
		require.NoError(t, os.Rename(path, path+".away"))
		check(key)
		require.NoError(t, os.Rename(path+".away", path))
		_, err := b.store.VerifyFully(ctx, m.Ref(), nil)
		require.NoError(t, err)
	}
	// The content of one object under the name of another: sound as age goes, and still wrong.
	raw, err := os.ReadFile(filepath.Join(b.bucket, m.Ref().fileKey(b.files[4])))
	require.NoError(t, err)
	before, err := os.ReadFile(filepath.Join(b.bucket, file))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b.bucket, file), raw, 0o600))
	check(file)
	require.NoError(t, os.WriteFile(filepath.Join(b.bucket, file), before, 0o600))

	undo := flip(m.Ref().manifestKey())
	_, err = b.store.Verify(ctx, m.Ref(), nil)
	require.ErrorIs(t, err, ErrDamaged)
	_, err = b.store.Retain(ctx, "production", "acme", Policy{Last: 1})
	require.ErrorContains(t, err, "no unused file is deleted", "an unreadable manifest may name any file")
	undo()
	_, err = b.store.Verify(ctx, m.Ref(), nil)
	require.NoError(t, err)
}

func TestKeys(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	m := b.capture("")
	stranger, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	for _, ids := range [][]age.Identity{nil, {stranger}} {
		s, err := Open(ctx, "file://"+b.bucket, nil, ids)
		require.NoError(t, err)
		defer s.Close()
		s.TempDir = b.store.TempDir
		_, err = s.Load(ctx, m.Ref())
		require.ErrorIs(t, err, ErrNoIdentity)
		require.NotErrorIs(t, err, ErrDamaged)
		_, err = s.Restore(ctx, m.Ref(), b.target("cp_keys_new"), nil)
		require.ErrorIs(t, err, ErrNoIdentity)
		infos, err := s.List(ctx, "production", "acme")
		require.NoError(t, err, "a list needs no key")
		require.Len(t, infos, 1)
	}
	alone := *b.store
	alone.Recipients = alone.Recipients[:1]
	_, err = alone.Capture(ctx, b.subject(""), nil)
	require.ErrorContains(t, err, "at least two recipients")
	_, err = OpenStore(ctx, "file://"+b.bucket, filepath.Join(t.TempDir(), "none"))
	require.ErrorContains(t, err, "read the key")
	_, err = b.store.Load(ctx, Ref{"production", "acme", "none"})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = b.store.Load(ctx, Ref{"production", "../x", "none"})
	require.ErrorContains(t, err, "is no name")
}

// Rows are written and deleted all the time; what is restored is one moment of it.
func TestCaptureWhileWritten(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	b.exec(b.db, "CREATE TABLE a (n int); CREATE TABLE b (n int)") // always equally long
	b.exec(b.db, "ALTER TABLE a OWNER TO "+b.owner+"; ALTER TABLE b OWNER TO "+b.owner)
	writing, stop := context.WithCancel(ctx)
	written, done := make(chan int, 1), make(chan error, 1)
	go func() {
		conn, err := connect(ctx, cluster(t).URL("postgres"), b.db)
		if err != nil {
			done <- err
			return
		}
		defer conn.Close(ctx)
		n := 0
		for writing.Err() == nil && err == nil {
			n++
			_, err = conn.Exec(ctx, "BEGIN; INSERT INTO a VALUES (1); DELETE FROM res_partner WHERE id = (SELECT max(id) FROM res_partner); INSERT INTO b VALUES (1); COMMIT")
			if n == 20 {
				written <- n
			}
		}
		written <- n
		done <- err
	}()
	<-written
	m := b.capture("")
	stop()
	require.NoError(t, <-done)
	total := int64(<-written)
	require.Equal(t, m.Tables["public.a"], m.Tables["public.b"])
	require.Equal(t, int64(5000), m.Tables["public.res_partner"]+m.Tables["public.a"])
	require.GreaterOrEqual(t, m.Tables["public.a"], int64(20))
	require.Greater(t, total, m.Tables["public.a"], "the writer went on while it was captured")
	_, err := b.store.Restore(ctx, m.Ref(), b.target("cp_written_new"), nil) // compares the counts
	require.NoError(t, err)
}

func TestRestoreWhereTheLocaleIsMissing(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	m := b.capture("")
	m.Locale.Ctype = "xx_XX.UTF-8"
	_, err := b.store.putJSON(ctx, m.Ref().manifestKey(), m)
	require.NoError(t, err)
	r, err := b.store.Restore(ctx, m.Ref(), b.target("cp_locale_new"), nil)
	require.NoError(t, err)
	require.Len(t, r.Warnings, 1)
	require.Contains(t, r.Warnings[0], "xx_XX")
}

// A manifest that does not fit its dump: the restore notices, and leaves nothing.
func TestRestoreComparesRows(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	m := b.capture("")
	m.Tables["public.res_partner"]--
	m.Tables["public.gone"] = 3
	_, err := b.store.putJSON(ctx, m.Ref().manifestKey(), m)
	require.NoError(t, err)
	to := b.target("cp_rows_new")
	_, err = b.store.Restore(ctx, m.Ref(), to, nil)
	require.ErrorContains(t, err, "table public.gone is missing; table public.res_partner has 5000 rows instead of 4999")
	exists, err := b.server.Exists(ctx, to.Database)
	require.NoError(t, err)
	require.False(t, exists)
}

func TestRetain(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	var all []*Manifest
	for i := range 4 {
		b.addFile([]byte(strings.Repeat("only ", i+1)))
		all = append(all, b.capture(""))
		b.exec(b.db, "DELETE FROM ir_attachment WHERE store_fname = '"+b.files[len(b.files)-1]+"'")
	}
	_, err := b.store.Verify(ctx, all[1].Ref(), nil)
	require.NoError(t, err)
	// A capture under way elsewhere: its files may not be named yet, so none is deleted.
	other := Ref{"production", "acme", "other"}
	require.NoError(t, b.store.begin(ctx, other))
	gone, err := b.store.Retain(ctx, "production", "acme", Policy{Last: 2})
	require.NoError(t, err)
	require.Equal(t, []Ref{all[0].Ref()}, gone, "the newest verified one stays, beyond the last two")
	key := all[0].Ref().fileKey(b.files[40])
	has, err := b.store.Bucket.Exists(ctx, key)
	require.NoError(t, err)
	require.True(t, has)
	require.NoError(t, b.store.remove(ctx, other.startedKey()))

	gone, err = b.store.Retain(ctx, "production", "acme", Policy{Last: 2})
	require.NoError(t, err)
	require.Empty(t, gone)
	has, err = b.store.Bucket.Exists(ctx, key)
	require.NoError(t, err)
	require.False(t, has, "no manifest names it any more")
	for _, m := range all[1:] {
		_, err := b.store.VerifyFully(ctx, m.Ref(), nil)
		require.NoError(t, err)
	}
	gone, err = b.store.Retain(ctx, "production", "acme", Policy{Last: 1, Days: 1})
	require.NoError(t, err)
	require.Empty(t, gone)
	for _, m := range all {
		require.NoError(t, b.store.Delete(ctx, m.Ref()))
	}
	for _, path := range b.objects() {
		require.True(t, strings.HasPrefix(path, "state/"), path)
	}
}

// A deletion of files under way: a capture waits for its end.
func TestCaptureWaitsForDeletion(t *testing.T) {
	long.Test(t)
	b, ctx := setup(t), t.Context()
	flag := collectingKey("production", "acme")
	require.NoError(t, b.store.putPlain(ctx, flag, mark{}))
	short, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	_, err := b.store.Capture(short, b.subject("waits"), nil)
	require.ErrorContains(t, err, "wait for the deletion")
	require.NoError(t, b.store.remove(ctx, flag))
	b.capture("waits")
}

func TestDoomed(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	infos := make([]Info, 6)
	for i := range infos {
		infos[i] = Info{ID: string(rune('a' + i)), RecoveryPoint: now.Add(-time.Duration(i) * 24 * time.Hour)}
	}
	infos[3].Verified, infos[5].Verified = now, now
	for _, c := range []struct {
		p    Policy
		want string
	}{{Policy{}, "bcef"}, {Policy{Last: 2}, "cef"}, {Policy{Days: 3}, "ef"}, {Policy{Last: 9}, ""}, {Policy{Last: 5, Days: 1}, "f"}} {
		got := ""
		for _, i := range doomed(infos, c.p, now) {
			got += i.ID
		}
		require.Equal(t, c.want, got, c.p)
	}
}

func TestRefAndInfo(t *testing.T) {
	r, err := ParseRef("production/acme/20261121T120000Z-00ff00ff")
	require.NoError(t, err)
	require.Equal(t, "production/acme/20261121T120000Z-00ff00ff", r.String())
	for _, bad := range []string{"", "a/b", "a/b/c/d", "a/../c", "a//c", "a/b/-c"} {
		_, err := ParseRef(bad)
		require.Error(t, err, bad)
	}
	require.Less(t, NewID(time.Unix(1, 0)), NewID(time.Unix(3, 0)))
	raw, err := json.Marshal(Info{})
	require.NoError(t, err)
	require.NotContains(t, string(raw), "verified")
}

func TestPasswordStaysOutOfArgv(t *testing.T) {
	env, err := connectionEnv("postgres://u:se%40cret@h:1/x?sslmode=require", "db")
	require.NoError(t, err)
	for _, want := range []string{"PGPASSWORD=se@cret", "PGHOST=h", "PGPORT=1", "PGDATABASE=db", "PGSSLMODE=require", "PGAPPNAME=waybill"} {
		require.Contains(t, env, want)
	}
	_, err = connectionEnv("host=h password=se@cret", "db")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "se@cret")
}
