package router

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sound() Table {
	return Table{Environment: "test", Generation: 5, Tenants: []Tenant{
		{Name: "acme", Hosts: []string{"acme.test", "www.acme.test"}, Mode: Open, Weight: 10,
			Stable: Upstream{"old", "127.0.0.1:8069", "127.0.0.1:8072"}, Canary: &Upstream{"new", "pool-new:8069", ""}},
		{Name: "globex", Hosts: []string{"globex.test", "::1", "10.0.0.1"}, Mode: Freeze},
	}}
}

func TestTableIsRefused(t *testing.T) {
	good := sound()
	require.NoError(t, good.Validate())
	for _, c := range []struct {
		name   string
		change func(*Table)
		says   string
	}{
		{"no environment", func(t *Table) { t.Environment = "" }, "environment has no name"},
		{"no generation", func(t *Table) { t.Generation = 0 }, "generation 0"},
		{"no name", func(t *Table) { t.Tenants[1].Name = "" }, "number 2 has no name"},
		{"name twice", func(t *Table) { t.Tenants[1].Name = "acme" }, "acme stands twice"},
		{"no host", func(t *Table) { t.Tenants[0].Hosts = nil }, "acme has no host"},
		{"host twice", func(t *Table) { t.Tenants[1].Hosts[0] = "WWW.Acme.test." }, "www.acme.test belongs to tenant acme and to tenant globex"},
		{"host twice in one", func(t *Table) { t.Tenants[0].Hosts[1] = "acme.test" }, "belongs to tenant acme and to tenant acme"},
		{"host with port", func(t *Table) { t.Tenants[0].Hosts[0] = "acme.test:80" }, "is not a host name without port"},
		{"host with path", func(t *Table) { t.Tenants[0].Hosts[0] = "acme.test/x" }, "is not a host name without port"},
		{"empty host", func(t *Table) { t.Tenants[0].Hosts[0] = "" }, "is not a host name without port"},
		{"mode", func(t *Table) { t.Tenants[0].Mode = "shut" }, `mode "shut"`},
		{"no mode", func(t *Table) { t.Tenants[0].Mode = "" }, `mode ""`},
		{"endless hold", func(t *Table) { t.Tenants[0].Mode = Hold }, "held without hold_until"},
		{"weight over 100", func(t *Table) { t.Tenants[0].Weight = 101 }, "weight 101"},
		{"weight under 0", func(t *Table) { t.Tenants[0].Weight = -1 }, "weight -1"},
		{"weight to nobody", func(t *Table) { t.Tenants[0].Canary = nil }, "without a canary"},
		{"no stable", func(t *Table) { t.Tenants[0].Stable = Upstream{} }, "stable upstream names no pool"},
		{"no address", func(t *Table) { t.Tenants[0].Stable.Web = "" }, "web address of the stable upstream: missing"},
		{"address without port", func(t *Table) { t.Tenants[0].Stable.Web = "pool" }, "is not host:port"},
		{"port 0", func(t *Table) { t.Tenants[0].Canary.Web = "pool:0" }, "is not host:port"},
		{"URL", func(t *Table) { t.Tenants[0].Canary.Websocket = "http://pool:8072" }, "websocket address of the canary"},
		{"one pool twice", func(t *Table) { t.Tenants[0].Canary.Pool = "old" }, "both pool old"},
		{"long message", func(t *Table) { t.Tenants[1].Message = string(make([]byte, 5000)) }, "5000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := sound()
			c.change(&table)
			var wrong *TableError
			require.ErrorAs(t, table.Validate(), &wrong)
			require.ErrorContains(t, wrong, c.says)
		})
	}
	all := sound()
	all.Environment, all.Tenants[0].Weight, all.Tenants[1].Hosts = "", 200, nil
	var wrong *TableError
	require.ErrorAs(t, all.Validate(), &wrong)
	require.Len(t, wrong.Problems, 3, "everything is said at once")
}

func TestApply(t *testing.T) {
	r := newRig(t)
	old := upstream(t, "old", hello)
	table := Table{Environment: "test", Generation: 7, Tenants: []Tenant{{Name: "acme", Hosts: []string{host}, Mode: Open, Stable: old}}}
	require.NoError(t, r.control.Apply(t.Context(), table))
	require.NoError(t, r.control.Apply(t.Context(), table), "once more is nothing new")

	other := table
	other.Tenants = []Tenant{{Name: "acme", Hosts: []string{host}, Mode: Freeze, Stable: old}}
	for _, generation := range []int64{7, 6} {
		other.Generation = generation
		var stale *StaleError
		require.ErrorAs(t, r.control.Apply(t.Context(), other), &stale)
		require.Equal(t, StaleError{Generation: generation, InForce: 7}, *stale)
	}
	wrong := other
	wrong.Generation, wrong.Tenants = 8, append(wrong.Tenants, wrong.Tenants[0])
	var bad *TableError
	require.ErrorAs(t, r.control.Apply(t.Context(), wrong), &bad)
	require.Equal(t, int64(8), bad.Generation)
	foreign := other
	foreign.Generation, foreign.Environment = 8, "production"
	require.ErrorAs(t, r.control.Apply(t.Context(), foreign), &bad)
	require.ErrorContains(t, bad, "production")
	require.Equal(t, http.StatusOK, r.get("/").status, "the old table stays in force")

	// A table that cannot be kept for the next start is not put in force.
	other.Generation = 9
	require.NoError(t, os.RemoveAll(r.server.config.State))
	require.ErrorContains(t, r.control.Apply(t.Context(), other), "for the router's next start")
	require.Equal(t, http.StatusOK, r.get("/").status)
	require.NoError(t, os.MkdirAll(r.server.config.State, 0o700))
	require.NoError(t, r.control.Apply(t.Context(), other))
	require.Equal(t, http.StatusServiceUnavailable, r.get("/").status)
	s, err := r.control.Stats(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 9, s.Generation)
}

func TestCountsOfPoolsDoNotGrowForEver(t *testing.T) {
	r := newRig(t)
	u := upstream(t, "x", hello)
	for i := range 40 {
		u.Pool = "pool-" + string(rune('A'+i))
		r.apply(Tenant{Stable: u})
		require.Equal(t, http.StatusOK, r.get("/").status)
	}
	pools := r.stats().Pools
	require.Len(t, pools, keptPools+1)
	require.EqualValues(t, 1, r.pool(u.Pool).Requests)
	require.Equal(t, pools[len(pools)-1].Pool, u.Pool, "the newest are kept")
}

func FuzzTable(f *testing.F) {
	good, err := json.Marshal(sound())
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"environment":"x","generation":1,"tenants":[{"name":"a","hosts":["[::1]"],"mode":"hold","hold_until":"2026-01-01T00:00:00Z"}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		var table Table
		if json.Unmarshal(data, &table) != nil || table.Validate() != nil {
			return
		}
		// What passes can be kept, put in force and read again.
		c := newControl(newProxy(testLog(t), 1), dir, testLog(t))
		require.NoError(t, c.Apply(t.Context(), table))
		again := newControl(newProxy(testLog(t), 1), dir, testLog(t))
		require.NoError(t, again.restore())
		require.Equal(t, table.Generation, again.proxy.routes.Load().table.Generation)
		for _, tenant := range table.Tenants {
			for _, h := range tenant.Hosts {
				key, ok := hostKey(h)
				require.True(t, ok)
				rt := again.proxy.routes.Load().hosts[key]
				require.Equal(t, tenant.Name, rt.Name)
				for bucket := range buckets {
					p, _ := rt.pick(bucket)
					require.True(t, tenant.Mode != Open || p != nil && rt.routed(p))
				}
			}
		}
	})
}

func TestTableOnDisk(t *testing.T) {
	dir := t.TempDir()
	table, err := loadTable(dir)
	require.NoError(t, err)
	require.Nil(t, table)
	for _, bad := range []string{"", "{", "{}", `{"environment":"x","generation":1,"tenants":[{}]}`} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, tableFile), []byte(bad), 0o600))
		_, err = loadTable(dir)
		require.ErrorContains(t, err, tableFile)
	}
	// A router whose file is spoilt starts all the same, and takes the next table.
	s := newRig(t, func(c *Config) { c.State = dir })
	require.Equal(t, http.StatusServiceUnavailable, s.get("/").status)
	s.apply(Tenant{Stable: upstream(t, "old", hello), Mode: Hold, HoldUntil: time.Now().Add(time.Hour)})
	table, err = loadTable(dir)
	require.NoError(t, err)
	require.Equal(t, Hold, table.Tenants[0].Mode)
}
