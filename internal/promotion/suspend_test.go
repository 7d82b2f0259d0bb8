package promotion

import (
	"context"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
)

// answer is what a tenant's people get.
func (y *works) answer(host string) (int, string) {
	y.t.Helper()
	request, err := http.NewRequestWithContext(y.t.Context(), http.MethodGet, y.url+"/order", nil)
	require.NoError(y.t, err)
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	require.NoError(y.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(y.t, err)
	return response.StatusCode, string(text)
}

func (y *yard) life(kind string, o Options) store.Rollout {
	y.t.Helper()
	id, err := y.engine.Start(y.t.Context(), y.declared, Request{Kind: kind, Environment: "rotation", Tenants: []string{"acme"}, By: "bob", Options: o})
	require.NoError(y.t, err)
	return y.ended(id)
}

func TestSuspendAndResume(t *testing.T) {
	y := newYard(t)
	y.declared.Tenants[2].Hosting = estate.Dedicated
	r := y.life(KindResume, Options{})
	require.Contains(t, r.Reason, "is not suspended")
	status, _ := y.answer("acme.example")
	require.Equal(t, http.StatusOK, status)

	r = y.life(KindSuspend, Options{Message: "The rent is due."})
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	status, text := y.answer("acme.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, "The rent is due.")
	logins, err := y.place.Databases.Logins(t.Context(), "rotated")
	require.NoError(t, err)
	require.Empty(t, logins, "fenced")
	tenant, err := y.store.Tenant(t.Context(), "rotation", "acme")
	require.NoError(t, err)
	require.Empty(t, tenant.Live.Cron)
	require.Contains(t, y.life(KindSuspend, Options{}).Reason, "suspended already")

	// What is told anew, after a restart say, is the same; and the pool that it comes back to does not go away.
	require.NoError(t, y.engine.Converge(t.Context(), y.place, "rotation"))
	status, _ = y.answer("acme.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	removed, err := y.engine.removePool(t.Context(), y.place, "rotation", tenant.Live.Stable)
	require.NoError(t, err)
	require.False(t, removed)

	// A release into the whole environment leaves it out; one into it alone is refused.
	s, err := takeSnapshot(y.declared, Request{Environment: "rotation"})
	require.NoError(t, err)
	require.NoError(t, y.engine.available(t.Context(), Request{Kind: KindPromote, Environment: "rotation"}, &s))
	require.Len(t, s.Tenants, 2)
	_, err = y.engine.Start(t.Context(), y.declared, Request{Kind: KindPromote, Environment: "rotation", Tenants: []string{"acme"}, Release: "r1"})
	require.ErrorIs(t, err, ErrBadRequest)
	require.ErrorContains(t, err, "waybill tenant resume rotation/acme")

	// Its pool went down meanwhile; its people still read why.
	require.NoError(t, y.RemovePool(t.Context(), "rotation", tenant.Live.Stable, 0))
	_, err = y.store.ChangeTenant(t.Context(), "rotation", "acme", store.Lease{}, func(*store.Tenant) {}) // another generation
	require.NoError(t, err)
	require.NoError(t, y.engine.tellRouter(t.Context(), y.place, "rotation"))
	status, text = y.answer("acme.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, "The rent is due.")
	r = y.life(KindResume, Options{})
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	status, text = y.answer("acme.example")
	require.Equal(t, http.StatusOK, status, text)
	after, err := y.store.Tenant(t.Context(), "rotation", "acme")
	require.NoError(t, err)
	require.False(t, after.Live.Suspended)
	require.Equal(t, tenant.Live.Stable, after.Live.Cron)
}

// A tenant that cannot be opened stays suspended, and its people read why, also where it was half open.
func TestResumeThatFails(t *testing.T) {
	long.Test(t)
	y := newYard(t)
	r := y.life(KindSuspend, Options{Message: "The rent is due."})
	require.Equal(t, store.Promoted, r.Outcome, r.Reason)
	before, err := y.store.Tenant(t.Context(), "rotation", "acme")
	require.NoError(t, err)
	steps := procedures[KindResume]
	t.Cleanup(func() { procedures[KindResume] = steps })
	changed := slices.Clone(steps)
	changed[len(changed)-1].Do = func(ctx context.Context, w *Work) (string, error) {
		if err := w.change(ctx, func(l *store.Live) { l.Mode, l.Message, l.Cron = router.Open, "", l.Stable }); err != nil {
			return "", err
		}
		return "", failed("the lights went out")
	}
	procedures[KindResume] = changed
	r = y.life(KindResume, Options{})
	require.Equal(t, store.RolledBack, r.Outcome)
	after, err := y.store.Tenant(t.Context(), "rotation", "acme")
	require.NoError(t, err)
	require.Equal(t, before, after)
	status, text := y.answer("acme.example")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, text, "The rent is due.")
}
