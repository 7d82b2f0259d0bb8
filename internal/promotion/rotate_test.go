package promotion

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// plant runs pools that are small web servers: as Odoo does, they log in to a real PostgreSQL with what odoo.conf said when they
// started, and read the bridge's key and the list of tenants anew when these change.
type plant struct {
	runtime.Runtime
	t       *testing.T
	url     string
	control router.Control

	mu    sync.Mutex
	pools map[string]*plantPool
}

type plantPool struct {
	*httptest.Server
	plant *plant
	state runtime.PoolState
	login *pgx.ConnConfig

	mu    sync.Mutex
	files runtime.Files
	key   [2][]byte    // of its two processes; the second one looks late
	deaf  bool         // takes no new key
	calls atomic.Int64 // to the bridge, which it takes in turn by its processes
}

func newPlant(t *testing.T) *plant {
	p := &plant{t: t, pools: map[string]*plantPool{}}
	p.url, p.control = startRouter(t)
	t.Cleanup(func() {
		for _, pool := range p.pools {
			pool.Close()
		}
	})
	return p
}

func (p *plant) EnsureEnvironment(context.Context, runtime.Environment) error { return nil }
func (p *plant) Router(string) router.Control                                 { return p.control }

var confLine = regexp.MustCompile(`(?m)^(db_user|db_password) = (.*)$`)

func (p *plant) EnsurePool(_ context.Context, asked runtime.Pool) (runtime.PoolState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool := p.pools[asked.Name]; pool != nil {
		return pool.state, nil
	}
	pool := &plantPool{plant: p, files: asked.Files, key: [2][]byte{asked.Files[bridge.KeyFile], asked.Files[bridge.KeyFile]}}
	var err error
	if pool.login, err = pgx.ParseConfig(cluster(p.t).URL("postgres")); err != nil {
		return runtime.PoolState{}, err
	}
	for _, line := range confLine.FindAllStringSubmatch(string(asked.Files[bridge.OdooConfFile]), -1) {
		if line[1] == "db_user" {
			pool.login.User = line[2]
		} else {
			pool.login.Password = line[2]
		}
	}
	pool.Server = httptest.NewServer(pool)
	address := pool.Listener.Addr().String()
	pool.state = runtime.PoolState{Name: asked.Name, Group: asked.Group, Running: true, Bridge: pool.URL,
		Upstream: router.Upstream{Pool: asked.Name, Web: address, Websocket: address}}
	p.pools[asked.Name] = pool
	return pool.state, nil
}

func (p *plant) ConfigurePool(_ context.Context, _, name string, files runtime.Files) error {
	pool := p.pool(name)
	if pool == nil {
		return runtime.ErrNotFound
	}
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for name, content := range files {
		pool.files[name] = content
	}
	if !pool.deaf {
		pool.key[0] = pool.files[bridge.KeyFile]
	}
	return nil
}

func (p *plant) RemovePool(_ context.Context, _, name string, _ time.Duration) error {
	if pool := p.pool(name); pool != nil {
		pool.CloseClientConnections() // as Odoo does with requests that still run a second later
		pool.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.pools, name)
	}
	return nil
}

func (p *plant) pool(name string) *plantPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pools[name]
}

func (p *plant) Pool(_ context.Context, _, name string) (runtime.PoolState, error) {
	if pool := p.pool(name); pool != nil {
		return pool.state, nil
	}
	return runtime.PoolState{}, runtime.ErrNotFound
}

func (p *plant) Pools(context.Context, string) (list []runtime.PoolState, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pool := range p.pools {
		list = append(list, pool.state)
	}
	return list, nil
}

func (p *plantPool) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/waybill/") {
		p.bridge(w, r)
		return
	}
	db, err := pgx.ConnectConfig(r.Context(), p.inDatabase(p.databaseOf(r.Host)))
	if seconds := r.URL.Query().Get("takes"); err == nil && seconds != "" {
		_, err = db.Exec(r.Context(), "select pg_sleep($1::text::float8)", seconds)
		_ = db.Close(context.WithoutCancel(r.Context()))
	} else if err == nil {
		_, err = db.Exec(r.Context(), "insert into orders values (default); select pg_sleep(0.1)") // long enough to be in flight when the route moves
		_ = db.Close(context.WithoutCancel(r.Context()))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// databaseOf is the database of a host, by the list of tenants.
func (p *plantPool) databaseOf(host string) string {
	var config bridge.PoolConfig
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = json.Unmarshal(p.files[bridge.PoolFile], &config)
	for _, tenant := range config.Tenants {
		if slices.Contains(tenant.Hosts, host) {
			return tenant.Database
		}
	}
	return "rotated"
}

func (p *plantPool) inDatabase(name string) *pgx.ConnConfig {
	config := p.login.Copy()
	config.Database = name
	return config
}

// bridge answers what is signed with the key that the process knows which gets the call.
func (p *plantPool) bridge(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	process := p.calls.Add(1) % 2
	p.mu.Lock()
	key, file := p.key[process], p.files[bridge.PoolFile]
	p.key[1] = p.key[0] // it has looked now, and knows by the next call
	p.mu.Unlock()
	parts := strings.Split(r.Header.Get(bridge.SignatureHeader), ":")
	seconds, _ := strconv.ParseInt(parts[1], 10, 64)
	if bridge.Sign(key, time.Unix(seconds, 0), parts[2], r.Method, r.URL.RequestURI(), body) != r.Header.Get(bridge.SignatureHeader) {
		http.NotFound(w, r)
		return
	}
	var config bridge.PoolConfig
	_ = json.Unmarshal(file, &config)
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/waybill/v1/ready":
		_ = json.NewEncoder(w).Encode(bridge.Readiness{Ready: true, Generation: config.Generation})
	case "/waybill/v1/flows":
		_, _ = io.WriteString(w, `{"flows": [{"name": "sell", "outcome": "passed"}]}`)
	default:
		_ = json.NewEncoder(w).Encode(bridge.Status{Protocol: bridge.Protocol, Generation: config.Generation})
	}
}

// works is an environment whose two tenants share a pool, which serves; a third has one of its own.
type works struct {
	*plant
	store    *store.Store
	engine   *Engine
	place    Place
	declared *estate.Estate
	secrets  *keys.Keys
}

func newWorks(t *testing.T, with ...func(*Rooms)) *works {
	t.Helper()
	w := &works{plant: newPlant(t), store: storetest.Open(t, cluster(t))}
	var err error
	w.secrets, err = keys.Open(t.TempDir())
	require.NoError(t, err)
	w.place = Place{Runtime: w.plant, AdminURL: cluster(t).URL, Host: cluster(t).SocketDir(), Port: cluster(t).Port()}
	w.place.Databases, err = database.Open(t.Context(), cluster(t).URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(w.place.Databases.Close)
	rooms := Rooms{Store: w.store, Keys: w.secrets, Place: func(context.Context, estate.Environment) (Place, error) { return w.place, nil },
		Present: func(context.Context, release.Release) error { return nil }, Image: func(r release.Release) string { return r.Digest }}
	for _, f := range with {
		f(&rooms)
	}
	w.engine, err = New(rooms, "test", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })

	w.declared = &estate.Estate{Product: estate.Product{Name: "acme"}, Environments: []estate.Environment{{Name: "rotation"}}, Tenants: []estate.Tenant{
		{Name: "acme", Environment: "rotation", Database: "rotated", Hosts: []string{"acme.example"}},
		{Name: "bolt", Environment: "rotation", Database: "rotated_bolt", Hosts: []string{"bolt.example"}},
		{Name: "cord", Environment: "rotation", Database: "rotated_cord", Hosts: []string{"cord.example"}, Hosting: estate.Dedicated},
	}}
	r := release.Release{Digest: "sha256:00112233445566", Repository: "acme", Name: "r1", Series: "19.0", BridgeProtocol: bridge.Protocol}
	require.NoError(t, w.store.PutRelease(t.Context(), r))
	for _, tenant := range w.declared.Tenants {
		group := "shared"
		if tenant.Hosting == estate.Dedicated {
			group = tenant.Name
		}
		name := poolName(group, r, 0)
		require.NoError(t, w.store.PutTenant(t.Context(), store.Tenant{Environment: "rotation", Name: tenant.Name, Database: tenant.Database, Hosts: tenant.Hosts, Group: group}))
		pool := store.Pool{Environment: "rotation", Name: name, Release: r.Digest, Image: r.Digest, Group: group, Workers: 3, Settings: map[string]string{"limit_time_cpu": "77"}}
		require.NoError(t, w.store.PutPool(t.Context(), pool))
		state, err := w.store.ChangeTenant(t.Context(), "rotation", tenant.Name, store.Lease{}, func(t *store.Tenant) {
			t.ServingRelease, t.SchemaRelease, t.Live = r.Digest, r.Digest, store.Live{Stable: name, Cron: name, Access: []string{name}}
		})
		require.NoError(t, err)
		_, err = w.engine.ensurePool(t.Context(), w.place, pool)
		require.NoError(t, err)
		require.NoError(t, w.place.Databases.Create(t.Context(), tenant.Database, ownerRole("rotation", group)))
		t.Cleanup(func() { require.NoError(t, w.place.Databases.Drop(context.Background(), tenant.Database)) })
		require.NoError(t, w.engine.grantAccess(t.Context(), w.place, state))
	}
	db, err := pgx.ConnectConfig(t.Context(), w.pool("r-0011223344").inDatabase("rotated"))
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "create table orders (id serial)")
	require.NoError(t, err)
	require.NoError(t, db.Close(t.Context()))
	bounded, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	require.NoError(t, poll(bounded, 10*time.Millisecond, func() (bool, error) { // until the router listens
		err := w.engine.tellRouter(bounded, w.place, "rotation")
		return err == nil, err
	}))
	return w
}

// busy does something over and over until the test ends or the returned function is called, which gives how often, and what went
// wrong first.
func (w *works) busy(people int, do func(context.Context) error) func() (int64, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var group sync.WaitGroup
	var done atomic.Int64
	var wrong atomic.Pointer[error]
	for range people {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := do(context.WithoutCancel(ctx)); err != nil {
					wrong.CompareAndSwap(nil, &err)
				}
				done.Add(1)
				_ = sleep(ctx, 2*time.Millisecond) // leaves two cores to others
			}
		})
	}
	w.t.Cleanup(cancel)
	return func() (int64, error) {
		cancel()
		group.Wait()
		if err := wrong.Load(); err != nil {
			return done.Load(), *err
		}
		return done.Load(), nil
	}
}

func (w *works) order(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/order", nil)
	if err != nil {
		return err
	}
	request.Host = "acme.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return err
}

// recorded are the kinds and secrets of what the ledger was told of secrets, in order; whatever it was told holds no value.
func (w *works) recorded(values ...string) (list []string) {
	w.t.Helper()
	rows, err := w.store.Pool.Query(w.t.Context(), "select kind, payload::text from ledger_outbox order by id")
	require.NoError(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var kind, payload string
		require.NoError(w.t, rows.Scan(&kind, &payload))
		for _, value := range values {
			require.NotContains(w.t, payload, value)
		}
		var told struct{ Secret string }
		if strings.HasPrefix(kind, "secret.r") {
			require.NoError(w.t, json.Unmarshal([]byte(payload), &told))
			list = append(list, kind+" "+told.Secret)
		}
	}
	return list
}

// Other logins while people work: nobody's request fails, and then the old login is gone.
func TestRotateLogins(t *testing.T) {
	long.Test(t)
	w := newWorks(t)
	old := w.pool("r-0011223344").inDatabase("rotated")
	stop := w.busy(4, w.order)
	mark := "-" + Configuration{Workers: 3, Settings: map[string]string{"limit_time_cpu": "77"}}.Hash()[:6] // it is not what an estate says that says nothing
	for round, name := range []string{"r-0011223344-k1" + mark, "r-0011223344-k2" + mark} {
		before, err := w.store.Tenant(t.Context(), "rotation", "acme")
		require.NoError(t, err)
		id, err := w.engine.RotateLogins(t.Context(), w.declared, Request{Environment: "rotation", Tenants: []string{"acme", "bolt"}, By: "sue"})
		require.NoError(t, err)
		bounded, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		require.NoError(t, poll(bounded, 20*time.Millisecond, func() (bool, error) {
			p, err := w.store.Promotion(bounded, id)
			return p.FinishedAt != nil, err
		}))
		rollouts, err := w.store.Rollouts(t.Context(), id)
		require.NoError(t, err)
		for _, r := range rollouts {
			require.Equal(t, store.Promoted, r.Outcome, "%s: %s", r.Tenant, r.Reason)
		}
		require.NoError(t, err)
		now, err := w.store.Tenant(t.Context(), "rotation", "acme")
		require.NoError(t, err)
		require.Equal(t, name, now.Live.Stable, "round %d", round)
		require.Equal(t, before.ServingRelease, now.ServingRelease)
		require.Nil(t, w.pool(before.Live.Stable), "the old pool is gone")
		pool, err := w.store.GetPool(t.Context(), "rotation", name)
		require.NoError(t, err)
		require.Equal(t, 3, pool.Workers, "what else the pool is like stays")
		require.Equal(t, "77", pool.Settings["limit_time_cpu"])
	}
	orders, err := stop()
	require.NoError(t, err, "of %d orders", orders)
	require.Greater(t, orders, int64(10))
	_, err = pgx.ConnectConfig(t.Context(), old)
	require.ErrorContains(t, err, "password authentication failed", "the old login is gone")
	fresh := w.pool("r-0011223344-k2" + mark).login
	require.NotEqual(t, old.Password, fresh.Password)
	require.NotNil(t, w.pool("cord-0011223344"), "whoever has a pool of their own keeps it")
	require.Equal(t, []string{"secret.rotated database/shared", "secret.rotated database/shared"}, w.recorded(old.Password, fresh.Password))

	for name, test := range map[string]struct {
		tenants []string
		says    string
	}{
		"half of those who share":     {[]string{"acme"}, "shares the pools"},
		"a tenant that is not served": {[]string{"dune"}, "there is no login to change"},
	} {
		_, err := w.engine.RotateLogins(t.Context(), w.declared, Request{Environment: "rotation", Tenants: test.tenants, By: "sue"})
		require.ErrorIs(t, err, ErrBadRequest, name)
		require.ErrorContains(t, err, test.says, name)
	}
}

// Another key while Waybill calls the bridges: no call fails, and then the old key opens nothing.
func TestRotateBridgeKey(t *testing.T) {
	long.Test(t)
	w := newWorks(t)
	environment := w.declared.Environments[0]
	client := w.engine.bridgeClient(w.plant, w.pool("r-0011223344").state, "rotation") // as one that is used throughout
	t.Cleanup(client.Close)
	key, err := w.engine.bridgeKey(t.Context(), "rotation")
	require.NoError(t, err)
	stop := w.busy(4, func(ctx context.Context) error {
		_, err := client.Status(ctx)
		return err
	})
	for want := range 3 {
		version, err := w.engine.RotateBridgeKey(t.Context(), environment, "sue")
		require.NoError(t, err)
		require.Equal(t, want+1, version)
	}
	calls, err := stop()
	require.NoError(t, err, "of %d calls", calls)
	require.Greater(t, calls, int64(10))
	next, err := w.engine.bridgeKeys(t.Context(), "rotation")
	require.NoError(t, err)
	require.Len(t, next, 1)
	for _, name := range []string{"r-0011223344", "cord-0011223344"} {
		former := bridge.NewClient(w.pool(name).URL, key)
		t.Cleanup(former.Close)
		_, err = former.Status(t.Context())
		require.ErrorIs(t, err, bridge.ErrRefused)
	}
	want := slices.Repeat([]string{"secret.rotated bridge", "secret.retired bridge"}, 3)
	require.Equal(t, want, w.recorded(string(key), string(next[0])))
}

// While a pool has not taken the new key, the old one opens too. What was interrupted is finished by the next server, or by asking again.
func TestBridgeKeyInterrupted(t *testing.T) {
	long.Test(t)
	w := newWorks(t)
	pool := w.pool("r-0011223344")
	client := w.engine.bridgeClient(w.plant, pool.state, "rotation")
	t.Cleanup(client.Close)
	pool.mu.Lock()
	pool.deaf = true
	pool.mu.Unlock()
	bounded, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	before := pool.calls.Load()
	go func() { // once it has refused the new key
		_ = poll(bounded, time.Millisecond, func() (bool, error) { return pool.calls.Load() > before+2, nil })
		interrupt()
	}()
	_, err := w.engine.RotateBridgeKey(bounded, w.declared.Environments[0], "sue")
	require.ErrorContains(t, err, "refuses its new bridge key")
	for range 4 { // of either process
		_, err = client.Status(t.Context())
		require.NoError(t, err)
	}
	pool.mu.Lock()
	pool.deaf = false
	pool.mu.Unlock()
	require.NoError(t, w.engine.Converge(t.Context(), w.place, "rotation"), "as a server does that starts")
	s, err := w.store.Secret(t.Context(), "rotation", BridgeSecret)
	require.NoError(t, err)
	require.Equal(t, 1, s.Version)
	require.False(t, s.Overlap)
	_, err = client.Status(t.Context())
	require.NoError(t, err)
	require.True(t, bytes.Equal(pool.files[bridge.KeyFile], w.engine.bridgeKeyOf(s, 1)))
}
