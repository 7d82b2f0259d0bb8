package storetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

var cluster = postgrestest.Shared(postgres.Options{})

func TestEachStoreIsItsOwn(t *testing.T) {
	one, other := storetest.Open(t, cluster(t)), storetest.Open(t, cluster(t))
	require.NoError(t, one.PutRelease(t.Context(), release.Release{Digest: "sha256:1", Repository: "acme", Name: "r1"}))
	_, err := other.Release(t.Context(), "sha256:1")
	require.ErrorIs(t, err, store.ErrNotFound)
	ids := map[string]bool{}
	for _, s := range []*store.Store{one, other} {
		var id string
		require.NoError(t, s.Pool.QueryRow(t.Context(), "select id from ledger_identity").Scan(&id))
		ids[id] = true
	}
	require.Len(t, ids, 2, "the ledgers' identities")
}
