package promotion

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/isolation"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// Machine is what there is on the server's own machine that no pool may reach.
type Machine struct {
	Folders   []string // by their names on the machine
	Databases []string // Waybill's own, where it is in a server with tenants
	Port      int      // of the API
	TLS       bool     // that it speaks
	Pages     []string // that it must not give without a token
}

// IsolationWorld is who has what just now, so that it can be tried from an environment's pools whether anybody reaches what
// belongs to others, those of other environments too.
func (e *Engine) IsolationWorld(ctx context.Context, declared *estate.Estate, environment string, machine Machine) (isolation.World, error) {
	w := isolation.World{Environment: environment, Databases: map[string][]string{}, Admins: map[string]string{}, Folders: map[string]string{},
		Secret: machine.Folders, Port: machine.Port, TLS: machine.TLS, Pages: machine.Pages}
	for _, env := range declared.Environments {
		if err := e.lookAtIsolation(ctx, &w, env, machine); err != nil {
			if env.Name == environment || ctx.Err() != nil {
				return w, fmt.Errorf("look at environment %s: %w", env.Name, err)
			}
			w.Unseen = append(w.Unseen, fmt.Sprintf("environment %s: %v", env.Name, err))
		}
	}
	return w, nil
}

func (e *Engine) lookAtIsolation(ctx context.Context, w *isolation.World, env estate.Environment, machine Machine) error {
	_, tenants, pools, err := e.rooms.Store.Snapshot(ctx, env.Name)
	if err != nil || len(tenants)+len(pools) == 0 {
		return err
	}
	place, err := e.rooms.Place(ctx, env)
	if err != nil {
		return err
	}
	running, err := place.Runtime.Pools(ctx, env.Name)
	if err != nil {
		return err
	}
	owners, err := place.Databases.Owners(ctx)
	if err != nil {
		return err
	}
	server := net.JoinHostPort(place.Host, strconv.Itoa(place.Port))
	if admin, err := url.Parse(place.AdminURL("postgres")); err == nil && admin.User != nil {
		w.Admins[server] = admin.User.Username()
	}
	names := w.Databases[server]
	for name, owner := range owners { // those of other programs are none of our business
		if (strings.HasPrefix(owner, roleName("")) || slices.Contains(machine.Databases, name)) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, t := range tenants {
		if _, there := owners[t.Database]; there && !slices.Contains(names, t.Database) {
			names = append(names, t.Database)
		}
		w.Tenants = append(w.Tenants, isolationTenant(t, server))
		if dir := place.Runtime.DataDir(env.Name, t.Group); dir != "" {
			w.Folders[env.Name+"/"+t.Group] = dir
		}
	}
	slices.Sort(names)
	w.Databases[server] = names
	for _, p := range pools {
		w.Pools = append(w.Pools, e.isolationPool(place.Runtime, p, running, server))
	}
	if env.Name == w.Environment && env.Runtime.Docker != nil {
		w.Router = reachable(env.Runtime.Docker.HTTP)
	}
	return nil
}

// reachable is an address to connect to, of one to listen on.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func isolationTenant(t store.Tenant, server string) isolation.Tenant {
	live := t.Live
	one := isolation.Tenant{Environment: t.Environment, Name: t.Name, Database: t.Database, Server: server, Group: t.Group, Hosts: t.Hosts, May: live.Access,
		Still: live.Stable != "" && live.Weight == 0 && !live.Updating && (live.Mode == "" || live.Mode == router.Open)}
	for _, pool := range []string{live.Stable, live.Canary} {
		if pool != "" && !slices.Contains(one.Serves, pool) {
			one.Serves = append(one.Serves, pool)
		}
	}
	return one
}

func (e *Engine) isolationPool(at runtime.Runtime, p store.Pool, running []runtime.PoolState, server string) isolation.Pool {
	one := isolation.Pool{Environment: p.Environment, Name: p.Name, Group: p.Group, Server: server,
		Login: poolRole(p.Environment, p.Name), Owner: ownerRole(p.Environment, p.Group),
		Keys: func(ctx context.Context) ([][]byte, error) { return e.bridgeKeys(ctx, p.Environment) }}
	state := runtime.PoolState{Name: p.Name}
	if i := slices.IndexFunc(running, func(s runtime.PoolState) bool { return s.Name == p.Name }); i >= 0 {
		state = running[i]
	}
	one.Base, one.Prober = state.Bridge, e.bridgeClient(at, state, p.Environment)
	return one
}

// Moving says whether a tenant of an environment is under way from one pool to another, or its database is being updated.
func (e *Engine) Moving(ctx context.Context, environment string) (bool, error) {
	tenants, err := e.rooms.Store.Tenants(ctx, environment)
	return slices.ContainsFunc(tenants, func(t store.Tenant) bool {
		return t.Live.Weight > 0 || t.Live.Updating || t.Live.Mode != "" && t.Live.Mode != router.Open && !t.Live.Suspended
	}), err
}
