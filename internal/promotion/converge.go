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
	"strconv"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// What routers, pools and databases are told is derived here from what was decided (store.Live),
// as a whole and again each time. So a server that died between deciding and telling only has to
// tell again.

// names of roles in the tenants' server.
func poolRole(environment, pool string) string     { return roleName(environment, pool) }
func updateRole(environment, tenant string) string { return roleName(environment, tenant, "update") }
func ownerRole(environment, group string) string   { return roleName(environment, group, "owner") }

// roleName fits PostgreSQL's 63 bytes; a name that is too long ends in a hash of the whole.
func roleName(parts ...string) string {
	name := "wb"
	for _, p := range parts {
		name += "_" + p
	}
	if len(name) > 63 {
		sum := sha256.Sum256([]byte(name))
		name = name[:50] + "_" + hex.EncodeToString(sum[:6])
	}
	return name
}

// poolName is the same for the same release, group and version of the group's database login, so that tenants of a
// group share it. A pool's login is named after it, and its password is derived from that name: another version is another
// pool with another login.
func poolName(group string, r release.Release, version int) string {
	name := r.Digest
	if i := len("sha256:"); len(name) > i+10 {
		name = name[i : i+10]
	}
	if version > 0 {
		name += "-k" + strconv.Itoa(version)
	}
	if group == "shared" {
		return "r-" + name
	}
	if len(group) > 30 { // cut, it may be that of another tenant: what tells them apart stays
		sum := sha256.Sum256([]byte(group))
		group = group[:23] + "-" + hex.EncodeToString(sum[:3])
	}
	return group + "-" + name
}

// tellRouter gives the environment's router its table.
func (e *Engine) tellRouter(ctx context.Context, place Place, environment string) error {
	_, err := e.told.do(ctx, "router of "+environment, func(ctx context.Context) (int64, error) {
		return 0, e.applyTable(ctx, place, environment)
	})
	return err
}

func (e *Engine) applyTable(ctx context.Context, place Place, environment string) error {
	for {
		generation, tenants, _, err := e.rooms.Store.Snapshot(ctx, environment)
		if err != nil {
			return err
		}
		running, err := place.Runtime.Pools(ctx, environment)
		if err != nil {
			return err
		}
		table := router.Table{Environment: environment, Generation: generation}
		for _, t := range yielding(tenants) {
			if route, ok := routeOf(t, running); ok {
				table.Tenants = append(table.Tenants, route)
			}
		}
		err = place.Runtime.Router(environment).Apply(ctx, table)
		var stale *router.StaleError
		if !errors.As(err, &stale) { // else somebody decided something newer meanwhile: tell that
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// yielding leaves out what stands beside a tenant, or is leaving, under a host that a tenant of the estate has come to claim: a
// router refuses a table with one host twice, as a whole.
func yielding(tenants []store.Tenant) (list []store.Tenant) {
	yields := func(t store.Tenant) bool { return t.StandsBeside() || t.Live.Leaving != nil }
	claimed := map[string]bool{}
	for _, t := range tenants {
		for _, host := range t.Hosts {
			claimed[host] = claimed[host] || !yields(t)
		}
	}
	for _, t := range tenants {
		if !yields(t) || !slices.ContainsFunc(t.Hosts, func(host string) bool { return claimed[host] }) {
			list = append(list, t)
		}
	}
	return list
}

// routeOf derives a tenant's route. A tenant that no pool serves yet has none.
func routeOf(t store.Tenant, running []runtime.PoolState) (router.Tenant, bool) {
	upstream := func(pool string) *router.Upstream {
		for _, p := range running {
			if p.Name == pool {
				return &p.Upstream
			}
		}
		return nil
	}
	live := t.Live
	stable, canary := upstream(live.Stable), upstream(live.Canary)
	route := router.Tenant{Name: t.Name, Hosts: t.Hosts, Mode: live.Mode, HoldUntil: live.HoldUntil, Message: live.Message}
	if route.Mode == "" {
		route.Mode = router.Open
	}
	switch {
	case stable == nil && canary != nil && live.Weight == 100:
		route.Stable = *canary
	case stable != nil:
		route.Stable = *stable
		if canary != nil && live.Weight > 0 && live.Canary != live.Stable { // a restore may lead to the pool that serves
			route.Canary, route.Weight = canary, live.Weight
		}
	case live.Suspended: // its people are told so even where its pool is down
	default:
		return router.Tenant{}, false
	}
	return route, true
}

// tellPools gives every running pool of the environment its list of tenants, and the key of its bridge.
func (e *Engine) tellPools(ctx context.Context, place Place, environment string) (generation int64, err error) {
	return e.told.do(ctx, "pools of "+environment, func(ctx context.Context) (int64, error) {
		return e.configurePools(ctx, place, environment)
	})
}

func (e *Engine) configurePools(ctx context.Context, place Place, environment string) (generation int64, err error) {
	generation, tenants, pools, err := e.rooms.Store.Snapshot(ctx, environment)
	if err != nil {
		return 0, err
	}
	key, err := e.bridgeKey(ctx, environment)
	if err != nil {
		return 0, err
	}
	releases := map[string]release.Release{}
	tenants = yielding(tenants)
	for _, p := range pools {
		r, known := releases[p.Release]
		if !known {
			if r, err = e.releaseOf(ctx, p); err != nil {
				return 0, err
			}
			releases[p.Release] = r
		}
		file, err := poolFile(generation, p, r, tenants)
		if err != nil {
			return 0, err
		}
		err = place.Runtime.ConfigurePool(ctx, environment, p.Name, runtime.Files{bridge.PoolFile: file, bridge.KeyFile: key})
		if err != nil && !errors.Is(err, runtime.ErrNotFound) { // not started yet: it gets the file when it is
			return 0, err
		}
	}
	return generation, nil
}

func (e *Engine) releaseOf(ctx context.Context, p store.Pool) (release.Release, error) {
	r, err := e.rooms.Store.Release(ctx, p.Release)
	if err != nil {
		return r, fmt.Errorf("look up release %s: %w", p.Release, err)
	}
	return r, nil
}

// poolFile tells a pool which of the tenants, which yield to each other already, it serves.
func poolFile(generation int64, p store.Pool, r release.Release, tenants []store.Tenant) ([]byte, error) {
	config := bridge.PoolConfig{Protocol: bridge.Protocol, Generation: generation, Environment: p.Environment, Pool: p.Name, Release: p.Release,
		KeepAssets: true, Tenants: []bridge.PoolTenant{}}
	versions := map[string]string{}
	for _, m := range r.Modules {
		versions[m.Name] = m.Version
	}
	for _, t := range tenants {
		if !t.Live.Serves(p.Name) {
			continue
		}
		config.Tenants = append(config.Tenants, bridge.PoolTenant{
			Name: t.Name, Database: t.Database, Hosts: t.Hosts, Modules: versions,
			Cron: t.Live.Cron == p.Name, GCHold: t.Live.GCHold,
			PruneViews: t.SchemaRelease != p.Release, // the database may be ahead of this pool's code, and the old release was found to bear that
		})
	}
	return json.MarshalIndent(config, "", "  ")
}

// grantAccess makes exactly the decided roles able to connect to the tenant's database, ends the
// sessions of all others, and returns once none is left. An empty list is the fence.
func (e *Engine) grantAccess(ctx context.Context, place Place, t store.Tenant) error {
	var logins []string
	for _, pool := range t.Live.Access {
		logins = append(logins, poolRole(t.Environment, pool))
	}
	if t.Live.Updating {
		logins = append(logins, updateRole(t.Environment, t.Name))
	}
	slices.Sort(logins)
	_, err := place.Databases.SetAccess(ctx, t.Database, logins)
	return err
}

// ensureLogin makes a login role that acts as the group's owner role, with the password of that login.
func (e *Engine) ensureLogin(ctx context.Context, place Place, environment, group, role, login string) error {
	owner := ownerRole(environment, group)
	if err := place.Databases.EnsureOwner(ctx, owner); err != nil {
		return err
	}
	return place.Databases.EnsureLogin(ctx, role, e.rooms.Keys.Password(environment, login), owner)
}

// ensureLogins makes those logins of pools anew that the server does not know: it was lost and replaced by an empty one, and the
// pools that run would never get in.
func (e *Engine) ensureLogins(ctx context.Context, place Place, pools []store.Pool) error {
	roles := map[string]store.Pool{}
	for _, p := range pools {
		roles[poolRole(p.Environment, p.Name)] = p
	}
	missing, err := place.Databases.Missing(ctx, slices.Collect(maps.Keys(roles)))
	if err != nil {
		return err
	}
	for _, role := range missing {
		if err := e.ensureLogin(ctx, place, roles[role].Environment, roles[role].Group, role, role); err != nil {
			return err
		}
	}
	return nil
}

// odooConf completes the configuration of a pool or a job that logs in as role, with the password of that login.
func (e *Engine) odooConf(place Place, environment, role, login string, conf odoo.Conf, series string) ([]byte, error) {
	info, err := odoo.Series(series, true) // admitted already
	if err != nil {
		return nil, err
	}
	conf.Series, conf.Host, conf.Port = info, place.Host, place.Port
	conf.User, conf.Password = role, e.rooms.Keys.Password(environment, login)
	return conf.Render()
}

// ensurePool starts a pool that was written down, or observes it.
func (e *Engine) ensurePool(ctx context.Context, place Place, p store.Pool) (runtime.PoolState, error) {
	r, err := e.releaseOf(ctx, p)
	if err != nil {
		return runtime.PoolState{}, err
	}
	role := poolRole(p.Environment, p.Name)
	if err := e.ensureLogin(ctx, place, p.Environment, p.Group, role, role); err != nil {
		return runtime.PoolState{}, err
	}
	conf, err := e.odooConf(place, p.Environment, role, role, odoo.Conf{Workers: p.Workers, CronThreads: 1, AddonsPaths: r.Base.AddonsPaths, Settings: p.Settings}, r.Series)
	if err != nil {
		return runtime.PoolState{}, failed("the settings of environment %s cannot be used: %w", p.Environment, err)
	}
	generation, tenants, _, err := e.rooms.Store.Snapshot(ctx, p.Environment)
	if err != nil {
		return runtime.PoolState{}, err
	}
	file, err := poolFile(generation, p, r, yielding(tenants))
	if err != nil {
		return runtime.PoolState{}, err
	}
	key, err := e.bridgeKey(ctx, p.Environment)
	if err != nil {
		return runtime.PoolState{}, err
	}
	files, given := runtime.Files{bridge.OdooConfFile: conf, bridge.PoolFile: file, bridge.KeyFile: key}, []string{"login " + role, BridgeSecret}
	if p.Sessions != "" {
		files[bridge.SessionsFile] = sessionsFile(place, p)
		given = append(given, "redis.password")
	}
	if err := e.recordGiven(ctx, p.Environment, "pool "+p.Name, given...); err != nil {
		return runtime.PoolState{}, err
	}
	var web runtime.Scale
	if place.Scale != nil {
		web = place.Scale()
	}
	return place.Runtime.EnsurePool(ctx, runtime.Pool{
		Environment: p.Environment, Name: p.Name, Group: p.Group, Image: p.Image, Workers: p.Workers, Memory: p.Memory, CPUs: p.CPUs,
		Files: files, Web: web,
	})
}

// sessionsFile tells a pool where people's sessions are. Tenants of one environment have databases of different names, and those of
// another one another prefix.
func sessionsFile(place Place, p store.Pool) []byte {
	config := bridge.SessionsConfig{Protocol: bridge.Protocol, URL: p.Sessions, Prefix: "waybill:" + p.Environment + ":"}
	if place.Redis != nil {
		config.Password = place.Redis.Password
	}
	return encode(config)
}

// removePool takes a pool away that no tenant needs any more.
func (e *Engine) removePool(ctx context.Context, place Place, environment, name string) (removed bool, err error) {
	gone, err := e.rooms.Store.DropPool(ctx, environment, name)
	if err != nil {
		return false, err
	}
	if !gone {
		if _, err := e.rooms.Store.GetPool(ctx, environment, name); !errors.Is(err, store.ErrNotFound) {
			return false, err // a tenant still uses it
		}
	}
	if err := place.Runtime.RemovePool(ctx, environment, name, graceOfPool); err != nil {
		return false, err
	}
	return true, dropLogin(ctx, place.Databases, poolRole(environment, name))
}

func dropLogin(ctx context.Context, server *database.Server, role string) error {
	if err := server.DropLogin(ctx, role); err != nil {
		return fmt.Errorf("drop the login role %s: %w", role, err)
	}
	return nil
}

// Converge tells everything that was decided again: after a start, nothing is left half-told.
func (e *Engine) Converge(ctx context.Context, place Place, environment string) error {
	_, _, pools, err := e.rooms.Store.Snapshot(ctx, environment)
	if err != nil {
		return err
	}
	var errs []error
	if err := e.ensureLogins(ctx, place, pools); err != nil {
		errs = append(errs, fmt.Errorf("logins of the pools: %w", err))
	}
	for _, p := range pools {
		// One that runs is left alone: a newer Waybill would make it a little differently, and
		// nothing is changed in place.
		if state, err := place.Runtime.Pool(ctx, environment, p.Name); err == nil && state.Running {
			continue
		}
		if _, err := e.ensurePool(ctx, place, p); err != nil {
			errs = append(errs, fmt.Errorf("pool %s: %w", p.Name, err))
		}
	}
	if _, err := e.tellPools(ctx, place, environment); err != nil {
		errs = append(errs, err)
	}
	if err := e.finishBridgeKey(ctx, place, environment); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, e.tellRouter(ctx, place, environment))...)
}
