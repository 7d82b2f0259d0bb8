package promotion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
)

// Every password and key is derived from the master key; a version that goes into it makes it another one. The store knows
// the versions, so that all servers of an installation use the same.

// BridgeSecret names the key that calls to the bridges of an environment are signed with.
const BridgeSecret = "bridge"

// LoginSecret names the database login of a group's pools.
func LoginSecret(group string) string { return "database/" + group }

// bridgeSettles is how long a process of a pool may go on with the key that was: it looks at the file every 100 ms at most.
const bridgeSettles = time.Second

// bridgeKey is the text of bridge.key; both sides use it as it stands.
func (e *Engine) bridgeKey(ctx context.Context, environment string) ([]byte, error) {
	keys, err := e.bridgeKeys(ctx, environment)
	if err != nil {
		return nil, err
	}
	return keys[0], nil
}

// bridgeKeys are those that a pool of the environment may know: the one in force, and while it is being changed the one before.
func (e *Engine) bridgeKeys(ctx context.Context, environment string) ([][]byte, error) {
	s, err := e.rooms.Store.Secret(ctx, environment, BridgeSecret)
	if err != nil {
		return nil, fmt.Errorf("find out which bridge key of %s is in force: %w", environment, err)
	}
	keys := [][]byte{e.bridgeKeyOf(s, s.Version)}
	if s.Overlap {
		keys = append(keys, e.bridgeKeyOf(s, s.Version-1))
	}
	return keys, nil
}

func (e *Engine) bridgeKeyOf(s store.Secret, version int) []byte {
	return []byte(fmt.Sprintf("%x", e.rooms.Keys.BridgeKey(s.Environment, version)))
}

// bridgeClient calls the bridge of a pool that was seen just now, in each of its pods.
func (e *Engine) bridgeClient(at runtime.Runtime, pool runtime.PoolState, environment string) *bridge.Client {
	found := &poolPods{runtime: at, environment: environment, pool: pool.Name, seen: bridges(pool), at: time.Now()}
	return bridge.NewClientOf(found.addresses, func(ctx context.Context) ([][]byte, error) { return e.bridgeKeys(ctx, environment) })
}

// podsSeen is how long a pool's pods are taken for what they were. One that has gone is found at once: it does not answer.
const podsSeen = 10 * time.Second

// poolPods are those of a pool, which come and go.
type poolPods struct {
	runtime           runtime.Runtime
	environment, pool string

	mu   sync.Mutex
	seen []string
	at   time.Time
}

func (p *poolPods) addresses(ctx context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < podsSeen {
		return p.seen, nil
	}
	state, err := p.runtime.Pool(ctx, p.environment, p.pool)
	if err != nil {
		return nil, err
	}
	p.seen, p.at = bridges(state), time.Now()
	return p.seen, nil
}

func bridges(pool runtime.PoolState) []string {
	if len(pool.Bridges) > 0 {
		return pool.Bridges
	}
	return []string{pool.Bridge}
}

// recordGiven writes down, by their names, which secrets a container is given.
func (e *Engine) recordGiven(ctx context.Context, environment, to string, secrets ...string) error {
	err := ledger.Record(ctx, e.rooms.Store.Pool, ledger.Event{Kind: ledger.SecretGiven, Environment: environment, Payload: map[string]any{"secrets": secrets, "to": to}})
	if err != nil {
		return fmt.Errorf("write down which secrets %s is given: %w", to, err)
	}
	return nil
}

// RotateBridgeKey puts a new key in force for the calls to an environment's bridges, and takes the old one out once every pool
// has the new one. No call fails meanwhile, and pools go on as they are. One that was interrupted is finished first: then that is
// all that happens. It returns the version in force.
func (e *Engine) RotateBridgeKey(ctx context.Context, environment estate.Environment, by string) (version int, err error) {
	place, err := e.rooms.Place(ctx, environment)
	if err != nil {
		return 0, err
	}
	err = e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		fresh, err := e.rooms.Store.OverlapSecret(ctx, tx, environment.Name, BridgeSecret)
		if err != nil || !fresh {
			return err
		}
		return ledger.Record(ctx, tx, ledger.Event{Actor: by, Kind: ledger.SecretRotated, Environment: environment.Name, Payload: map[string]any{"secret": BridgeSecret}})
	})
	if err != nil {
		return 0, fmt.Errorf("put a new bridge key of %s in force: %w", environment.Name, err)
	}
	if err := e.finishBridgeKey(ctx, place, environment.Name); err != nil {
		return 0, err
	}
	s, err := e.rooms.Store.Secret(ctx, environment.Name, BridgeSecret)
	return s.Version, err
}

// finishBridgeKey ends the time in which two keys open, if there is one.
func (e *Engine) finishBridgeKey(ctx context.Context, place Place, environment string) error {
	s, err := e.rooms.Store.Secret(ctx, environment, BridgeSecret)
	if err != nil || !s.Overlap {
		return err
	}
	if _, err := e.tellPools(ctx, place, environment); err != nil {
		return fmt.Errorf("give the pools of %s their new bridge key; both keys open until that is done, when it is asked for again or the server starts: %w", environment, err)
	}
	pools, err := place.Runtime.Pools(ctx, environment)
	if err != nil {
		return err
	}
	key := e.bridgeKeyOf(s, s.Version)
	for _, p := range pools {
		if err := e.takesKey(ctx, p, key); err != nil {
			return fmt.Errorf("pool %s of %s refuses its new bridge key; the old one opens too until it is asked for again, or the server starts: %w", p.Name, environment, err)
		}
	}
	if len(pools) > 0 { // their other processes
		if err := sleep(ctx, bridgeSettles); err != nil {
			return err
		}
	}
	return e.rooms.Store.In(ctx, func(tx pgx.Tx) error {
		ended, err := e.rooms.Store.EndOverlap(ctx, tx, environment, BridgeSecret, s.Version)
		if err != nil || !ended {
			return err
		}
		return ledger.Record(ctx, tx, ledger.Event{Kind: ledger.SecretRetired, Environment: environment, Payload: map[string]any{"secret": BridgeSecret, "pools": names(pools)}})
	})
}

func names(pools []runtime.PoolState) []string {
	list := []string{}
	for _, p := range pools {
		list = append(list, p.Name)
	}
	slices.Sort(list)
	return list
}

// takesKey waits until a pool accepts a key. One that does not answer at all reads it when it comes back.
func (e *Engine) takesKey(ctx context.Context, p runtime.PoolState, key []byte) error {
	if !p.Running {
		return nil
	}
	client := bridge.NewClientOf(func(context.Context) ([]string, error) { return bridges(p), nil }, func(context.Context) ([][]byte, error) { return [][]byte{key}, nil })
	defer client.Close()
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return poll(bounded, 100*time.Millisecond, func() (bool, error) {
		_, err := client.Status(bounded)
		return !errors.Is(err, bridge.ErrRefused) && bounded.Err() == nil, err // a call that was cut off says nothing
	})
}

// RotateLogins asks for new database logins of an environment's pools, or of those tenants' alone: a promotion that starts, for
// each group of tenants, a pool of the same release with another login, moves the traffic there, and takes the old one away.
func (e *Engine) RotateLogins(ctx context.Context, declared *estate.Estate, q Request) (string, error) {
	q.Kind = KindRotate
	live, err := e.rooms.Store.Tenants(ctx, q.Environment)
	if err != nil {
		return "", err
	}
	besides := slices.DeleteFunc(slices.Clone(live), func(t store.Tenant) bool { return !t.StandsBeside() || t.Live.Stable == "" })
	live = slices.DeleteFunc(live, store.Tenant.StandsBeside)
	asked := func(name string) bool { return len(q.Tenants) == 0 || slices.Contains(q.Tenants, name) }
	groups := map[string][]string{}
	for _, t := range live {
		if t.Live.Stable != "" && asked(t.Name) {
			groups[t.Group] = append(groups[t.Group], t.Name)
		}
	}
	for _, t := range live {
		if t.Live.Stable != "" && !asked(t.Name) && groups[t.Group] != nil {
			return "", badRequest("tenant %s of %s shares the pools of %s, and so their database login: name both, or none for all of the environment", t.Name, q.Environment, groups[t.Group][0])
		}
	}
	for _, t := range besides { // its pool would stay, with the login that is to go
		if of, name, _ := store.OfBeside(t.Name); groups[t.Group] != nil {
			return "", badRequest("%s, which stands beside %s, is served by a pool of the same login; drop it first: waybill restore drop %s/%s %s", name, of, q.Environment, of, name)
		}
	}
	var tenants []string
	for _, names := range groups {
		tenants = append(tenants, names...)
	}
	slices.Sort(tenants)
	if _, known := declared.Environment(q.Environment); known && (len(tenants) == 0 || len(q.Tenants) > 0 && len(tenants) != len(q.Tenants)) {
		return "", badRequest("not all of what was asked for is served by a pool of %s: there is no login to change. See: waybill status", q.Environment)
	}
	q.Tenants = tenants
	return e.StartWith(ctx, declared, q, func(tx pgx.Tx, id string) error {
		for group, names := range groups {
			if err := e.rooms.Store.NextSecret(ctx, tx, q.Environment, LoginSecret(group), id); err != nil {
				return err
			}
			if err := ledger.Record(ctx, tx, ledger.Event{Actor: q.By, Kind: ledger.SecretRotated, Environment: q.Environment, Promotion: id,
				Payload: map[string]any{"secret": LoginSecret(group), "tenants": names}}); err != nil {
				return err
			}
		}
		return nil
	})
}

// admitRotate plans a pool of the release that serves, with the login that is now in force.
func admitRotate(ctx context.Context, w *Work) (string, error) {
	w.memory.NotAdmitted = true
	w.rememberOld()
	if w.memory.OldPool == "" {
		return "", failed("no pool serves %s", w.tenant.Name)
	}
	r, err := w.rooms.Store.Release(ctx, w.memory.OldRelease)
	if err != nil {
		return "", fmt.Errorf("look up the release that serves: %w", err)
	}
	if err := w.rooms.Present(ctx, r); err != nil {
		return "", fmt.Errorf("read release %s from the registry: %w", r.Name, err)
	}
	w.memory.Release = r.Digest
	old, err := w.rooms.Store.GetPool(ctx, w.rollout.Environment, w.memory.OldPool)
	if err != nil {
		return "", fmt.Errorf("look up pool %s, which serves %s: %w", w.memory.OldPool, w.tenant.Name, err)
	}
	if err := w.nameNewPool(ctx, r, configurationOf(old)); err != nil {
		return "", err
	}
	if w.memory.NewPool == w.memory.OldPool {
		return "", failed("pool %s has the login that is in force already", w.memory.OldPool)
	}
	w.memory.Plan = Plan{Class: estate.Swap, ClassReason: "the same release with another database login", Transactional: true}
	w.memory.NotAdmitted = false
	return fmt.Sprintf("%s, on pool %s with a login of its own instead of %s", r.Name, w.memory.NewPool, w.memory.OldPool), nil
}

// emptyOld waits until nobody's request and no job is left on the old pool: its login ends next.
func emptyOld(ctx context.Context, w *Work) (string, error) {
	left, err := w.awaitRequests(ctx, w.memory.OldPool)
	if err != nil {
		return "", err
	}
	detail := "no request is left on " + w.memory.OldPool
	if left != "" {
		detail = left
	}
	busy := 0
	bounded, cancel := context.WithTimeout(ctx, graceOfPool)
	defer cancel()
	err = poll(bounded, 100*time.Millisecond, func() (bool, error) {
		err := w.inDatabase(bounded, func(db *pgx.Conn) error {
			return db.QueryRow(bounded, "select count(*) from pg_stat_activity where datname = current_database() and usename = $1 and state <> 'idle'",
				poolRole(w.rollout.Environment, w.memory.OldPool)).Scan(&busy)
		})
		return err == nil && busy == 0, err
	})
	if err != nil && ctx.Err() == nil && busy > 0 {
		return detail + fmt.Sprintf("; %d of its jobs did not end within %s", busy, graceOfPool), nil
	}
	return detail, err
}
