package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/checkpoint"
	"github.com/waybill-dev/waybill/internal/promotion"
	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/store/storetest"
)

// tree is the folder of the repository.
const tree = "../.."

// full are metrics in which everything has happened once, and the database they read.
func full(t *testing.T) (*Metrics, *store.Store) {
	t.Helper()
	s := storetest.Open(t, cluster(t))
	_, err := s.Pool.Exec(t.Context(), `
		insert into tenants (environment, name, database, hosts, pool_group, serving_release) values ('production', 'acme', 'acme', '{a.example}', 'shared', 'sha256:1'), ('production', 'new', 'new', '{n.example}', 'shared', 'sha256:1');
		insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, finished_at, outcome) values
			('p1', 'promote', 'production', 'sha256:1', 'r1', 'ann', '{}', '{}', '', now(), 'promoted'), ('p2', 'promote', 'production', 'sha256:2', 'r2', 'ann', '{}', '{}', '', null, '');
		insert into rollouts (id, promotion_id, environment, tenant, state, created_at) values ('r2', 'p2', 'production', 'acme', 'running', now() - interval '1 hour');
		insert into gates (rollout_id, topics) values ('r2', '{x}');
		insert into river_job (kind, args, max_attempts) values ('advance', '{}', 1);
		insert into quarantine values ('production', 'sha256:3', 'p1', 'it broke');
		insert into emergencies (promotion_id, environment, asked_by, reason, second, skipped, confirm_by, confirmed_at) values ('p1', 'production', 'ann', 'r', 'bob', '{}', now(), now());
		insert into vulnerabilities (environment, release, id, ecosystem, component, version, level, severity, detail, fix) values ('production', 'sha256:1', 'CVE-1', 'PyPI', 'x', '1', 'warn', '', '', '');
		insert into drifts (scope, api_version, kind, name, environment) values ('c/waybill', 'v1', 'Service', 'router', 'production');
		insert into isolation_runs (environment, turn, finished_at, verdict) values ('production', 0, now(), 'PASS');
		insert into tenant_usage (environment, tenant, database_bytes, files_bytes, limit_bytes) values ('production', 'acme', 60, 20, 100);
		insert into ledger_heads (seq, hash, at, key_id, signature) values (0, '', now(), 'k', '')`)
	require.NoError(t, err)
	m := NewMetrics("test")
	looked := make(chan struct{})
	c := &Checkpoints{
		Tenants: func(ctx context.Context) ([]store.Tenant, error) { return s.Tenants(ctx, "") },
		Newest: func(_ context.Context, environment, tenant string) (checkpoint.Info, bool, error) {
			return checkpoint.Info{Environment: environment, Tenant: tenant, RecoveryPoint: time.Now().Add(-time.Hour), Bytes: 1 << 20, Verified: time.Now()}, tenant == "acme", nil
		},
		Begin: func(f func(context.Context)) {
			go func() {
				f(context.WithoutCancel(t.Context()))
				close(looked)
			}()
		}, Log: slog.New(slog.DiscardHandler),
	}
	m.Read(&State{Store: s, Log: slog.New(slog.DiscardHandler)}, c, &Routers{
		Environments: func() []string { return []string{"production", "test"} },
		Stats: func(_ context.Context, environment string) (router.Stats, error) {
			if environment == "test" {
				return router.Stats{}, errors.New("its engine is down")
			}
			return router.Stats{Tenants: []router.TenantStats{{Name: "acme", Pools: []router.PoolStats{{Pool: "r-1", Latency: make([]int64, len(router.LatencyBounds)+1)}}}}}, nil
		},
	})
	scrape(t, m)
	<-looked
	watch := &Watch{metrics: m, log: slog.New(slog.DiscardHandler)}
	_, ended := watch.Step(t.Context(), promotion.Turn{Step: "update"})
	ended("done", "")
	watch.Ended(t.Context(), store.Rollout{Environment: "production", HeldSeconds: 2})
	m.Rehearsed("production", "proven", time.Minute)
	m.Notified("ops", "delivered")
	m.Followed(nil)
	m.Request("get-status", http.StatusOK, time.Millisecond, false)
	return m, s
}

func scrape(t *testing.T, m *Metrics) (map[string]*dto.MetricFamily, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	content, err := io.ReadAll(answer.Result().Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.Code, string(content))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(content)))
	require.NoError(t, err)
	return families, string(content)
}

func TestEverythingInTheCatalogueIsExported(t *testing.T) {
	m, _ := full(t)
	families, content := scrape(t, m)
	for _, declared := range catalogue {
		family := families[declared.name]
		require.NotNil(t, family, "%s is documented and not exported", declared.name)
		require.Equal(t, string(declared.kind), strings.ToLower(family.GetType().String()), declared.name)
	}
	for name := range families {
		if strings.HasPrefix(name, "waybill_") {
			find(name) // panics
		}
	}
	problems, err := promlint.New(strings.NewReader(content)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems, "what promtool check metrics says")
}

func TestDocumentIsOfTheCatalogue(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(tree, "docs/metrics.md"))
	require.NoError(t, err)
	require.Equal(t, Document(), string(content), "docs/metrics.md is out of date; run: make generate")
}

// A dashboard or a rule that names a metric which is not exported shows nothing, or never fires, and nobody notices.
func TestDashboardsAndRulesNameWhatIsExported(t *testing.T) {
	m, _ := full(t)
	families, _ := scrape(t, m)
	var files []string
	for _, pattern := range []string{"observability/*.yml", "observability/dashboards/*.json"} {
		found, err := filepath.Glob(filepath.Join(tree, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		files = append(files, found...)
	}
	names := regexp.MustCompile(`\b(waybill|go|process)_[a-z0-9_]+\b`)
	used := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, name := range names.FindAllString(string(content), -1) {
			used[name] = true
			family, ok := families[name]
			if !ok {
				for _, ending := range []string{"_bucket", "_sum", "_count"} {
					if of, cut := strings.CutSuffix(name, ending); cut && families[of].GetType() == dto.MetricType_HISTOGRAM {
						family, ok = families[of], true
					}
				}
			}
			require.True(t, ok && family != nil, "%s names %s, which is not exported", file, name)
		}
	}
	require.Greater(t, len(used), 20)
}

func TestStoreThatIsAway(t *testing.T) {
	m, s := full(t)
	families, _ := scrape(t, m)
	require.Equal(t, 1.0, families["waybill_store_up"].Metric[0].GetGauge().GetValue())
	s.Close()
	m = NewMetrics("test")
	m.Read(&State{Store: s, Log: slog.New(slog.DiscardHandler)})
	families, _ = scrape(t, m)
	require.Equal(t, 0.0, families["waybill_store_up"].Metric[0].GetGauge().GetValue())
	require.Nil(t, families["waybill_promotions_total"], "nothing is made up")
	require.NotNil(t, families["go_goroutines"], "the rest is there all the same")
}

func TestFigures(t *testing.T) {
	m, _ := full(t)
	families, _ := scrape(t, m)
	value := func(name string, want ...string) float64 {
		t.Helper()
		for _, x := range families[name].GetMetric() {
			matches := 0
			for _, l := range x.Label {
				for i := 0; i < len(want); i += 2 {
					if l.GetName() == want[i] && l.GetValue() == want[i+1] {
						matches++
					}
				}
			}
			if matches == len(want)/2 {
				return x.GetGauge().GetValue() + x.GetCounter().GetValue()
			}
		}
		t.Fatalf("%s has no series %v: %v", name, want, families[name])
		return 0
	}
	require.Equal(t, 1.0, value("waybill_promotions_total", "kind", "promote", "environment", "production", "outcome", "promoted"))
	require.Equal(t, 0.0, value("waybill_promotions_total", "kind", "promote", "environment", "production", "outcome", "rolled_back"), "there before the first one")
	require.Equal(t, 1.0, value("waybill_promotions_open", "environment", "production"))
	require.Equal(t, 1.0, value("waybill_gates_waiting", "environment", "production"))
	require.Equal(t, 1.0, value("waybill_rollouts_due"))
	require.InDelta(t, 3600, value("waybill_rollouts_due_seconds"), 60)
	require.Equal(t, 1.0, value("waybill_checkpoint_tenants", "environment", "production", "checkpoint", "yes"))
	require.Equal(t, 1.0, value("waybill_checkpoint_tenants", "environment", "production", "checkpoint", "no"))
	require.Equal(t, .8, value("waybill_tenant_storage_ratio", "tenant", "acme"))
	require.Equal(t, 1.0, value("waybill_router_up", "environment", "production"))
	require.Equal(t, 0.0, value("waybill_router_up", "environment", "test"))
}

func TestTenantsOfLargeEnvironmentsHaveNoSeries(t *testing.T) {
	seen := &seenCheckpoints{at: time.Now(), newest: map[string]map[string]checkpoint.Info{"big": {}}, without: map[string]int{"big": 0}}
	for i := range TenantsShown + 1 {
		seen.newest["big"][string(rune('a'+i%26))+strings.Repeat("x", i/26)] = checkpoint.Info{RecoveryPoint: time.Now()}
	}
	m := NewMetrics("test")
	m.Read(&Checkpoints{seen: seen, begun: time.Now()})
	families, _ := scrape(t, m)
	require.Nil(t, families["waybill_checkpoint_timestamp_seconds"])
	require.NotNil(t, families["waybill_checkpoint_oldest_timestamp_seconds"])
}
