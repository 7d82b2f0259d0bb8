package router

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAdded measures what the router adds to a request, against no router and against Go's own
// reverse proxy with as many connections to the pool as Odoo leaves open after a request: none. All
// three take turns in one run, over loopback, clients, proxies and pool on the same cores.
//
// With work, each request takes the pool that long, as an ERP's does, and the clients leave the
// machine some room. Without, all of them push as hard as two cores allow: there a request's time is
// that of the whole queue, and tells how much of a processor each one costs.
func BenchmarkAdded(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
		work    time.Duration
	}{{"clients=1", 1, 0}, {"clients=100/work=100ms", 100, 100 * time.Millisecond}, {"clients=100/saturated", 100, 0}} {
		b.Run(c.name, func(b *testing.B) {
			pool := serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(c.work/2 + rand.N(c.work+1)) // spread, else all clients would go in step
				hello(w, r)
			}))
			stock := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: pool})
			stock.Transport = &http.Transport{DisableKeepAlives: true}
			peer := serve(b, stock)
			dir := b.TempDir()
			s, err := start(Config{HTTP: "127.0.0.1:0", Admin: filepath.Join(dir, "a.sock"), State: dir})
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			if err := s.control.Apply(b.Context(), Table{Environment: "bench", Generation: 1, Tenants: []Tenant{
				{Name: "acme", Hosts: []string{host}, Mode: Open, Stable: Upstream{Pool: "p", Web: pool}}}}); err != nil {
				b.Fatal(err)
			}
			var direct, other, through []time.Duration
			for b.Loop() {
				direct = append(direct, round(b, pool, c.clients)...)
				other = append(other, round(b, peer, c.clients)...)
				through = append(through, round(b, s.http.Addr().String(), c.clients)...)
			}
			d50, d99 := quantiles(direct)
			o50, o99 := quantiles(other)
			r50, r99 := quantiles(through)
			b.ReportMetric(d50, "direct-p50-ms")
			b.ReportMetric(d99, "direct-p99-ms")
			b.ReportMetric(r50-d50, "added-p50-ms")
			b.ReportMetric(r99-d99, "added-p99-ms")
			b.ReportMetric(o50-d50, "stock-added-p50-ms")
			b.ReportMetric(o99-d99, "stock-added-p99-ms")
			b.ReportMetric(r50/o50, "ratio-to-stock-p50")
			b.ReportMetric(r99/o99, "ratio-to-stock-p99")
		})
	}
}

// serve runs a server on loopback until the benchmark ends and returns its address.
func serve(b *testing.B, h http.Handler) string {
	b.Helper()
	l, err := listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

const perRound = 4000

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
