package docker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
)

// EnsurePool writes the pool's files, starts its processes or observes them, and returns once they
// accept connections. Processes made from something else (image, workers, group) are replaced. On
// an error the processes stay as they are, for a look; RemovePool takes them away.
func (r *Runtime) EnsurePool(ctx context.Context, pool runtime.Pool) (runtime.PoolState, error) {
	if pool.Group == "" {
		pool.Group = sharedGroup
	}
	if err := runtime.CheckPool(pool.Environment, pool.Name); err != nil {
		return runtime.PoolState{}, err
	}
	if err := runtime.CheckName("group", pool.Group); err != nil {
		return runtime.PoolState{}, err
	}
	if err := r.ensurePool(ctx, pool); err != nil {
		return runtime.PoolState{}, fmt.Errorf("pool %s of %s: %w", pool.Name, pool.Environment, err)
	}
	return r.Pool(ctx, pool.Environment, pool.Name)
}

func (r *Runtime) ensurePool(ctx context.Context, pool runtime.Pool) error {
	if err := r.EnsureDataDir(pool.Environment, pool.Group); err != nil {
		return err
	}
	if err := r.owner.Write(r.poolDir(pool.Environment, pool.Name), pool.Files, true); err != nil {
		return err
	}
	if _, err := r.ensureGroup(ctx, pool.Environment, pool.Group); err != nil {
		return err
	}
	roles := rolesOf(pool.Workers)
	present, err := r.dropOtherRoles(ctx, pool, roles)
	if err != nil {
		return err
	}
	if present < len(roles) { // once, and not by each process that is to be made
		if _, err := r.ensureImage(ctx, pool.Image); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, role := range roles {
		g.Go(func() error {
			_, err := r.ensure(gctx, r.poolProcess(pool, role))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return r.awaitPool(ctx, pool.Environment, pool.Name, roles)
}

// rolesOf are the processes of a pool. Without worker processes the threaded web process serves
// WebSockets itself.
func rolesOf(workers int) []string {
	if workers > 0 {
		return []string{roleWeb, roleWebsocket, roleCron}
	}
	return []string{roleWeb, roleCron}
}

// awaitPool waits until all listen, and then that cron, which does not, is still up.
func (r *Runtime) awaitPool(ctx context.Context, environment, pool string, roles []string) error {
	probes := map[string]probe{
		roleWeb:       answersHTTP(webPort),
		roleWebsocket: answersHTTP(websocketPort),
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, role := range roles {
		if ready, ok := probes[role]; ok {
			g.Go(func() error {
				_, err := r.await(gctx, r.name(environment, poolContainer(pool, role)), ready)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	running := func(context.Context, container.InspectResponse) error { return nil }
	_, err := r.await(ctx, r.name(environment, poolContainer(pool, roleCron)), running)
	return err
}

// dropOtherRoles removes a process that the pool had with another number of workers, and says how
// many of the others are there.
func (r *Runtime) dropOtherRoles(ctx context.Context, pool runtime.Pool, roles []string) (present int, err error) {
	all, err := r.list(ctx, labels{labelEnvironment: pool.Environment, labelPool: pool.Name})
	if err != nil {
		return 0, err
	}
	var other []container.Summary
	for _, c := range all {
		if !slices.Contains(roles, c.Labels[labelRole]) {
			other = append(other, c)
		}
	}
	return len(all) - len(other), r.stopAll(ctx, other, stopTimeout)
}

// poolProcess is what one container of a pool is made from.
func (r *Runtime) poolProcess(pool runtime.Pool, role string) process {
	conf := bridge.ConfigDir + "/" + bridge.OdooConfFile
	command := map[string][]string{
		roleWeb:       {"odoo", "-c", conf, "--workers=" + strconv.Itoa(pool.Workers), "--max-cron-threads=0"},
		roleWebsocket: {"odoo", "gevent", "-c", conf, "--max-cron-threads=0"},
		roleCron:      {"odoo", "-c", conf, "--no-http", "--workers=0", "--max-cron-threads=1"},
	}[role]
	return process{
		Environment: pool.Environment, Group: pool.Group, What: poolContainer(pool.Name, role),
		Labels: map[string]string{
			labelPool: pool.Name, labelRole: role, labelWorkers: strconv.Itoa(pool.Workers),
		},
		Image: pool.Image, Command: command, Env: odooEnv(role),
		Mounts: r.odooMounts(r.poolDir(pool.Environment, pool.Name), pool.Environment, pool.Group),
		Alias:  alias(pool.Name, role),
		Pids:   2048, Memory: pool.Memory, CPUs: pool.CPUs, User: r.user(),
	}
}

func odooEnv(role string) []string {
	return []string{"WAYBILL_ROLE=" + role, "HOME=" + bridge.DataDir, "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1",
		"ODOO_HTTP_SOCKET_TIMEOUT=60"} // its 2 s would cut slow uploads and downloads short: the router does not buffer
}

func (r *Runtime) odooMounts(config, environment, group string) []mount.Mount {
	mounts := []mount.Mount{
		bind(config, bridge.ConfigDir, true),
		bind(r.DataDir(environment, group), bridge.DataDir, false),
	}
	if r.opt.PostgresSocketDir != "" {
		// Connecting to a socket is possible on a read-only mount.
		mounts = append(mounts, bind(r.opt.PostgresSocketDir, bridge.PostgresDir, true))
	}
	return mounts
}

// ConfigurePool replaces the given files of a pool, each atomically; files not given stay as they
// are. Processes are not restarted. It needs no engine.
func (r *Runtime) ConfigurePool(_ context.Context, environment, pool string, files runtime.Files) error {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return err
	}
	dir := r.poolDir(environment, pool)
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("configure pool %s of %s: no folder %s: %w", pool, environment, dir, runtime.ErrNotFound)
	}
	if err := r.owner.Write(dir, files, false); err != nil {
		return fmt.Errorf("configure pool %s of %s: %w", pool, environment, err)
	}
	return nil
}

// RemovePool stops the pool's processes gracefully, up to grace, and removes them with their files.
// Absent is fine.
func (r *Runtime) RemovePool(ctx context.Context, environment, pool string, grace time.Duration) error {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("remove pool %s of %s: %w", pool, environment, err) }
	all, err := r.list(ctx, labels{labelEnvironment: environment, labelPool: pool})
	if err != nil {
		return fail(err)
	}
	if err := r.stopAll(ctx, all, grace); err != nil {
		return fail(err)
	}
	if err := os.RemoveAll(r.poolDir(environment, pool)); err != nil {
		return fail(err)
	}
	for _, c := range all {
		if err := r.dropGroup(ctx, environment, c.Labels[labelGroup]); err != nil {
			return fail(err)
		}
	}
	return nil
}

// Pool observes a pool; runtime.ErrNotFound when no process of it is there.
func (r *Runtime) Pool(ctx context.Context, environment, pool string) (runtime.PoolState, error) {
	all, err := r.poolContainers(ctx, environment, pool)
	if err != nil {
		return runtime.PoolState{}, err
	}
	return r.poolState(ctx, environment, pool, all)
}

// Pools observes every pool of an environment, sorted by name.
func (r *Runtime) Pools(ctx context.Context, environment string) ([]runtime.PoolState, error) {
	if err := runtime.CheckName("environment", environment); err != nil {
		return nil, err
	}
	all, err := r.list(ctx, labels{labelEnvironment: environment, labelPool: ""})
	if err != nil {
		return nil, fmt.Errorf("pools of %s: %w", environment, err)
	}
	byPool := map[string][]container.Summary{}
	for _, c := range all {
		byPool[c.Labels[labelPool]] = append(byPool[c.Labels[labelPool]], c)
	}
	var states []runtime.PoolState
	for pool, containers := range byPool {
		state, err := r.poolState(ctx, environment, pool, containers)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b runtime.PoolState) int { return strings.Compare(a.Name, b.Name) })
	return states, nil
}

func (r *Runtime) poolContainers(ctx context.Context, environment, pool string) ([]container.Summary, error) {
	if err := runtime.CheckPool(environment, pool); err != nil {
		return nil, err
	}
	all, err := r.list(ctx, labels{labelEnvironment: environment, labelPool: pool})
	if err != nil {
		return nil, fmt.Errorf("pool %s of %s: %w", pool, environment, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("pool %s of %s: %w", pool, environment, runtime.ErrNotFound)
	}
	return all, nil
}

// poolState looks at each process that the pool should have.
func (r *Runtime) poolState(ctx context.Context, environment, pool string, all []container.Summary) (runtime.PoolState, error) {
	at := func(role string, port int) string { return alias(pool, role) + ":" + strconv.Itoa(port) }
	state := runtime.PoolState{
		Name: pool, Image: all[0].Labels[labelImage], Group: all[0].Labels[labelGroup], Running: true,
		Upstream: router.Upstream{Pool: pool, Web: at(roleWeb, webPort), Websocket: at(roleWeb, webPort)},
	}
	down := func(role, why string) {
		state.Running = false
		state.Message = strings.TrimPrefix(state.Message+"; the "+role+" process "+why, "; ")
	}
	roles := rolesOf(workersOf(all))
	if slices.Contains(roles, roleWebsocket) {
		state.Upstream.Websocket = at(roleWebsocket, websocketPort)
	}
	for _, role := range roles {
		c, found, err := r.inspect(ctx, r.name(environment, poolContainer(pool, role)))
		switch {
		case err != nil:
			return state, fmt.Errorf("pool %s of %s: %w", pool, environment, err)
		case !found:
			down(role, "is missing")
			continue
		case c.State.Paused:
			down(role, "is paused")
		case c.State.Restarting, c.State.Status == container.StateExited, c.State.Dead:
			down(role, ending(c.State))
		case !c.State.Running:
			down(role, "is "+string(c.State.Status))
		}
		if role != roleWeb || !c.State.Running {
			continue
		}
		if at, err := address(c, webPort); err == nil {
			state.Bridge = "http://" + at
		}
	}
	return state, nil
}

// workersOf reads the number of workers from the labels of a pool's containers. The web process's
// counts: cron is not replaced when the number changes.
func workersOf(all []container.Summary) int {
	workers := 0
	for _, c := range all {
		n, err := strconv.Atoi(c.Labels[labelWorkers])
		if err != nil {
			continue
		}
		if workers = n; c.Labels[labelRole] == roleWeb {
			break
		}
	}
	return workers
}
