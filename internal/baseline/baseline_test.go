package baseline

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fit is a server with nothing to say of.
func fit() Postgres {
	return Postgres{
		Version: 170004, Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Demand: 56,
		Settings: map[string]string{
			"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "max_connections": "300", "superuser_reserved_connections": "10",
			"max_locks_per_transaction": "512", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": "0", "data_checksums": "on",
			"autovacuum": "on", "track_counts": "on", "archive_mode": "on", "wal_level": "replica",
		},
	}
}

func names(found []Deviation) (names []string) {
	for _, d := range found {
		names = append(names, d.Name)
	}
	return names
}

func TestPostgres(t *testing.T) {
	require.Empty(t, fit().Of())
	setting := func(pairs ...string) func(*Postgres) {
		return func(p *Postgres) {
			for i := 0; i < len(pairs); i += 2 {
				p.Settings[pairs[i]] = pairs[i+1]
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*Postgres)
		want   []string
		advice bool
		says   string
	}{
		"shared by a pooler":    {func(p *Postgres) { p.Pooler = SharingPooler }, []string{"pooler"}, false, "LISTEN"},
		"a pooler of sessions":  {func(p *Postgres) { p.Pooler = SessionPooler }, nil, false, ""},
		"a replica":             {func(p *Postgres) { p.Replica = true }, []string{"role"}, false, "replica"},
		"commits in memory":     {setting("fsync", "off"), []string{"durability"}, false, "fsync is off"},
		"commits late":          {setting("synchronous_commit", "off"), []string{"durability"}, false, "acknowledged"},
		"commits remotely":      {setting("synchronous_commit", "remote_apply"), nil, false, ""},
		"commits late, for one": {func(p *Postgres) { p.Overrides = []Override{{"east", "", "synchronous_commit", "off"}} }, []string{"durability"}, false, "in database east"},
		"no fixes":              {func(p *Postgres) { p.Version = 140020 }, []string{"version"}, true, "PostgreSQL 14"},
		"not yet":               {func(p *Postgres) { p.Version, p.Now = 140020, time.Date(2026, 11, 11, 0, 0, 0, 0, time.UTC) }, nil, false, ""},
		"one from the future":   {func(p *Postgres) { p.Version = 200001 }, nil, false, ""},
		"too few connections":   {func(p *Postgres) { p.Demand = 291 }, []string{"max_connections"}, false, "290 are free for pools that may open 291"},
		"few for a canary":      {func(p *Postgres) { p.Demand = 146 }, []string{"max_connections"}, true, "twice that"},
		"just enough":           {func(p *Postgres) { p.Demand = 145 }, nil, false, ""},
		"nothing kept":          {setting("superuser_reserved_connections", "0"), []string{"superuser_reserved_connections"}, false, "fence"},
		"few locks":             {setting("max_locks_per_transaction", "64"), []string{"max_locks_per_transaction"}, true, "19200 locks"},
		"ends statements":       {setting("statement_timeout", "30000"), []string{"timeouts"}, false, "statement_timeout is 30s"},
		"ends transactions":     {setting("transaction_timeout", "60000", "idle_in_transaction_session_timeout", "1000"), []string{"timeouts"}, false, "transaction_timeout is 1m0s, idle_in_transaction_session_timeout is 1s"},
		"ends them for a role":  {func(p *Postgres) { p.Overrides = []Override{{"", "odoo", "statement_timeout", "30s"}} }, []string{"timeouts"}, false, "30s for role odoo"},
		"lifts them for a role": {func(p *Postgres) { p.Overrides = []Override{{"", "odoo", "statement_timeout", "0"}} }, nil, false, ""},
		"no checksums":          {setting("data_checksums", "off"), []string{"data checksums"}, true, "spoiled"},
		"no vacuum":             {setting("autovacuum", "off"), []string{"autovacuum"}, false, "grow"},
		"no archive":            {setting("archive_mode", "off"), []string{"archive"}, true, "since the last checkpoint"},
		"no archive, by itself": {func(p *Postgres) { p.Settings["archive_mode"], p.Own = "off", true }, nil, false, ""},
		"archiving fails":       {func(p *Postgres) { p.Archiver = Archiver{p.Now.Add(-time.Hour), p.Now} }, []string{"archiving"}, false, "disk is full"},
		"archiving failed once": {func(p *Postgres) { p.Archiver = Archiver{p.Now, p.Now.Add(-time.Hour)} }, nil, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := fit()
			c.change(&p)
			found := p.Of()
			require.Equal(t, c.want, names(found))
			for _, d := range found {
				require.Equal(t, c.advice, d.Advice)
				require.Contains(t, d.Says(), c.says)
				require.NotEmpty(t, d.Risk)
				require.NotEmpty(t, d.Fix)
			}
		})
	}
}

func TestRedis(t *testing.T) {
	snapshots, none := "3600 1 300 100", ""
	fit := map[string]string{
		"redis_version": "7.0.15", "role": "master", "cluster_enabled": "0", "maxmemory": "268435456", "used_memory": "1000000", "maxmemory_policy": "volatile-lru",
		"evicted_keys": "0", "aof_enabled": "1", "rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok",
	}
	require.Empty(t, Redis{Info: fit, Sessions: true}.Of())
	for name, c := range map[string]struct {
		set    map[string]string
		save   *string
		change func(*Redis)
		want   []string
		advice bool
		says   string
	}{
		"a replica":             {set: map[string]string{"role": "slave"}, want: []string{"role"}, says: "log in"},
		"a cluster":             {set: map[string]string{"cluster_enabled": "1"}, want: []string{"cluster"}, says: "Cluster"},
		"evicts at random":      {set: map[string]string{"maxmemory_policy": "allkeys-random"}, want: []string{"eviction policy"}, says: "at work"},
		"evicts what is new":    {set: map[string]string{"maxmemory_policy": "volatile-lfu"}, want: []string{"eviction policy"}, says: "at work"},
		"evicts nothing":        {set: map[string]string{"maxmemory_policy": "noeviction"}},
		"no limit":              {set: map[string]string{"maxmemory": "0"}, want: []string{"maxmemory"}, advice: true, says: "kernel"},
		"nearly full":           {set: map[string]string{"used_memory": "214748365"}, want: []string{"memory"}, says: "80 %"},
		"nearly full, for good": {set: map[string]string{"used_memory": "214748365", "maxmemory_policy": "noeviction"}, want: []string{"memory"}, says: "nobody can log in"},
		"evicted":               {set: map[string]string{"evicted_keys": "7"}, want: []string{"evictions"}, says: "7 keys"},
		"keeps nothing":         {set: map[string]string{"aof_enabled": "0"}, save: &none, want: []string{"persistence"}, says: "logs everybody out"},
		"may forget":            {set: map[string]string{"aof_enabled": "0"}, save: &none, change: func(r *Redis) { r.Volatile = true }},
		"snapshots":             {set: map[string]string{"aof_enabled": "0"}, save: &snapshots, want: []string{"persistence"}, advice: true, says: "logged in again"},
		"does not say":          {set: map[string]string{"aof_enabled": "0"}, want: []string{"persistence"}, advice: true, says: "does not say"},
		"cannot write":          {set: map[string]string{"rdb_last_bgsave_status": "err"}, want: []string{"persisting"}, says: "rdb_last_bgsave_status is err"},
		"only watched": {set: map[string]string{"role": "slave", "aof_enabled": "0", "maxmemory_policy": "allkeys-lfu", "cluster_enabled": "1"},
			change: func(r *Redis) { r.Sessions = false }},
	} {
		t.Run(name, func(t *testing.T) {
			r := Redis{Info: maps.Clone(fit), Save: c.save, Sessions: true}
			maps.Copy(r.Info, c.set)
			if c.change != nil {
				c.change(&r)
			}
			found := r.Of()
			require.Equal(t, c.want, names(found))
			for _, d := range found {
				require.Equal(t, c.advice, d.Advice)
				require.Contains(t, d.Says(), c.says)
				require.NotEmpty(t, d.Fix)
			}
		})
	}
}
