package baseline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Redis is what was gathered of a Redis server, and what it is for.
type Redis struct {
	Info     map[string]string // of INFO
	Save     *string           // CONFIG GET save; nil: the server does not say
	Sessions bool              // it keeps people's sessions
	Volatile bool              // the estate says that it may forget them over a restart
}

// Of returns the server's deviations.
func (r Redis) Of() []Deviation {
	return evaluate(r, []check[Redis]{writes, cluster, policy, limit, room, evicted, persistence, persisting})
}

func writes(r Redis) *Deviation {
	if !r.Sessions || r.Info["role"] != "slave" {
		return nil
	}
	return &Deviation{Name: "role", Is: "the server is a replica", Risk: "nobody can log in", Fix: "name the master in redis.url"}
}

func cluster(r Redis) *Deviation {
	if !r.Sessions || r.Info["cluster_enabled"] != "1" {
		return nil
	}
	return &Deviation{Name: "cluster", Is: "the server is part of a Redis Cluster", Risk: "it refuses sessions that belong to another node", Fix: "name a server of its own; sessions of a million people fit into one"}
}

// Under pressure the sessions that were not used for longest should go, if any. LFU counts uses: a session of this morning goes first.
func policy(r Redis) *Deviation {
	is := r.Info["maxmemory_policy"]
	if !r.Sessions || slices.Contains([]string{"", "noeviction", "volatile-lru", "volatile-ttl", "allkeys-lru"}, is) {
		return nil
	}
	return &Deviation{Name: "eviction policy", Is: "maxmemory-policy is " + is, Risk: "when memory runs out people who are at work are logged out, and not those who have been away", Fix: "maxmemory-policy volatile-lru, or noeviction with an alarm on memory"}
}

func limit(r Redis) *Deviation {
	if r.Info["maxmemory"] != "0" {
		return nil
	}
	return &Deviation{Name: "maxmemory", Advice: true, Is: "not limited", Risk: "it grows until the kernel kills it, or something else", Fix: "maxmemory 256mb (a session takes about 2 KiB) or more"}
}

func room(r Redis) *Deviation {
	most, used := r.number("maxmemory"), r.number("used_memory")
	if most == 0 || used*5 < most*4 {
		return nil
	}
	risk := "people are logged out when it is full"
	if r.Info["maxmemory_policy"] == "noeviction" {
		risk = "nobody can log in when it is full"
	}
	return &Deviation{Name: "memory", Is: fmt.Sprintf("%d %% of maxmemory is used", used*100/most), Risk: risk, Fix: "raise maxmemory, or see what else is kept there: redis-cli --bigkeys"}
}

func evicted(r Redis) *Deviation {
	n := r.number("evicted_keys")
	if n == 0 {
		return nil
	}
	return &Deviation{Name: "evictions", Is: fmt.Sprintf("%d keys were evicted since the server started", n), Risk: "people were logged out, or jobs were lost, for lack of memory", Fix: "raise maxmemory; CONFIG RESETSTAT begins to count anew"}
}

// Without an append-only file a restart brings back an older state, if any: who logged out since is logged in again.
func persistence(r Redis) *Deviation {
	if !r.Sessions || r.Info["aof_enabled"] != "0" {
		return nil
	}
	switch {
	case r.Save == nil:
		return &Deviation{Name: "persistence", Advice: true, Is: "no append-only file, and the server does not say whether it writes snapshots", Risk: "sessions since the last snapshot are lost by a restart, and those that ended since are back", Fix: "appendonly yes"}
	case *r.Save != "":
		return &Deviation{Name: "persistence", Advice: true, Is: "snapshots only (save " + *r.Save + ")", Risk: "a restart logs out who logged in since the last one, and who logged out since is logged in again", Fix: "appendonly yes, or save \"\" with redis.volatile in the estate"}
	case !r.Volatile:
		return &Deviation{Name: "persistence", Is: "none", Risk: "a restart logs everybody out", Fix: "appendonly yes, or redis.volatile: true in the estate, if that is accepted"}
	}
	return nil
}

func persisting(r Redis) *Deviation {
	var bad []string
	for _, name := range []string{"rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"} {
		if said := r.Info[name]; said != "" && said != "ok" {
			bad = append(bad, name+" is "+said)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &Deviation{Name: "persisting", Is: strings.Join(bad, ", "), Risk: "what is kept is not written, and the server may refuse to write at all", Fix: "see its log: a full disk, or no rights on its folder"}
}

// number is a figure of INFO; 0 where there is none.
func (r Redis) number(name string) int64 {
	n, _ := strconv.ParseInt(r.Info[name], 10, 64)
	return n
}
