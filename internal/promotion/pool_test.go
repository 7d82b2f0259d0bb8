package promotion

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/store"
)

// A pool that is told to end cuts off what runs on it. So it is told so when its last request is through, on the way there and back.
func TestAPoolEndsAfterItsLastRequest(t *testing.T) {
	y := newWorks(t)
	before, err := y.store.Tenant(t.Context(), "rotation", "cord")
	require.NoError(t, err)
	old, fresh := before.Live.Stable, before.Live.Stable+"-fresh"
	pool, err := y.store.GetPool(t.Context(), "rotation", old)
	require.NoError(t, err)
	pool.Name = fresh
	type step = func(context.Context, *Work) (string, error)
	for _, c := range []struct {
		way            string
		do             []step
		served, left   string
		inside, weight int // of the new pool, when the request comes and afterwards
	}{
		{"back", []step{shiftBack, forgetCanary, removeNewPool}, old, fresh, 100, 100},
		{"there", []step{record}, fresh, old, 0, 100},
	} {
		t.Run(c.way, func(t *testing.T) {
			for _, name := range []string{old, fresh} {
				p := pool
				p.Name = name
				require.NoError(t, y.store.PutPool(t.Context(), p))
				_, err := y.engine.ensurePool(t.Context(), y.place, p)
				require.NoError(t, err)
			}
			route := func(weight int) {
				state, err := y.store.ChangeTenant(t.Context(), "rotation", "cord", store.Lease{}, func(s *store.Tenant) {
					s.Live = store.Live{Stable: old, Canary: fresh, Weight: weight, Cron: old, Access: []string{old, fresh}}
				})
				require.NoError(t, err)
				require.NoError(t, y.engine.grantAccess(t.Context(), y.place, state))
				_, err = y.engine.tellPools(t.Context(), y.place, "rotation")
				require.NoError(t, err)
				require.NoError(t, y.engine.tellRouter(t.Context(), y.place, "rotation"))
			}
			route(c.inside)
			answered := make(chan string, 1)
			go func() {
				request, _ := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, y.url+"/?takes=1.5", nil)
				request.Host = "cord.example"
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					answered <- err.Error()
					return
				}
				defer func() { _ = response.Body.Close() }()
				text, _ := io.ReadAll(response.Body)
				answered <- response.Status + string(text)
			}()
			bounded, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			require.NoError(t, poll(bounded, 5*time.Millisecond, func() (bool, error) {
				stats, err := y.control.Stats(bounded)
				for _, tenant := range stats.Tenants {
					if tenant.Name == "cord" && tenant.InFlight > 0 {
						return true, err
					}
				}
				return false, err
			}))
			route(c.weight)
			w := &Work{Engine: y.engine, place: y.place, rollout: store.Rollout{Environment: "rotation", Tenant: "cord"}, tenant: y.declared.Tenants[2],
				memory: Memory{OldPool: old, NewPool: fresh, Release: pool.Release}}
			for _, do := range c.do {
				_, err := do(t.Context(), w)
				require.NoError(t, err)
			}
			require.Equal(t, "200 OK", <-answered, c.way)
			require.Nil(t, y.pool(c.left), "it is gone")
			require.NotNil(t, y.pool(c.served))
		})
	}
}
