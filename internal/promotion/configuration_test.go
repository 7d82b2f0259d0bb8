package promotion

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

func TestDifferences(t *testing.T) {
	plain := Configuration{Workers: 2}
	require.Empty(t, plain.Differences(Configuration{Workers: 2, Settings: map[string]string{}}))
	require.Equal(t, plain.Hash(), Configuration{Workers: 2, Settings: map[string]string{}}.Hash())
	other := Configuration{Workers: 4, Settings: map[string]string{"limit_time_cpu": "60", "proxy_mode": ""}}
	require.Equal(t, []string{"settings.limit_time_cpu", "settings.proxy_mode", "workers"}, plain.Differences(other))
	require.Equal(t, plain.Differences(other), other.Differences(plain))
	require.NotEqual(t, plain.Hash(), other.Hash())

	bounded := ConfigurationOf(estate.Environment{Workers: 2, Resources: &estate.Resources{MemoryGiB: 1.5, CPUs: .5}})
	require.Equal(t, Configuration{Workers: 2, Memory: 3 << 29, CPUs: .5}, bounded)
	require.Equal(t, []string{"resources.cpus", "resources.memory_gib"}, plain.Differences(bounded))
	require.NotEqual(t, plain.Hash(), bounded.Hash())
	require.True(t, plain.usual())
	require.False(t, bounded.usual())
	require.Equal(t, bounded, configurationOf(bounded.started(store.Pool{})))
	elsewhere := ConfigurationOf(estate.Environment{Workers: 2, Redis: estate.Redis{URL: "redis://cache", Sessions: true}})
	require.Equal(t, []string{"redis.sessions"}, plain.Differences(elsewhere))
	require.NotEqual(t, plain.Hash(), elsewhere.Hash())
	require.False(t, elsewhere.usual())
	require.Equal(t, elsewhere, configurationOf(elsewhere.started(store.Pool{})))
	require.Equal(t, plain, ConfigurationOf(estate.Environment{Workers: 2, Redis: estate.Redis{URL: "redis://cache"}}), "it is only watched")
	require.Equal(t, estate.Redis{URL: "redis://cache", Sessions: true}, elsewhere.redis(estate.Redis{URL: "redis://other"}))
	require.Equal(t, estate.Redis{URL: "redis://other"}, plain.redis(estate.Redis{URL: "redis://other", Sessions: true}))
	require.Equal(t, &estate.Resources{MemoryGiB: 1.5, CPUs: .5}, bounded.resources(), "what is taken back is said as the estate says it")
}

// configured is an environment of two tenants, of which a pool serves one, and an estate that says something else of it.
func configured(t *testing.T, e estate.Environment) (*bench, *Engine, *estate.Estate) {
	t.Helper()
	b := setup(t)
	e.Name = b.kind
	served := release.Release{Digest: "sha256:" + strings.Repeat("5", 50) + b.kind, Repository: "acme", Name: "r5-" + b.kind}
	require.NoError(t, b.store.PutRelease(t.Context(), served))
	require.NoError(t, b.store.PutPool(t.Context(), store.Pool{Environment: b.kind, Name: poolName("shared", served, 0), Release: served.Digest, Group: "shared", Workers: 2,
		Settings: map[string]string{"smtp_password": "hunter2"}}))
	declared := &estate.Estate{Environments: []estate.Environment{e}}
	for _, name := range []string{"acme", "fresh"} {
		declared.Tenants = append(declared.Tenants, estate.Tenant{Name: name, Environment: b.kind, Database: name, Hosts: []string{name + ".example"}})
		require.NoError(t, b.store.PutTenant(t.Context(), store.Tenant{Environment: b.kind, Name: name, Database: name, Hosts: []string{name + ".example"}, Group: "shared"}))
	}
	_, err := b.store.ChangeTenant(t.Context(), b.kind, "acme", store.Lease{}, func(now *store.Tenant) {
		now.ServingRelease, now.Live.Stable = served.Digest, poolName("shared", served, 0)
	})
	require.NoError(t, err)
	engine, stop := b.engine("a")
	stop() // it starts promotions, and works on none
	return b, engine, declared
}

func TestAConfigurationIsAsked(t *testing.T) {
	b, engine, declared := configured(t, estate.Environment{Workers: 4, Settings: map[string]string{"smtp_password": "hunter3"}})
	differs, err := engine.Differs(t.Context(), declared.Environments[0])
	require.NoError(t, err)
	require.Equal(t, []string{"settings.smtp_password", "workers"}, differs)
	id, err := engine.Start(t.Context(), declared, Request{Kind: KindConfiguration, Environment: b.kind, By: "bob"})
	require.NoError(t, err)
	p, err := b.store.Promotion(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "r5-"+b.kind, p.ReleaseName, "the release that serves stays")
	rollouts, err := b.store.Rollouts(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, rollouts, 1, "what nothing serves yet takes it along when it is promoted to")
	var payload string
	require.NoError(t, b.store.Pool.QueryRow(t.Context(), "select payload::text from ledger_outbox where promotion = $1", id).Scan(&payload))
	require.Contains(t, payload, `"changed":["settings.smtp_password","workers"]`)
	require.NotContains(t, payload, "hunter", "which, never what")

	// Taken back, it is what was there before.
	_, err = b.store.Pool.Exec(t.Context(), "update promotions set finished_at = now(), outcome = 'promoted' where id = $1", id)
	require.NoError(t, err)
	before := Configuration{Workers: 2, Settings: map[string]string{"smtp_password": "hunter2"}}
	_, err = b.store.Pool.Exec(t.Context(), "update rollouts set state = 'done', memory = $2 where promotion_id = $1", id, encode(Memory{OldConfiguration: &before}))
	require.NoError(t, err)
	_, err = engine.Start(t.Context(), declared, Request{Kind: KindConfiguration, Environment: b.kind, Options: Options{Of: id}})
	require.ErrorContains(t, err, "run with this configuration already")
	require.NoError(t, b.store.PutPool(t.Context(), store.Pool{Environment: b.kind, Name: "new", Release: p.Release, Group: "shared", Workers: 4, Settings: map[string]string{"smtp_password": "hunter3"}}))
	_, err = b.store.ChangeTenant(t.Context(), b.kind, "acme", store.Lease{}, func(now *store.Tenant) { now.Live.Stable = "new" })
	require.NoError(t, err)
	back, err := engine.Start(t.Context(), declared, Request{Kind: KindConfiguration, Environment: b.kind, Options: Options{Of: id}})
	require.NoError(t, err)
	p, err = b.store.Promotion(t.Context(), back)
	require.NoError(t, err)
	var s Snapshot
	require.NoError(t, json.Unmarshal(p.Estate, &s))
	require.Equal(t, before, ConfigurationOf(s.Environment))
}

func TestAConfigurationThatMakesNoSense(t *testing.T) {
	b, engine, declared := configured(t, estate.Environment{Workers: 2, Settings: map[string]string{"smtp_password": "hunter2"}})
	start := func(tenants ...string) error {
		_, err := engine.Start(t.Context(), declared, Request{Kind: KindConfiguration, Environment: b.kind, Tenants: tenants})
		return err
	}
	require.ErrorIs(t, start(), ErrBadRequest)
	require.ErrorContains(t, start(), "run with this configuration already")
	require.ErrorContains(t, start("fresh"), "nothing serves in "+b.kind+" yet")
	declared.Environments[0].Workers = 4
	_, err := b.store.ChangeTenant(t.Context(), b.kind, "fresh", store.Lease{}, func(now *store.Tenant) {
		now.ServingRelease, now.Live.Stable = "sha256:other", poolName("shared", release.Release{Digest: "sha256:" + strings.Repeat("5", 50) + b.kind}, 0)
	})
	require.NoError(t, err)
	require.ErrorContains(t, start(), "served by different releases")
}

func TestPoolsOfAnotherConfigurationHaveAnotherName(t *testing.T) {
	b, engine, declared := configured(t, estate.Environment{Workers: 2})
	r, err := b.store.Release(t.Context(), "r5-"+b.kind)
	require.NoError(t, err)
	w := &Work{Engine: engine, rollout: store.Rollout{Environment: b.kind}, env: Snapshot{Environment: declared.Environments[0]}, state: store.Tenant{Group: "shared"}}
	name := func(c Configuration) string {
		require.NoError(t, w.nameNewPool(t.Context(), r, c))
		return w.memory.NewPool
	}
	base := poolName("shared", r, 0)
	require.Equal(t, base, name(Configuration{Workers: 2, Settings: map[string]string{"smtp_password": "hunter2"}}), "it is there, and just so")
	require.Equal(t, base+"-"+Configuration{Workers: 2}.Hash()[:6], name(Configuration{Workers: 2}), "the name is taken by another configuration")
	require.Equal(t, base+"-"+Configuration{Workers: 4}.Hash()[:6], name(Configuration{Workers: 4}))
	r.Digest = "sha256:" + strings.Repeat("6", 64)
	require.Equal(t, "r-6666666666", name(Configuration{Workers: 2}))
}

func TestRulesThatSayNothingOfAConfiguration(t *testing.T) {
	p := estate.Policy{Name: "p", Rules: []estate.PolicyRule{
		{ID: "rehearsed", Expr: `promotion.class == "swap" || rehearsal.age < duration("24h")`},
		{ID: "soaked", Expr: `previous.soaked > duration("24h")`},
		{ID: "open", Expr: `calendar.open`},
		{ID: "both", Expr: `calendar.open && release.signed`},
		{ID: "asked", Expr: `promotion.author != "bob"`},
	}}
	_, err := gate.Compile([]estate.Policy{p})
	require.NoError(t, err)
	rules, err := aboutMore(p)
	require.NoError(t, err)
	var left []string
	for _, r := range rules {
		left = append(left, r.ID)
	}
	require.Equal(t, []string{"open", "both", "asked"}, left)
}
