package promotion

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/database"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/keys"
	"github.com/waybill-dev/waybill/internal/odoo"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/runtime"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// BenchmarkTenants is one environment with thousands of declared tenants: a real store, River and router, and pools that run
// nothing. Each figure is of one phase: seconds, and the highest resident memory while it went on.
func BenchmarkTenants(b *testing.B) {
	for _, n := range []int{500, 2000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				newTown(b, n).measure()
			}
		})
	}
}

const (
	wave     = 200 // tenants that move at the same time
	ours     = 40  // modules of the product's own
	odoos    = 600
	townName = "town"
)

// town is an environment with very many tenants.
type town struct {
	b      *testing.B
	n      int
	folder string
	store  *store.Store
	engine *Engine
	sim    *simulated
	place  Place
	old    release.Release
	next   release.Release
	facts  odoo.Facts
}

// simulated is a runtime whose pools run nothing.
type simulated struct {
	runtime.Runtime
	control router.Control
	mu      sync.Mutex
	pools   map[string]runtime.PoolState
	written int64
}

func (s *simulated) Router(string) router.Control { return s.control }

func (s *simulated) ConfigurePool(_ context.Context, _, _ string, files runtime.Files) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, content := range files {
		s.written += int64(len(content))
	}
	return nil
}

func (s *simulated) Pool(_ context.Context, _, name string) (runtime.PoolState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pools[name]; ok {
		return p, nil
	}
	return runtime.PoolState{}, runtime.ErrNotFound
}

func (s *simulated) Pools(context.Context, string) (list []runtime.PoolState, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		list = append(list, p)
	}
	return list, nil
}

func (s *simulated) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools[name] = runtime.PoolState{Name: name, Running: true, Bridge: "http://127.0.0.1:9", Upstream: router.Upstream{Pool: name, Web: "127.0.0.1:9", Websocket: "127.0.0.1:9"}}
}

func newTown(b *testing.B, n int) *town {
	b.Helper()
	v := &town{b: b, n: n, folder: b.TempDir(), store: storetest.Open(b, cluster(b)), sim: &simulated{pools: map[string]runtime.PoolState{}}}
	_, v.sim.control = startRouter(b)
	require.Eventually(b, func() bool { _, err := v.sim.control.Stats(b.Context()); return err == nil }, time.Minute, 10*time.Millisecond)
	secrets, err := keys.Open(b.TempDir())
	require.NoError(b, err)
	v.place = Place{Runtime: v.sim, AdminURL: cluster(b).URL}
	v.place.Databases, err = database.Open(b.Context(), cluster(b).URL("postgres"))
	require.NoError(b, err)
	b.Cleanup(v.place.Databases.Close)
	v.engine, err = New(Rooms{Store: v.store, Keys: secrets, Place: func(context.Context, estate.Environment) (Place, error) { return v.place, nil },
		Present: func(context.Context, release.Release) error { return nil }, Trusted: func(context.Context, release.Release, Snapshot) error { return nil }},
		"town", slog.New(slog.DiscardHandler), nil)
	require.NoError(b, err)
	v.old, v.next = v.release("r1", 0), v.release("r2", 7)
	v.declare()
	v.open()
	return v
}

// release has as many modules as Odoo with a product of some size; every changed'th of the product's own differs.
func (v *town) release(name string, changed int) release.Release {
	module := func(i int, kind string) release.Module {
		sum := fmt.Sprintf("%040x", i)
		if kind == "own" && changed > 0 && i%changed == 0 {
			sum = fmt.Sprintf("%s%038x", name, i)
		}
		m := release.Module{Name: fmt.Sprintf("%s_%03d", kind, i), Version: "19.0.1.0.0", Checksum: sum}
		if i > 0 {
			m.Depends = []string{fmt.Sprintf("%s_%03d", kind, i/2)}
		}
		return m
	}
	r := release.Release{Digest: "sha256:" + strings.Repeat(name, 32), Repository: "town", Name: name, Series: "19.0", BridgeProtocol: bridge.Protocol, Created: time.Unix(1, 0)}
	for i := range ours {
		r.Modules = append(r.Modules, module(i, "own"))
	}
	for i := range odoos {
		r.Base.Modules = append(r.Base.Modules, module(i, "base"))
	}
	require.NoError(v.b, v.store.PutRelease(v.b.Context(), r))
	return r
}

// declare writes the estate: rings by size, and one tenant in a hundred is dedicated.
func (v *town) declare() {
	write := func(name, text string) {
		require.NoError(v.b, os.WriteFile(filepath.Join(v.folder, name), []byte(text), 0o644))
	}
	write("product.yaml", "kind: Product\nname: town\nseries: \"19.0\"\nenvironments: ["+townName+"]\n")
	write("environment.yaml", fmt.Sprintf(`kind: Environment
name: %s
runtime: {docker: {http: "127.0.0.1:8069"}}
rings:
  - {name: canary, labels: {size: canary}, at_once: %d}
  - {name: rest, labels: {size: rest}, at_once: %d, failures: 10}
`, townName, wave, wave))
	for from := 0; from < v.n; from += 100 {
		var file []string
		for i := from; i < min(from+100, v.n); i++ {
			size, more := "rest", ""
			if i < wave {
				size = "canary"
			}
			if i%100 == 0 {
				more = "hosting: dedicated\n"
			}
			file = append(file, fmt.Sprintf("kind: Tenant\nname: t%05d\nenvironment: %s\nhosts: [t%05d.example]\nlabels: {size: %s, country: de}\nmodules: [own_000, own_007, base_100]\n%s", i, townName, i, size, more))
		}
		write(fmt.Sprintf("tenants-%05d.yaml", from), strings.Join(file, "---\n"))
	}
}

// open has every tenant served by the old release.
func (v *town) open() {
	declared, err := estate.Load(v.b.Context(), v.folder)
	require.NoError(v.b, err)
	require.Len(v.b, declared.Tenants, v.n)
	for _, m := range append(slices.Clone(v.old.Base.Modules[:150]), v.old.Modules...) {
		v.facts.Modules = append(v.facts.Modules, odoo.InstalledModule{Name: m.Name, State: odoo.StateInstalled, Version: m.Version})
	}
	v.facts.Checksums = map[string]string{}
	for _, m := range append(slices.Clone(v.old.Base.Modules), v.old.Modules...) {
		v.facts.Checksums[m.Name] = m.Checksum
	}
	pools := map[string]bool{}
	var rows []store.Tenant
	for _, t := range declared.Tenants {
		group := string(estate.Shared)
		if t.Hosting == estate.Dedicated {
			group = t.Name
		}
		pools[group] = true
		name := poolName(group, v.old, 0)
		rows = append(rows, store.Tenant{Environment: townName, Name: t.Name, Database: t.Database, Hosts: t.Hosts, Group: group, ServingRelease: v.old.Digest, SchemaRelease: v.old.Digest,
			Live: store.Live{Stable: name, Cron: name, Access: []string{name}}})
	}
	require.NoError(v.b, v.store.In(v.b.Context(), func(tx pgx.Tx) error {
		if err := v.store.PutTenants(v.b.Context(), tx, rows); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		for _, t := range rows {
			batch.Queue("update tenants set serving_release = $3, schema_release = $4, live = $5 where environment = $1 and name = $2", townName, t.Name, t.ServingRelease, t.SchemaRelease, t.Live)
		}
		batch.Queue("insert into generations values ($1, 1) on conflict do nothing", townName)
		return tx.SendBatch(v.b.Context(), batch).Close()
	}))
	for group := range pools {
		for _, r := range []release.Release{v.old, v.next} {
			name := poolName(group, r, 0)
			require.NoError(v.b, v.store.PutPool(v.b.Context(), store.Pool{Environment: townName, Name: name, Release: r.Digest, Image: r.Digest, Group: group, Workers: estate.DefaultWorkers}))
			v.sim.add(name)
			login := poolRole(townName, name)
			require.NoError(v.b, v.engine.ensureLogin(v.b.Context(), v.place, townName, group, login, login))
		}
	}
	require.NoError(v.b, v.engine.Converge(v.b.Context(), v.place, townName))
	_, err = v.store.Pool.Exec(v.b.Context(), "analyze")
	require.NoError(v.b, err)
}

// phase measures one thing. Figures of memory are of the whole process, the highest while it goes on.
func (v *town) phase(name string, f func()) {
	v.b.Helper()
	debug.FreeOSMemory()
	require.NoError(v.b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0), "forget the highest so far")
	start := time.Now()
	f()
	took := time.Since(start)
	high := residentHigh(v.b)
	fmt.Fprintf(os.Stderr, "%6d tenants  %-34s %8.2f s  %6.0f MB\n", v.n, name, took.Seconds(), high) // at once: the whole takes long
	v.b.ReportMetric(took.Seconds(), strings.ReplaceAll(name, " ", "-")+"-s")
	v.b.ReportMetric(high, strings.ReplaceAll(name, " ", "-")+"-MB")
}

// residentHigh is the highest resident memory of this process, in MB of 10⁶ bytes.
func residentHigh(t testing.TB) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilo, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			require.NoError(t, err)
			return kilo * 1024 / 1e6
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

func (v *town) measure() {
	ctx := v.b.Context()
	v.phase("unchanged reconcile", func() {
		declared, err := estate.Load(ctx, v.folder)
		require.NoError(v.b, err)
		env, ok := declared.Environment(townName)
		require.True(v.b, ok)
		changed, err := v.engine.Differs(ctx, env)
		require.NoError(v.b, err)
		require.Empty(v.b, changed)
		require.NoError(v.b, v.engine.Converge(ctx, v.place, townName))
	})

	declared, err := estate.Load(ctx, v.folder)
	require.NoError(v.b, err)
	databases := v.place.Databases
	v.place.Databases = nil // which has none of the tenants'
	v.phase("impact summary", func() {
		assessment, err := v.engine.Impact(ctx, declared, ImpactRequest{Release: v.next.Digest, Environment: townName, Look: func(context.Context, string, store.Tenant) (Sight, error) { return Sight{Facts: v.facts}, nil }})
		require.NoError(v.b, err)
		require.Len(v.b, assessment.Tenants, v.n)
	})
	v.place.Databases = databases

	moved := make(chan string, v.n)
	procedures["bench-tenants"] = []Step{
		{Name: "admit", Do: func(ctx context.Context, w *Work) (string, error) {
			r, err := w.rooms.Store.Release(ctx, w.promotion.Release)
			if err != nil {
				return "", err
			}
			w.memory.Release = r.Digest
			if w.memory.Plan, err = w.plan(ctx, r, v.facts); err != nil {
				return "", err
			}
			w.rememberOld()
			w.memory.NewPool = poolName(w.state.Group, r, 0)
			return describePlan(w.memory.Plan), nil
		}},
		{Name: "gates", When: guarded, Do: gates},
		{Name: "hold", Do: func(ctx context.Context, w *Work) (string, error) {
			return "", v.tell(ctx, w, func(l *store.Live) {
				l.Mode, l.HoldUntil, l.Cron, l.Access = router.Hold, time.Now().Add(time.Hour), "", nil
			})
		}},
		{Name: "move", Do: func(ctx context.Context, w *Work) (string, error) {
			return "", v.tell(ctx, w, func(l *store.Live) {
				*l = store.Live{Stable: w.memory.NewPool, Cron: w.memory.NewPool, Access: []string{w.memory.NewPool}}
			})
		}},
		{Name: "record", Do: func(ctx context.Context, w *Work) (string, error) {
			moved <- w.tenant.Name
			return "", w.changeTenant(ctx, func(t *store.Tenant) { t.ServingRelease, t.SchemaRelease = w.memory.Release, w.memory.Release })
		}},
	}
	v.b.Cleanup(func() { delete(procedures, "bench-tenants") })
	var id string
	v.phase("ask for a promotion of all", func() {
		id, err = v.engine.Start(ctx, declared, Request{Kind: "bench-tenants", Environment: townName, Release: v.next.Digest, By: "somebody"})
		require.NoError(v.b, err)
	})
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	waits := func(what string, where string) {
		require.Eventually(v.b, func() bool {
			var left int
			require.NoError(v.b, v.store.Pool.QueryRow(ctx, "select count(*) from rollouts where promotion_id = $1 and "+where, id).Scan(&left))
			return left == 0
		}, time.Hour, 50*time.Millisecond, what)
	}
	v.phase("plan all, first ring moves", func() {
		go func() { ended <- v.engine.Run(running) }()
		waits("all are planned", "step = 0")
		waits("the first ring has moved", "ring = 'canary' and state <> 'done'")
	})
	require.GreaterOrEqual(v.b, len(moved), wave)
	v.phase("the others move", func() { waits("all have moved", "state <> 'done'") })
	stop()
	require.NoError(v.b, <-ended)
	require.Len(v.b, moved, v.n, "each once")
	p, err := v.store.Promotion(ctx, id)
	require.NoError(v.b, err)
	require.Equal(v.b, store.Promoted, p.Outcome)
}

func (v *town) tell(ctx context.Context, w *Work, f func(*store.Live)) error {
	if err := w.change(ctx, f); err != nil {
		return err
	}
	if _, err := w.tellPools(ctx, w.place, townName); err != nil {
		return err
	}
	return w.tellRouter(ctx, w.place, townName)
}
