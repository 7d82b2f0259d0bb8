package router

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAdded measures what the router adds to a request: 100 clients with kept connections
// against a trivial pool over loopback, directly and through the router in turn, in one run.
func BenchmarkAdded(b *testing.B) {
	pool := &http.Server{Handler: http.HandlerFunc(hello)}
	l, err := listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = pool.Serve(l) }()
	defer pool.Close()
	dir := b.TempDir()
	s, err := start(Config{HTTP: "127.0.0.1:0", Admin: filepath.Join(dir, "a.sock"), State: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	address := l.Addr().String()
	if err := s.control.Apply(b.Context(), Table{Environment: "bench", Generation: 1, Tenants: []Tenant{
		{Name: "acme", Hosts: []string{host}, Mode: Open, Stable: Upstream{Pool: "p", Web: address}}}}); err != nil {
		b.Fatal(err)
	}

	for _, c := range []struct {
		name    string
		clients int
	}{{"clients=1", 1}, {"clients=100", 100}} {
		b.Run(c.name, func(b *testing.B) {
			var direct, through []time.Duration
			for b.Loop() {
				direct = append(direct, round(b, address, c.clients)...)
				through = append(through, round(b, s.http.Addr().String(), c.clients)...)
			}
			d50, d99 := quantiles(direct)
			r50, r99 := quantiles(through)
			b.ReportMetric(d50, "direct-p50-ms")
			b.ReportMetric(r50, "router-p50-ms")
			b.ReportMetric(r50-d50, "added-p50-ms")
			b.ReportMetric(d99, "direct-p99-ms")
			b.ReportMetric(r99, "router-p99-ms")
			b.ReportMetric(r99-d99, "added-p99-ms")
			b.ReportMetric(r50/d50, "ratio-p50")
			b.ReportMetric(r99/d99, "ratio-p99")
		})
	}
}

const perRound = 2000

// round sends perRound requests from so many clients and returns how long each took.
func round(b *testing.B, address string, clients int) []time.Duration {
	transport := &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}
	defer transport.CloseIdleConnections()
	took := make([]time.Duration, perRound)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := next.Add(1); i <= perRound; i = next.Add(1) {
				req, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Host = host
				began := time.Now()
				res, err := transport.RoundTrip(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				took[i-1] = time.Since(began)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Errorf("%s: %v", res.Status, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return took
}

func quantiles(d []time.Duration) (p50, p99 float64) {
	slices.Sort(d)
	ms := func(q float64) float64 { return float64(d[int(q*float64(len(d)-1))]) / float64(time.Millisecond) }
	return ms(.5), ms(.99)
}
