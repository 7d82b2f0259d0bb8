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
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/attest"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

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
	s := storetest.Open(t, cluster(t))
	b := &bench{t: t, store: s, key: newKey(t)}
	b.o = Options{Log: slog.New(slog.DiscardHandler), Every: 5 * time.Millisecond, Signer: func(context.Context) (crypto.Signer, error) { return b.key, nil }}
	b.ledger = New(s.Pool, b.o)
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
