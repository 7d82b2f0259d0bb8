package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/baseline"
	"github.com/waybill-dev/waybill/internal/estate"
)

// baselinePatience bounds a look at one server.
const baselinePatience = 10 * time.Second

// baselines looks at the servers that the estate's environments stand on, and at Waybill's own where it was given by a URL.
func (s *server) baselines(ctx context.Context, declared *estate.Estate) []api.Finding {
	var findings []api.Finding
	if s.config.DatabaseURL != "" {
		findings = append(findings, s.postgresBaseline(ctx, "postgresql of Waybill", s.config.DatabaseURL, 0, false)...)
	}
	for _, env := range declared.Environments {
		place, err := s.place(ctx, env)
		if err != nil {
			continue // "database of …" says so
		}
		findings = append(findings, s.postgresBaseline(ctx, "postgresql of "+env.Name, place.AdminURL("postgres"), demand(declared, env.Database.URL, s.mostPods), env.Database.URL == "")...)
		if place.Redis != nil {
			findings = append(findings, s.redisBaseline(ctx, env, place.Redis)...)
		}
	}
	return findings
}

// demand is how many connections the pools of all environments on a server may open, each release counted once.
func demand(declared *estate.Estate, url string, pods func(estate.Environment) int) (connections int) {
	for _, env := range declared.Environments {
		if env.Database.URL != url {
			continue
		}
		groups := map[string]bool{}
		for _, t := range declared.Tenants {
			switch {
			case t.Environment != env.Name:
			case t.Hosting == estate.Dedicated:
				groups[t.Name] = true
			default:
				groups[""] = true // a tenant's name is never empty
			}
		}
		connections += len(groups) * demandOf(env, pods(env))
	}
	return connections
}

// demandOf is what one pool may open. Each process has a pool of connections of its own, bounded by db_maxconn; the defaults are those
// that a pool is started with (internal/odoo). pods are those of the web process.
func demandOf(env estate.Environment, pods int) int {
	setting := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(env.Settings[name]); err == nil {
			return n
		}
		return otherwise
	}
	if env.Workers == 0 {
		return (pods + 1) * setting("db_maxconn", 32) // web, with the WebSockets, and cron
	}
	each := setting("db_maxconn", 8)
	return (pods*env.Workers+1)*each + setting("db_maxconn_gevent", 32)
}

func (s *server) postgresBaseline(ctx context.Context, name, url string, demand int, own bool) []api.Finding {
	ctx, cancel := context.WithTimeout(ctx, baselinePatience)
	defer cancel()
	server, err := baseline.GatherPostgres(ctx, url)
	if err != nil {
		return []api.Finding{{Name: name, Detail: fmt.Sprintf("cannot be looked at: %v", err), Fix: "see that it runs, and that the user is a superuser"}}
	}
	server.Demand, server.Own = demand, own
	well := fmt.Sprintf("PostgreSQL %d, max_connections %s", server.Version/10000, server.Settings["max_connections"])
	if server.Pooler == baseline.SessionPooler {
		well += ", through a pooler of sessions"
	}
	return shown(name, well, server.Of())
}

func (s *server) redisBaseline(ctx context.Context, env estate.Environment, options *redis.Options) []api.Finding {
	ctx, cancel := context.WithTimeout(ctx, baselinePatience)
	defer cancel()
	name := "redis of " + env.Name
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	server, err := baseline.GatherRedis(ctx, client)
	if err != nil {
		fix := "start it, or take redis out of the environment"
		if env.Redis.Sessions {
			fix = "start it: until it answers, people who are logged in get 503"
		}
		return []api.Finding{{Name: name, Detail: err.Error(), Fix: fix}}
	}
	server.Sessions, server.Volatile = env.Redis.Sessions, env.Redis.Volatile
	return shown(name, fmt.Sprintf("Redis %s, %s", server.Info["redis_version"], server.Info["maxmemory_policy"]), server.Of())
}

// shown is one finding for each deviation, or one that says that all is well.
func shown(name, well string, deviations []baseline.Deviation) []api.Finding {
	if len(deviations) == 0 {
		return []api.Finding{{Name: name, OK: true, Detail: well}}
	}
	var findings []api.Finding
	for _, d := range deviations {
		findings = append(findings, api.Finding{Name: name + ": " + d.Name, OK: d.Advice, Detail: d.Says(), Fix: d.Fix})
	}
	return findings
}

// warnOfBaselines says in the log what the doctor would, once a server that stands on others has come up.
func (s *server) warnOfBaselines(ctx context.Context) error {
	declared, err := s.declared(ctx)
	if err != nil {
		return nil // whoever needs it says so
	}
	for _, f := range s.baselines(ctx, declared) {
		if !f.OK {
			s.log.WarnContext(ctx, "baseline: "+f.Name, "is", f.Detail, "do", f.Fix)
		}
	}
	return nil
}
