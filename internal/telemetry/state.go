package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/internal/store"
)

// stateFor is how long an answer of the store is good for: several who scrape ask it once.
const stateFor = 2 * time.Second

// stateLimit bounds the question; a scrape gives up after ten seconds.
const stateLimit = 5 * time.Second

// TenantsShown is how many tenants of an environment have series of their own. Where there are more, none has: those
// would be thousands, and an arbitrary part of them would say nothing. Sums and extremes over all are always there.
const TenantsShown = 200

// State collects what the store says, when somebody scrapes.
type State struct {
	Store *store.Store
	Log   *slog.Logger

	mu      sync.Mutex
	at      time.Time
	figures store.Figures
	err     error
}

// Describe implements prometheus.Collector.
func (s *State) Describe(to chan<- *prometheus.Desc) {
	to <- desc("waybill_store_up")
	for _, m := range catalogue {
		if m.origin == fromStore {
			to <- desc(m.name)
		}
	}
}

func (s *State) read() (store.Figures, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) < stateFor {
		return s.figures, s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stateLimit)
	defer cancel()
	s.figures, s.err = s.Store.Figures(ctx)
	s.at = time.Now()
	return s.figures, s.err
}

// Collect implements prometheus.Collector.
func (s *State) Collect(to chan<- prometheus.Metric) {
	f, err := s.read()
	if err != nil {
		s.Log.Warn("read the figures for metrics", "error", err)
		to <- number("waybill_store_up", 0)
		return
	}
	to <- number("waybill_store_up", 1)
	to <- number("waybill_store_bytes", float64(f.Work.DatabaseBytes))
	s.promotions(f, to)
	for _, list := range []struct {
		name   string
		counts []store.StateCount
		state  bool
	}{
		{"waybill_rollouts_open", f.Rollouts, true}, {"waybill_gates_waiting", f.Gates, false}, {"waybill_jobs", f.Jobs, true},
		{"waybill_quarantined_releases", f.Quarantine, false}, {"waybill_reviews_open", f.Reviews, false}, {"waybill_vulnerabilities", f.Advisories, true},
		{"waybill_tenants", f.Tenants, false}, {"waybill_isolation_verdict", f.Isolation, true}, {"waybill_drifts", f.Drifts, true},
	} {
		for _, c := range list.counts {
			values := []string{c.Environment}
			if list.state {
				values = append(values, c.State)
			}
			to <- number(list.name, float64(c.Count), values...)
		}
	}
	to <- number("waybill_leases", float64(f.Work.Leases), "held")
	to <- number("waybill_leases", float64(f.Work.Lapsed), "lapsed")
	to <- number("waybill_rollouts_due", float64(f.Work.Due))
	to <- number("waybill_rollouts_due_seconds", f.Work.DueSeconds)
	to <- number("waybill_person_waiting_seconds", f.Work.PersonSeconds)
	to <- number("waybill_jobs_ready_seconds", max(f.Work.QueueSeconds, 0)) // a job of this very moment may be ahead of the clock
	to <- number("waybill_rehearsals_open", float64(f.Work.Rehearsals))
	to <- number("waybill_ledger_entries_total", float64(f.Ledger.Entries))
	to <- number("waybill_ledger_unchained", float64(f.Ledger.Unchained))
	to <- number("waybill_ledger_lag_seconds", f.Ledger.LagSeconds)
	to <- number("waybill_ledger_uncovered", float64(f.Ledger.Uncovered))
	if f.Ledger.HeadAt != nil {
		to <- number("waybill_ledger_head_timestamp_seconds", seconds(*f.Ledger.HeadAt))
	}
	to <- number("waybill_notifications_pending", float64(f.Notices.Pending))
	to <- number("waybill_notifications_pending_seconds", f.Notices.LateBy)
	to <- number("waybill_notifications_given_up", float64(f.Notices.GivenUp))
	to <- number("waybill_git_problem", truth(f.Estate.Problem))
	to <- number("waybill_git_blocked", float64(f.Estate.Blocked))
	to <- number("waybill_git_reversals_pending", float64(f.Estate.Reversals))
	shown := map[string]int{}
	for _, u := range f.Usage {
		shown[u.Environment]++
	}
	for _, u := range f.Usage {
		if shown[u.Environment] <= TenantsShown {
			to <- number("waybill_tenant_storage_ratio", u.Share(), u.Environment, u.Tenant)
		}
	}
}

// promotions shows the outcomes of promoting in every environment from the first on, so that the first failure is an
// increase and not a series that appears at 1.
func (s *State) promotions(f store.Figures, to chan<- prometheus.Metric) {
	type key struct{ kind, environment, outcome string }
	ended, open := map[key]int64{}, map[key]int64{}
	for _, t := range f.Tenants {
		for _, outcome := range []string{store.Promoted, store.RolledBack, "halted"} {
			ended[key{"promote", t.Environment, outcome}] = 0
		}
		open[key{"promote", t.Environment, ""}] = 0
	}
	for _, p := range f.Promotions {
		if p.Outcome == "" {
			open[key{p.Kind, p.Environment, ""}] += p.Count
		} else {
			ended[key{p.Kind, p.Environment, p.Outcome}] += p.Count
		}
	}
	for k, n := range ended {
		to <- number("waybill_promotions_total", float64(n), k.kind, k.environment, k.outcome)
	}
	for k, n := range open {
		to <- number("waybill_promotions_open", float64(n), k.kind, k.environment)
	}
}

// number is one value of a counter or a gauge.
func number(name string, value float64, labelValues ...string) prometheus.Metric {
	as := prometheus.GaugeValue
	if find(name).kind == counter {
		as = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(desc(name), as, value, labelValues...)
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
