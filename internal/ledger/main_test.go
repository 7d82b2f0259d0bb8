package ledger

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/store"
)

var cluster *postgres.Cluster

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run starts a real PostgreSQL with one database that has the tables; each test works on a copy.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wbledger")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err == nil {
		cluster, err = postgres.Start(ctx, postgres.Options{Dir: dir, Name: "ledger-test", Password: "pw"})
	}
	if err == nil {
		defer func() { _ = cluster.Stop(context.WithoutCancel(ctx)) }()
		err = makeTemplate(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func makeTemplate(ctx context.Context) error {
	if err := asAdmin(ctx, "create database template_ledger"); err != nil {
		return err
	}
	s, err := store.Open(ctx, cluster.URL("template_ledger"))
	if err == nil {
		s.Close()
	}
	return err
}

func asAdmin(ctx context.Context, sql string) error {
	db, err := pgx.Connect(ctx, cluster.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(ctx) }()
	_, err = db.Exec(ctx, sql)
	return err
}

// bench is a ledger of its own in a database of its own.
type bench struct {
	t      testing.TB
	store  *store.Store
	ledger *Ledger
	key    *ecdsa.PrivateKey
	o      Options
}

func setup(t testing.TB) *bench {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
	require.NoError(t, asAdmin(t.Context(), fmt.Sprintf("create database %q template template_ledger", name)))
	s, err := store.Open(t.Context(), cluster.URL(name))
	require.NoError(t, err)
	t.Cleanup(s.Close)
	b := &bench{t: t, store: s, key: newKey(t)}
	b.o = Options{Log: slog.New(slog.DiscardHandler), Every: 5 * time.Millisecond, Signer: func(context.Context) (crypto.Signer, error) { return b.key, nil }}
	b.ledger = New(s.Pool, b.o)
	// A template carries its identity along: here, each has its own.
	b.exec("update ledger_identity set id = replace(gen_random_uuid()::text, '-', '')")
	return b
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.store.Pool.Exec(b.t.Context(), sql, args...)
	require.NoError(b.t, err)
}

func (b *bench) keys(more ...*ecdsa.PrivateKey) []attest.Key {
	list := attest.PublicKeys(&b.key.PublicKey)
	for _, k := range more {
		list = append(list, attest.PublicKeys(&k.PublicKey)...)
	}
	return list
}

// record writes n events of a few promotions, each with its own payload.
func (b *bench) record(n int) {
	b.t.Helper()
	require.NoError(b.t, b.store.In(b.t.Context(), func(tx pgx.Tx) error {
		for i := range n {
			if err := Record(b.t.Context(), tx, Event{Actor: "ann", Kind: RolloutStep, Environment: "production", Tenant: fmt.Sprintf("t%d", i%3),
				Promotion: fmt.Sprintf("p%d", i%4), Rollout: fmt.Sprintf("r%d", i%7), Release: "sha256:abc", Payload: map[string]any{"step": "update", "number": i}}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// cover chains and signs.
func (b *bench) cover() Head {
	b.t.Helper()
	h, err := b.ledger.Cover(b.t.Context())
	require.NoError(b.t, err)
	return h
}

// long makes a ledger of n entries with a head after every tenth part.
func (b *bench) long(n int) (heads []Head) {
	for range 10 {
		b.record(n / 10)
		heads = append(heads, b.cover())
	}
	return heads
}

func (b *bench) verify(anchors ...Head) Report {
	b.t.Helper()
	r, err := Verification{Lines: func() iter.Seq2[Line, error] { return b.ledger.Lines(b.t.Context()) }, Keys: b.keys(), Anchors: anchors, Now: time.Now()}.Verify()
	require.NoError(b.t, err)
	return r
}

func (b *bench) all() []Entry {
	b.t.Helper()
	list, err := b.ledger.List(b.t.Context(), Filter{Limit: 1_000_000})
	require.NoError(b.t, err)
	return list
}
