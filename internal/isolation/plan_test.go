package isolation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// world has two tenants that share a pool, a dedicated one, and one of another environment on the same database server.
func world() World {
	keys := func(context.Context) ([][]byte, error) { return [][]byte{[]byte("0123456789abcdef")}, nil }
	tenant := func(env, name, group string, pools ...string) Tenant {
		return Tenant{Environment: env, Name: name, Database: name + "_" + env, Server: "pg:5432", Group: group, Hosts: []string{name + "." + env}, Serves: pools, May: pools, Still: true}
	}
	pool := func(env, name, group string, port int) Pool {
		return Pool{Environment: env, Name: name, Group: group, Login: "wb_" + env + "_" + name, Owner: "wb_" + env + "_" + group + "_owner", Server: "pg:5432",
			Base: fmt.Sprintf("http://127.0.0.1:%d", port), Keys: keys}
	}
	return World{
		Environment: "production",
		Tenants: []Tenant{tenant("production", "acme", "shared", "r1"), tenant("production", "bolt", "shared", "r1"), tenant("production", "fern", "fern", "fern-r1"),
			tenant("uat", "acme", "shared", "r2")},
		Pools:     []Pool{pool("production", "r1", "shared", 1), pool("production", "fern-r1", "fern", 2), pool("uat", "r2", "shared", 3)},
		Databases: map[string][]string{"pg:5432": {"acme_production", "bolt_production", "fern_production", "acme_uat", "acme_production_kept"}},
		Admins:    map[string]string{"pg:5432": "waybill"},
		Router:    "127.0.0.1:9",
		Folders:   map[string]string{"production/shared": "/d/production/shared", "production/fern": "/d/production/fern", "uat/shared": "/d/uat/shared"},
		Secret:    []string{"/d/keys"}, Port: 8800, TLS: true, Pages: []string{"/api/v1/status"},
	}
}

// targets are what is tried at a door, controls left out.
func targets(p plan, door string) (list []string) {
	for _, one := range p.planned {
		if one.Door == door && !one.Control {
			list = append(list, one.Target)
		}
	}
	return list
}

// prefixes are where the files are that are tried, controls first.
func prefixes(p plan) (list []string) {
	for _, one := range p.planned {
		if one.Door == bridge.DoorFilestore {
			list = append(list, one.inside.Prefix)
		}
	}
	return list
}

func TestPlan(t *testing.T) {
	w := world()
	shared, dedicated := w.plan(w.Pools[0], 0), w.plan(w.Pools[1], 0)

	assert.Equal(t, []string{"database fern_production of production/fern", "database acme_uat of uat/acme", "database acme_production_kept, no tenant's"},
		targets(shared, bridge.DoorConnect), "tenants of one pool share its login by design")
	assert.Contains(t, targets(shared, bridge.DoorCursor), "database bolt_production of production/bolt", "but not a request")
	assert.Contains(t, targets(dedicated, bridge.DoorConnect), "database acme_production of production/acme")
	assert.NotContains(t, strings.Join(targets(dedicated, bridge.DoorConnect), " "), "fern_production")

	assert.Equal(t, []string{"the files of production/fern", "the files of uat/acme"}, targets(shared, bridge.DoorFilestore))
	assert.Equal(t, []string{"", "production/fern/", "uat/shared/"}, prefixes(shared), "as internal/runtime/kube has them in a bucket")
	assert.Equal(t, []string{"/d/keys", "/d/production/fern", "/d/uat/shared"}, targets(shared, bridge.DoorFolder))
	assert.Equal(t, []string{"/d/keys", "/d/production/shared", "/d/uat/shared"}, targets(dedicated, bridge.DoorFolder))
	assert.Equal(t, []string{"pool production/fern-r1", "pool uat/r2"}, targets(shared, bridge.DoorTCP))
	assert.Equal(t, []string{"the administrator waybill", "the owner wb_production_fern_owner", "the owner wb_uat_shared_owner"}, targets(shared, bridge.DoorRole))
	assert.Contains(t, targets(shared, DoorSession), "the session of acme at bolt.production")
	assert.Contains(t, targets(shared, DoorSession), "the session of acme at fern.production")
	assert.NotContains(t, strings.Join(targets(shared, DoorHost), " "), "bolt.production", "it is on the pool's own list")
	assert.Contains(t, targets(shared, DoorHost), "fern.production of production/fern")

	for _, made := range []plan{shared, dedicated} {
		for _, door := range Doors { // every door has a control, or one whose control stands for it
			stands := map[string]string{bridge.DoorLogin: bridge.DoorConnect, DoorDatabase: DoorHost, DoorHeader: DoorHost, DoorList: DoorHost, DoorNobody: DoorForwarded}
			name := door.Name
			if other, ok := stands[name]; ok {
				name = other
			}
			if len(targets(made, door.Name)) == 0 {
				continue
			}
			assert.True(t, slices.ContainsFunc(made.planned, func(one planned) bool { return one.Door == name && one.Control }), "%s has no control", door.Name)
		}
	}
}

// TestTurns: with more than fit into a run, each has its turn.
func TestTurns(t *testing.T) {
	w := world()
	for i := range 3 * maxTargets {
		name := fmt.Sprintf("t%03d", i)
		w.Tenants = append(w.Tenants, Tenant{Environment: "production", Name: name, Database: name, Server: "pg:5432", Group: name, Serves: []string{name}, May: []string{name}})
		w.Databases["pg:5432"] = append(w.Databases["pg:5432"], name)
	}
	seen := map[string]bool{}
	for turn := range 4 {
		made := w.plan(w.Pools[0], turn)
		list := targets(made, bridge.DoorConnect)
		require.Len(t, list, maxTargets)
		require.Positive(t, made.left)
		for _, target := range list {
			seen[target] = true
		}
	}
	assert.Len(t, seen, 3*maxTargets+3)
}

func TestPoolThatServesNobody(t *testing.T) {
	w := world()
	w.Tenants[2].Serves = nil
	list, _ := w.plans(0)
	require.Len(t, list, 1)
	assert.Equal(t, "r1", list[0].pool.Name)

	w.Tenants[2].Serves, w.Tenants[2].May = []string{"fern-r1"}, nil // fenced
	list, _ = w.plans(0)
	require.Len(t, list, 2)
	require.Len(t, list[1].planned, 1, "it proves nothing")
	assert.True(t, list[1].planned[0].Wrong())
}

func TestMoved(t *testing.T) {
	w := world()
	reached := func(pool, door, tenant string) Attempt {
		return Attempt{Pool: pool, Door: door, Tenant: tenant, Outcome: bridge.Reached}
	}
	for _, test := range []struct {
		attempt Attempt
		want    bool
	}{
		{reached("production/r1", bridge.DoorConnect, "production/fern"), false},
		{reached("production/r1", bridge.DoorConnect, "production/bolt"), true}, // it is there by now
		{reached("production/r0", bridge.DoorConnect, "production/fern"), true}, // the pool is gone
		{reached("production/r1", bridge.DoorCursor, "production/bolt"), false}, // nobody's right, whoever shares a pool
		{reached("production/r1", DoorSession, "production/bolt"), false},
		{reached("production/r1", DoorHost, "production/bolt"), true},
		{reached("production/r1", bridge.DoorFilestore, "production/fern"), false},
		{reached("production/r1", bridge.DoorFilestore, "production/bolt"), true},
		{reached("production/r1", bridge.DoorFolder, ""), false},
	} {
		assert.Equal(t, test.want, w.moved(test.attempt), "%+v", test.attempt)
	}
}
