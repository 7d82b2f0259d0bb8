package promotion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// Configuration is what a pool is started with, beside its release. A pool is never changed in place: another
// configuration is another pool.
type Configuration struct {
	Workers  int               `json:"workers"`
	Settings map[string]string `json:"settings,omitempty"`
	Memory   int64             `json:"memory,omitempty"`   // bytes that each process may take; 0: not limited
	CPUs     float64           `json:"cpus,omitempty"`     // likewise
	Sessions string            `json:"sessions,omitempty"` // URL of the Redis server that keeps them; empty: files
}

// ConfigurationOf is what an environment's pools shall be started with.
func ConfigurationOf(e estate.Environment) Configuration {
	memory, cpus := e.ResourcesOf()
	return Configuration{Workers: e.Workers, Settings: e.Settings, Memory: memory, CPUs: cpus, Sessions: e.Redis.KeepsSessions()}
}

func configurationOf(p store.Pool) Configuration {
	return Configuration{Workers: p.Workers, Settings: p.Settings, Memory: p.Memory, CPUs: p.CPUs, Sessions: p.Sessions}
}

// usual says whether it is that of an environment that says nothing of it.
func (c Configuration) usual() bool {
	return c.Workers == estate.DefaultWorkers && len(c.Settings) == 0 && c.Memory == 0 && c.CPUs == 0 && c.Sessions == ""
}

// started is a pool that is to be started with it.
func (c Configuration) started(p store.Pool) store.Pool {
	p.Workers, p.Settings, p.Memory, p.CPUs, p.Sessions = c.Workers, c.Settings, c.Memory, c.CPUs, c.Sessions
	return p
}

// Hash is the same for the same configuration: 64 hex digits.
func (c Configuration) Hash() string {
	if len(c.Settings) == 0 {
		c.Settings = nil
	}
	sum := sha256.Sum256(encode(c)) // a map's keys are sorted
	return hex.EncodeToString(sum[:])
}

// resources are what the estate would say of them.
func (c Configuration) resources() *estate.Resources {
	if c.Memory == 0 && c.CPUs == 0 {
		return nil
	}
	return &estate.Resources{MemoryGiB: float64(c.Memory) / (1 << 30), CPUs: c.CPUs}
}

// redis is what the estate would say of it.
func (c Configuration) redis(now estate.Redis) estate.Redis {
	now.Sessions = c.Sessions != ""
	if now.Sessions {
		now.URL = c.Sessions
	}
	return now
}

// Differences are the names of what two configurations say differently, sorted; never values, which may be nobody's business.
func (c Configuration) Differences(other Configuration) []string {
	var names []string
	if c.Workers != other.Workers {
		names = append(names, "workers")
	}
	if c.Memory != other.Memory {
		names = append(names, "resources.memory_gib")
	}
	if c.CPUs != other.CPUs {
		names = append(names, "resources.cpus")
	}
	if c.Sessions != other.Sessions {
		names = append(names, "redis.sessions")
	}
	for name, value := range c.Settings {
		if now, there := other.Settings[name]; !there || now != value {
			names = append(names, "settings."+name)
		}
	}
	for name := range other.Settings {
		if _, there := c.Settings[name]; !there {
			names = append(names, "settings."+name)
		}
	}
	slices.Sort(names)
	return names
}

// nameNewPool names the pool of a release and configuration that the rollout leads to, with the login that is in force for the
// tenant's group. One with a configuration of its own has its mark in its name.
func (w *Work) nameNewPool(ctx context.Context, r release.Release, wanted Configuration) error {
	login, err := w.rooms.Store.Secret(ctx, w.rollout.Environment, LoginSecret(w.group()))
	if err != nil {
		return fmt.Errorf("find out which database login of %s is in force: %w", w.group(), err)
	}
	name := poolName(w.group(), r, login.Version)
	there, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, name)
	switch {
	case errors.Is(err, store.ErrNotFound) && wanted.usual():
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err != nil || len(wanted.Differences(configurationOf(there))) > 0:
		name += "-" + wanted.Hash()[:6]
	}
	w.memory.NewPool = name
	return nil
}

// Differs tells which settings of an environment its serving pools were not started with: names, sorted. None where
// nothing serves yet.
func (e *Engine) Differs(ctx context.Context, env estate.Environment) ([]string, error) {
	served, err := e.served(ctx, env)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, s := range served {
		for _, name := range s.differs {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// served is a tenant that a pool serves.
type served struct {
	tenant, release string
	differs         []string
}

func (e *Engine) served(ctx context.Context, env estate.Environment) (list []served, err error) {
	_, tenants, pools, err := e.rooms.Store.Snapshot(ctx, env.Name)
	if err != nil {
		return nil, err
	}
	for _, t := range tenants {
		at := slices.IndexFunc(pools, func(p store.Pool) bool { return p.Name == t.Live.Stable })
		if t.ServingRelease != "" && at >= 0 && !t.Live.Suspended {
			list = append(list, served{t.Name, t.ServingRelease, ConfigurationOf(env).Differences(configurationOf(pools[at]))})
		}
	}
	return list, nil
}

// configure completes a request for another configuration: of the tenants that are served otherwise, with the release that
// serves them. Where it takes one back, the configuration is the one before.
func (e *Engine) configure(ctx context.Context, q *Request, s *Snapshot) error {
	if q.Options.Of != "" {
		before, err := e.configurationBefore(ctx, q.Options.Of)
		if err != nil {
			return err
		}
		s.Environment.Workers, s.Environment.Settings, s.Environment.Resources = before.Workers, before.Settings, before.resources()
		s.Environment.Redis = before.redis(s.Environment.Redis)
	}
	found, err := e.served(ctx, s.Environment)
	if err != nil {
		return err
	}
	var tenants []estate.Tenant
	releases, changed, any := map[string]bool{}, map[string]bool{}, false
	for _, t := range s.Tenants {
		at := slices.IndexFunc(found, func(s served) bool { return s.tenant == t.Name })
		any = any || at >= 0
		if at < 0 || len(found[at].differs) == 0 {
			continue
		}
		tenants = append(tenants, t)
		releases[found[at].release] = true
		for _, name := range found[at].differs {
			changed[name] = true
		}
	}
	switch {
	case !any:
		return badRequest("nothing serves in %s yet; the first promotion there takes its configuration along", q.Environment)
	case len(tenants) == 0:
		return badRequest("the pools of %s run with this configuration already", q.Environment)
	case len(releases) > 1:
		return badRequest("the tenants of %s are served by different releases; promote one of them to all, which takes the configuration along", q.Environment)
	}
	s.Tenants = tenants
	q.Release, q.Options.Changed = slices.Collect(maps.Keys(releases))[0], slices.Sorted(maps.Keys(changed))
	return nil
}

// configurationBefore is what a promotion of a configuration has replaced.
func (e *Engine) configurationBefore(ctx context.Context, promotion string) (Configuration, error) {
	rollouts, err := e.rooms.Store.Rollouts(ctx, promotion)
	if err != nil {
		return Configuration{}, err
	}
	for _, r := range rollouts {
		var m Memory
		if err := json.Unmarshal(r.Memory, &m); err != nil {
			return Configuration{}, fmt.Errorf("what is stored of rollout %s does not parse: %w", r.ID, err)
		}
		if m.OldConfiguration != nil {
			return *m.OldConfiguration, nil
		}
	}
	return Configuration{}, badRequest("promotion %s has changed no configuration", promotion)
}

// admitConfiguration plans the change from the pool that serves to one of the same release that is started otherwise.
func admitConfiguration(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	w.rememberOld()
	if w.state.ServingRelease != w.promotion.Release {
		return "", failed("%s is not served by %s any more: another promotion came before; ask again", w.tenant.Name, w.promotion.ReleaseName)
	}
	r, err := w.admitRelease(ctx)
	if err != nil {
		return "", err
	}
	if _, err := w.databaseFacts(ctx); err != nil {
		return "", err
	}
	old, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, w.memory.OldPool)
	if err != nil {
		return "", fmt.Errorf("look up pool %s, which serves %s: %w", w.memory.OldPool, w.tenant.Name, err)
	}
	before := configurationOf(old)
	w.memory.OldConfiguration = &before
	w.memory.Plan = Plan{Class: estate.Swap, ClassReason: "the release stays; no data is touched", Transactional: true}
	if err := w.nameNewPool(ctx, r, ConfigurationOf(w.env.Environment)); err != nil {
		return "", err
	}
	if err := w.rooms.Store.SetClass(ctx, w.promotion.ID, string(w.memory.Plan.Class)); err != nil {
		return "", err
	}
	w.memory.NotAdmitted = false
	return fmt.Sprintf("%s stays, and is started with other %s", r.Name, strings.Join(ConfigurationOf(w.env.Environment).Differences(before), ", ")), nil
}

// evidential are the groups of facts that say something of a release and its data, and nothing of a configuration.
var evidential = []string{"release", "checks", "vulnerabilities", "rehearsal", "checkpoint", "previous"}

// aboutMore leaves out the rules of a policy that ask for nothing but evidence of a release: it serves already, and stays.
func aboutMore(p estate.Policy) ([]estate.PolicyRule, error) {
	shown, err := gate.Show(p)
	if err != nil {
		return nil, err
	}
	var rules []estate.PolicyRule
	for _, rule := range p.Rules {
		at := slices.IndexFunc(shown, func(s gate.ShownRule) bool { return s.ID == rule.ID })
		if at < 0 || !onlyEvidence(shown[at].Reads) {
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

func onlyEvidence(reads []string) bool {
	found := false
	for _, name := range reads {
		switch group := groupOf(name); {
		case slices.Contains(evidential, group):
			found = true
		case !slices.Contains([]string{"promotion", "environment", "tenant", "now"}, group):
			return false
		}
	}
	return found
}
