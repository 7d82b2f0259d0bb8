package acme_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme"
	"github.com/waybill-dev/waybill/internal/estate"
)

// TestEstate loads the example as a user's estate is loaded.
func TestEstate(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, acme.WriteEstate(dir, "", "127.0.0.1:28069"))
	loaded, err := estate.Load(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, "acme", loaded.Product.Name)
	require.Len(t, loaded.Environments, 2)
	require.Empty(t, loaded.Environments[0].Rollout.Steps, "nobody works in test, so nothing is shifted by traffic")
	require.Zero(t, loaded.Environments[0].Workers)
	require.Equal(t, 2, loaded.Environments[1].Workers)
	require.Equal(t, acme.TestAddress, loaded.Environments[0].Runtime.Docker.HTTP)
	require.Equal(t, "127.0.0.1:28069", loaded.Environments[1].Runtime.Docker.HTTP)
	require.Len(t, loaded.Tenants, 2)
	for _, name := range acme.Releases {
		found, ok := loaded.Classification(name)
		require.True(t, ok, name)
		require.NotEmpty(t, found.Reason)
	}
	breaking, _ := loaded.Classification("r5")
	require.Equal(t, estate.Breaking, breaking.Class)

	require.NoError(t, acme.RequireRehearsal(dir, "production"))
	loaded, err = estate.Load(t.Context(), dir)
	require.NoError(t, err)
	require.False(t, loaded.Environments[0].Rehearsal.Wanted())
	require.Equal(t, estate.RehearsalRequired, loaded.Environments[1].Rehearsal)
	require.Error(t, acme.RequireRehearsal(dir, "classifications"))

	require.NoError(t, acme.ClassifyBatches(dir, "r7"))
	loaded, err = estate.Load(t.Context(), dir)
	require.NoError(t, err)
	batches, ok := loaded.Classification("r7")
	require.True(t, ok)
	require.Equal(t, estate.Breaking, batches.Class)
	require.NotNil(t, batches.Transactional)
	require.False(t, *batches.Transactional)
	_, ok = loaded.Classification("r2")
	require.False(t, ok)

	opens := time.Now().Add(time.Hour).Truncate(time.Second)
	require.NoError(t, acme.AskPeople(dir, opens))
	loaded, err = estate.Load(t.Context(), dir)
	require.NoError(t, err)
	require.Nil(t, loaded.Environments[0].Approvals)
	require.Equal(t, 1, loaded.Environments[1].Approvals.Required)
	require.Len(t, loaded.Access.Users, len(acme.Approvers))
	calendar, err := loaded.Calendar()
	require.NoError(t, err)
	for _, subject := range loaded.Subjects() {
		require.Equal(t, subject.Environment == "test", calendar.Open(subject, opens.Add(-time.Second), time.Minute).Open)
		require.True(t, calendar.Open(subject, opens, time.Minute).Open)
	}
}
