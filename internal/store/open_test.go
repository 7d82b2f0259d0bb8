package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/store"
)

// Servers that start at the same time on a database without tables, as those of a new installation do, all come up.
func TestServersThatStartTogether(t *testing.T) {
	server := cluster(t)
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	require.NoError(t, err)
	defer func() { _ = admin.Close(t.Context()) }()
	_, err = admin.Exec(t.Context(), "create database together")
	require.NoError(t, err)
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			s, err := store.Open(t.Context(), server.URL("together"))
			if err == nil {
				s.Close()
			}
			return err
		})
	}
	require.NoError(t, all.Wait())
}
