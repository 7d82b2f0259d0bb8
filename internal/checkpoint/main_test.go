package checkpoint

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/filestore"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

var cluster = postgrestest.Shared(postgres.Options{Password: "pw-top-secret"})

// TestMain also makes this program a process that a test kills.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	// For the S3 server of the tests.
	os.Setenv("AWS_ACCESS_KEY_ID", "test")
	os.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	os.Exit(m.Run())
}

// bundle is a tenant with data, and a store to keep its checkpoints in.
type bundle struct {
	t         *testing.T
	store     *Store
	server    *database.Server
	db, owner string
	filestore string
	bucket    string // folder
	keyFile   string // of the machine's identity
	offline   string // of the offline one
	files     []string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	t.Parallel()
	ctx := t.Context()
	name := strings.ToLower(strings.NewReplacer("/", "_", "Test", "", ",", "").Replace(t.Name()))
	name = name[:min(len(name), 50)]
	b := &bundle{t: t, db: "cp_" + name, owner: "own_" + name, filestore: filepath.Join(t.TempDir(), "filestore", name), bucket: filepath.Join(t.TempDir(), "bucket")}
	var err error
	b.server, err = database.Open(ctx, cluster(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(b.server.Close)
	require.NoError(t, b.server.EnsureOwner(ctx, b.owner))
	require.NoError(t, b.server.Create(ctx, b.db, b.owner))
	t.Cleanup(func() { require.NoError(t, b.server.Drop(context.Background(), b.db)) })

	machine, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	offline, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	for path, id := range map[*string]*age.X25519Identity{&b.keyFile: machine, &b.offline: offline} {
		*path = filepath.Join(t.TempDir(), "identity.txt")
		require.NoError(t, os.WriteFile(*path, []byte(id.String()+"\n"), 0o600))
	}
	b.store, err = Open(ctx, "file://"+b.bucket, []age.Recipient{machine.Recipient(), offline.Recipient()}, []age.Identity{machine})
	require.NoError(t, err)
	b.store.TempDir = filepath.Join(t.TempDir(), "tmp")
	t.Cleanup(func() {
		left, _ := filepath.Glob(filepath.Join(b.store.TempDir, "*"))
		require.Empty(t, left, "temporary files")
		b.store.Close()
	})
	b.seed()
	return b
}

// seed makes tables of every kind that a dump must carry, and a small filestore.
func (b *bundle) seed() {
	b.t.Helper()
	b.exec(b.db, `SET ROLE `+pgx.Identifier{b.owner}.Sanitize()+`;
		CREATE EXTENSION pg_trgm; CREATE EXTENSION unaccent;
		CREATE TABLE res_partner (id serial PRIMARY KEY, name text NOT NULL, photo bytea, parent_id int REFERENCES res_partner);
		COMMENT ON COLUMN res_partner.name IS 'Name';
		INSERT INTO res_partner (name, photo, parent_id) SELECT 'Ä partner ''' || n || E'\n\t\\', decode(repeat('00ff', n % 50), 'hex'), nullif(n / 2, 0) FROM generate_series(1, 5000) n;
		CREATE INDEX ON res_partner USING gin (name gin_trgm_ops);
		CREATE TABLE "Odd ""name""" (x float8, j jsonb, ts timestamptz); INSERT INTO "Odd ""name""" VALUES ('NaN', '{"a":[1]}', now()), (1e-300, NULL, 'infinity');
		CREATE TABLE empty_one (id int);
		CREATE TABLE moves (id int, day date) PARTITION BY RANGE (day);
		CREATE TABLE moves_1 PARTITION OF moves FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
		CREATE TABLE moves_2 PARTITION OF moves FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
		INSERT INTO moves SELECT n, '2026-01-01'::date + n % 300 FROM generate_series(1, 900) n;
		CREATE TABLE child (extra int) INHERITS (empty_one); INSERT INTO child VALUES (1, 2);
		CREATE SCHEMA other; CREATE UNLOGGED TABLE other.t AS SELECT 1 AS n;
		CREATE VIEW v AS SELECT count(*) FROM res_partner; CREATE MATERIALIZED VIEW mv AS SELECT count(*) AS n FROM moves;
		CREATE TABLE ir_attachment (id serial, store_fname varchar, file_size int); RESET ROLE;
		ALTER DATABASE `+pgx.Identifier{b.db}.Sanitize()+` SET search_path = public, other`)
	for i := range 40 {
		content := bytes.Repeat([]byte(fmt.Sprint("file ", i, " ")), 1+i*97)
		if i == 7 {
			content = nil // Odoo stores empty files as well
		}
		b.addFile(content)
	}
	b.exec(b.db, "INSERT INTO ir_attachment (store_fname) SELECT store_fname FROM ir_attachment LIMIT 5; INSERT INTO ir_attachment VALUES (99, NULL)")
}

func (b *bundle) addFile(content []byte) (name string) {
	b.t.Helper()
	sum := sha1.Sum(content)
	h := hex.EncodeToString(sum[:])
	name = h[:2] + "/" + h
	path := filepath.Join(b.filestore, name)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b.t, os.WriteFile(path, content, 0o644))
	b.exec(b.db, "INSERT INTO ir_attachment (store_fname, file_size) VALUES ('"+name+"', "+fmt.Sprint(len(content))+")")
	b.files = append(b.files, name)
	return name
}

func noise(n int) []byte {
	out := make([]byte, n)
	rand.Read(out)
	return out
}

func (b *bundle) exec(db, sql string) {
	b.t.Helper()
	ctx := context.Background() // clean-up runs it too
	conn, err := connect(ctx, cluster(b.t).URL("postgres"), db)
	require.NoError(b.t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	require.NoError(b.t, err)
}

// content is rows and what else a dump of the seed must carry.
func (b *bundle) content(db string) map[string]string {
	b.t.Helper()
	out := b.rows(db)
	conn, err := connect(b.t.Context(), cluster(b.t).URL("postgres"), db)
	require.NoError(b.t, err)
	defer conn.Close(context.Background())
	b.describe(conn, out)
	return out
}

// rows is a digest of every row of every table and view, by name.
func (b *bundle) rows(db string) map[string]string {
	b.t.Helper()
	ctx := b.t.Context()
	conn, err := connect(ctx, cluster(b.t).URL("postgres"), db)
	require.NoError(b.t, err)
	defer conn.Close(context.Background())
	rows, _ := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r','p','v','m') AND n.nspname IN ('public', 'other')`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	out := map[string]string{}
	for _, name := range names {
		var sum string
		require.NoError(b.t, conn.QueryRow(ctx, "SELECT count(*) || ':' || coalesce(md5(string_agg(md5(t::text), '' ORDER BY t::text)), '') FROM "+name+" t").Scan(&sum))
		out[name] = sum
	}
	return out
}

func (b *bundle) describe(conn *pgx.Conn, out map[string]string) {
	b.t.Helper()
	ctx := b.t.Context()
	for what, sql := range map[string]string{
		"owners":  "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r','p','v','m','S') AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')",
		"indexes": "SELECT md5(string_agg(indexdef, ';' ORDER BY indexdef)) FROM pg_indexes WHERE schemaname = 'public'",
		"comment": "SELECT col_description('res_partner'::regclass, 2)",
		"path":    "SHOW search_path",
		"ctype":   "SHOW lc_ctype",
		"next":    "SELECT last_value::text FROM res_partner_id_seq",
	} {
		var text *string
		require.NoError(b.t, conn.QueryRow(ctx, sql).Scan(&text))
		require.NotNil(b.t, text, what)
		out[what] = *text
	}
}

func (b *bundle) subject(id string) Subject {
	return Subject{ID: id, Environment: "production", Tenant: "acme", Database: b.db, AdminURL: cluster(b.t).URL("postgres"), Filestore: filestore.Dir(b.filestore),
		Config: Config{Release: "sha256:abc", Owner: b.owner}}
}

func (b *bundle) target(db string) Target {
	b.t.Cleanup(func() { require.NoError(b.t, b.server.Drop(context.Background(), db)) })
	return Target{AdminURL: cluster(b.t).URL("postgres"), Database: db, Owner: b.owner, Filestore: filestore.Dir(filepath.Join(b.t.TempDir(), "restored")), Jobs: 2}
}

func (b *bundle) capture(id string) *Manifest {
	b.t.Helper()
	m, err := b.store.Capture(b.t.Context(), b.subject(id), nil)
	require.NoError(b.t, err)
	return m
}

// objects are the files of the bucket's folder.
func (b *bundle) objects() []string {
	b.t.Helper()
	var out []string
	require.NoError(b.t, filepath.WalkDir(b.bucket, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(b.bucket, path)
			out = append(out, rel)
		}
		return err
	}))
	return out
}
