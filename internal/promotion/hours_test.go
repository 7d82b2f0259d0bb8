package promotion

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// What one release does alone is counted by the hour; what two do, or nobody can use, is not.
func TestHours(t *testing.T) {
	s := &street{t: t, pools: map[string]*httptest.Server{}, tell: counting(0)}
	s.pools["old"] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		told, _ := s.tell("old")
		w.Header().Set("Content-Type", "application/json")
		require.NoError(t, json.NewEncoder(w).Encode(told))
	}))
	defer s.pools["old"].Close()
	b := setup(t)
	e, _ := b.engine("a")
	secrets, err := keys.Open(t.TempDir())
	require.NoError(t, err)
	e.rooms.Keys = secrets
	tenant := store.Tenant{Environment: b.kind, Name: "acme", Database: b.kind, Hosts: []string{"acme.example"}}
	require.NoError(t, b.store.PutTenant(t.Context(), tenant))
	live := func(f func(*store.Live)) {
		_, err := b.store.ChangeTenant(t.Context(), b.kind, "acme", store.Lease{}, func(t *store.Tenant) { f(&t.Live) })
		require.NoError(t, err)
	}
	live(func(l *store.Live) { l.Stable = "old" })
	hours := e.NewHours()
	defer hours.Close()
	place := Place{Runtime: streetRuntime{street: s}}
	count := func() int64 {
		require.NoError(t, hours.Count(t.Context(), place, b.kind))
		rows, err := b.store.SignalHours(t.Context(), b.kind, "acme")
		require.NoError(t, err)
		total := int64(0)
		for _, r := range rows {
			require.Equal(t, "picking_validate.failed", r.Signal)
			total += r.Total
		}
		return total
	}
	require.EqualValues(t, 0, count(), "the first reading is where counting begins")
	require.EqualValues(t, 50, count())
	require.EqualValues(t, 100, count())
	live(func(l *store.Live) { l.Canary, l.Weight = "new", 10 })
	require.EqualValues(t, 100, count(), "two releases serve")
	live(func(l *store.Live) { l.Canary, l.Weight, l.Mode = "", 0, router.Hold })
	require.EqualValues(t, 100, count(), "nobody can work")
	require.NoError(t, b.store.AddSignalHours(t.Context(), nil, time.Now().Add(time.Hour)))
	rows, err := b.store.SignalHours(t.Context(), b.kind, "acme")
	require.NoError(t, err)
	require.Empty(t, rows, "they are kept for a while")

	release, ok, err := b.store.CountHours(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	_, second, err := b.store.CountHours(t.Context())
	require.NoError(t, err)
	require.False(t, second, "one server counts")
	release()
	release, ok, err = b.store.CountHours(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	release()
}
