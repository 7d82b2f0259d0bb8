package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/router"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/telemetry"
)

// telemetry begins to count, and to send traces where the environment names a collector. It listens where anybody may read
// metrics; nil where that was not asked for.
func (s *server) telemetry(ctx context.Context, holder string) (scraped net.Listener, err error) {
	s.metrics = telemetry.NewMetrics(s.config.Version)
	if s.watch, err = telemetry.NewWatch(ctx, s.metrics, s.store, s.config.Version, holder, s.log); err != nil {
		return nil, err
	}
	s.metrics.Read(
		&telemetry.State{Store: s.store, Log: s.log},
		&telemetry.Routers{Environments: s.routed, Stats: s.routerStats},
		&telemetry.Checkpoints{Tenants: func(ctx context.Context) ([]store.Tenant, error) { return s.store.Tenants(ctx, "") }, Newest: s.bucket.Newest,
			Begin: func(f func(context.Context)) { s.begin(f) }, Log: s.log},
	)
	if s.follower != nil {
		s.follower.Turned = s.metrics.Followed
	}
	if s.config.Metrics == "" {
		return nil, nil
	}
	if scraped, err = net.Listen("tcp", s.config.Metrics); err != nil {
		return nil, fmt.Errorf("listen on %s for metrics: %w. Something else uses this port; give another with --metrics", s.config.Metrics, err)
	}
	return scraped, nil
}

// stopTelemetry sends the traces that are left, after the last step has ended.
func (s *server) stopTelemetry(ctx context.Context) {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.watch.Stop(stop); err != nil {
		s.log.Warn("send the last traces", "error", err)
	}
}

// serveMetrics answers scrapes without a token, until ctx is done.
func (s *server) serveMetrics(ctx context.Context, listener net.Listener) error {
	if listener == nil {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics.Handler())
	scraped := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	s.log.Info("metrics for anybody", "url", "http://"+listener.Addr().String()+"/metrics")
	ended := make(chan error, 1)
	go func() { ended <- scraped.Serve(listener) }()
	select {
	case err := <-ended:
		if !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
	case <-ctx.Done():
		_ = scraped.Close()
		<-ended
	}
	return nil
}

// routed are the environments that this server has looked up, each with what runs it. The estate is not read for it: that takes
// seconds where it has thousands of tenants.
func (s *server) routed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.runtimes))
}

func (s *server) routerStats(ctx context.Context, environment string) (router.Stats, error) {
	s.mu.Lock()
	runs := s.runtimes[environment]
	s.mu.Unlock()
	return runs.Router(environment).Stats(ctx)
}
