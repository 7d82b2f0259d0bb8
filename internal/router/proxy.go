package router

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// proxy answers the tenants' requests by the table in force.
type proxy struct {
	log     *slog.Logger
	routes  atomic.Pointer[routes] // never nil; without a table it has no host
	held    atomic.Int64
	maxHeld int64
	queued  atomic.Int64 // requests that wait to be connected to their pool
	retried atomic.Int64 // times that a request was to try again, because its pool was away
	dialer  dialer
	reverse *httputil.ReverseProxy

	refusedBudget time.Duration
}

type flightKey struct{}

func newProxy(log *slog.Logger, maxHeld int) *proxy {
	p := &proxy{log: log, maxHeld: int64(maxHeld), dialer: dialer{gates: map[string]*gate{}}, refusedBudget: refusedBudget}
	p.routes.Store(&routes{changed: make(chan struct{})})
	p.reverse = &httputil.ReverseProxy{
		Transport:      newTransport(),
		Rewrite:        rewrite,
		ModifyResponse: answered,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			r.Context().Value(flightKey{}).(*flight).err = err
		},
		// FlushInterval stays 0: answers of unknown length are flushed as they come, others by the buffer.
		BufferPool: &buffers{sync.Pool{New: func() any { return new([bufferSize]byte) }}},
		ErrorLog:   slog.NewLogLogger(log.Handler(), slog.LevelDebug), // the flight has the error already
	}
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		answer{http.StatusMethodNotAllowed, "Not a proxy for other addresses", "CONNECT is not served here.", 0}.write(w, r)
		return
	}
	host, _ := hostKey(r.Host)
	upgrade := wantsUpgrade(r)
	var (
		heldSince, downSince time.Time
		heldIn               *tenant
		repeated             bool // after a pool hung up
		again                = dialAgainMin
	)
	defer func() { // also when a handler panics to abort the connection
		if heldIn != nil {
			p.unhold(heldIn, &heldSince)
		}
	}()
	for {
		current := p.routes.Load()
		rt := current.hosts[host]
		if heldIn != nil && (rt == nil || rt.Mode != Hold || rt.tenant != heldIn) {
			p.unhold(heldIn, &heldSince)
			heldIn = nil
		}
		switch {
		case current.table.Generation == 0:
			busy("This router has no routes yet. It gets them from the Waybill server.").write(w, r)
			return
		case rt == nil:
			unknownHost(r.Host).write(w, r)
			return
		case rt.Mode == Freeze, rt.Mode == Hold && (upgrade || heldSince.IsZero() && !time.Now().Before(rt.HoldUntil)):
			rt.tenant.frozen.Add(1)
			frozen(&rt.Tenant).write(w, r)
			return
		case rt.Mode == Hold:
			heldIn, downSince, again = rt.tenant, time.Time{}, dialAgainMin
			if !p.hold(w, r, current, rt, &heldSince) {
				return
			}
			continue
		}

		if p.queued.Add(1) > p.maxHeld {
			p.queued.Add(-1)
			busy("Too many requests wait for the application. Please try again in a moment.").write(w, r)
			return
		}
		f := p.newFlight(w, r, rt, upgrade)
		var dial *dialError
		conn, err := p.dialer.dial(r.Context(), f.address, current.changed)
		p.queued.Add(-1)
		switch {
		case err == nil:
			f.conn = conn
			if !f.enter(func() bool { return p.routes.Load() == current }) {
				f.cancel(nil)
				_ = conn.Close() // nothing was sent over it
				continue
			}
			if !p.forward(w, r, f, !repeated) {
				return
			}
			repeated = true
		case errors.Is(err, errChanged):
			f.cancel(nil)
			continue
		case r.Context().Err() != nil || !errors.As(err, &dial):
			f.cancel(nil)
			f.pool.count(0, time.Since(f.began), false)
			return
		default:
			f.cancel(nil)
			if downSince.IsZero() {
				downSince = f.began
			}
			if dial.timeout || time.Since(downSince) >= p.refusedBudget {
				f.pool.count(http.StatusBadGateway, time.Since(f.began), true)
				p.log.Warn("request failed", "tenant", f.tenant.name, "pool", f.pool.name, "method", r.Method, "path", r.URL.Path, "error", err)
				noAnswer(http.StatusBadGateway, "The application cannot be reached at the moment. Nothing was sent to it.").write(w, r)
				return
			}
		}
		// Wait for the pool to come back, or for another table.
		p.retried.Add(1)
		wait := time.NewTimer(again)
		again = min(2*again, dialAgainMax)
		select {
		case <-wait.C:
		case <-current.changed:
		case <-r.Context().Done():
		}
		wait.Stop()
	}
}

func (p *proxy) newFlight(w http.ResponseWriter, r *http.Request, rt *route, upgrade bool) *flight {
	f := &flight{
		tenant: rt.tenant, websocket: upgrade, began: time.Now(), done: make(chan struct{}),
		line: &clientLine{out: http.NewResponseController(w)},
	}
	f.bucket, f.tell = bucketOf(r)
	target, upstream := rt.pick(f.bucket)
	f.pool, f.address = target, upstream.addressFor(r.URL.Path)
	f.ctx, f.cancel = context.WithCancelCause(r.Context())
	return f
}

// forward sends the request to its pool. It returns true when it may be sent again: it is safe to
// repeat (RFC 9110, 9.2.2), mayRepeat says so, and the pool hung up without a word, as one does that
// stops with connections in its backlog.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request, f *flight, mayRepeat bool) (repeat bool) {
	whole := false
	defer func() {
		if !repeat {
			p.record(r, f, whole)
		}
		f.leave()
	}()
	out := r.WithContext(context.WithValue(f.ctx, flightKey{}, f))
	if r.Body != nil && r.ContentLength != 0 {
		f.body = &requestBody{Reader: r.Body, line: f.line}
		out.Body = f.body
	}
	p.reverse.ServeHTTP(w, out)
	whole = true
	if f.err == nil {
		f.line.set(false, time.Time{})
		return false
	}
	switch {
	case r.Context().Err() != nil: // nobody is there to tell
	case f.wasCut():
		f.status = http.StatusServiceUnavailable
		busy("This request took longer than the update could wait for it, and was cut off. Check whether it took effect before you repeat it.").write(w, r)
	case mayRepeat && f.status == 0 && f.body == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) && hungUp(f.err):
		return true
	case f.body != nil && f.body.failure() != nil:
		f.status = http.StatusBadRequest
		if ne := net.Error(nil); errors.As(f.body.failure(), &ne) && ne.Timeout() {
			f.status = http.StatusRequestTimeout
		}
		answer{f.status, "The request did not arrive whole", "The request ended, or stood still, before all of it was here.", 0}.write(w, r)
	default:
		f.status = http.StatusBadGateway
		noAnswer(f.status, "The application closed the connection before it answered. Check whether the request took effect before you repeat it.").write(w, r)
	}
	return false
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// record counts a flight that is over. whole is false when its answer was aborted half-way.
func (p *proxy) record(r *http.Request, f *flight, whole bool) {
	if f.status == http.StatusSwitchingProtocols {
		return
	}
	took := time.Since(f.began)
	if !f.answered.IsZero() {
		took = f.answered.Sub(f.began)
	}
	cutOff := !whole && (f.broken != nil || f.wasCut())
	failed := f.status >= 500 || cutOff
	if r.Context().Err() != nil && !f.wasCut() && f.status < 500 {
		failed, cutOff = false, false // the client left
	}
	f.pool.count(f.status, took, failed)
	if failed && (f.err != nil || f.broken != nil) {
		p.log.Warn("request failed", "tenant", f.tenant.name, "pool", f.pool.name, "upstream", f.address,
			"method", r.Method, "path", r.URL.Path, "status", f.status, "cut", cutOff, "error", errors.Join(f.err, f.broken))
	}
}

func rewrite(pr *httputil.ProxyRequest) {
	f := pr.In.Context().Value(flightKey{}).(*flight)
	pr.Out.URL.Scheme = "http"
	pr.Out.URL.Host = f.address
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // Odoo gets to see what the client wrote
	pr.Out.Trailer = nil                     // WSGI has none; and headers must not come in by that way
	cleanHeader(pr.Out.Header)
	setProxyHeaders(pr.Out.Header, pr.In)
	pr.Out.Header.Set("X-Waybill-Bucket", strconv.Itoa(f.bucket)) // the bridge gives cookies only where no router does
}

func answered(res *http.Response) error {
	f := res.Request.Context().Value(flightKey{}).(*flight)
	f.status, f.answered = res.StatusCode, time.Now()
	if f.tell {
		res.Header.Add("Set-Cookie", bucketCookie(f.bucket, res.Request.Header.Get("X-Forwarded-Proto") == "https").String())
	}
	if res.StatusCode != http.StatusSwitchingProtocols { // there the body is the connection itself
		res.Body = &answerBody{res.Body, f}
	}
	return nil
}

const bufferSize = 32 << 10

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte  { return b.pool.Get().(*[bufferSize]byte)[:] }
func (b *buffers) Put(s []byte) { b.pool.Put((*[bufferSize]byte)(s)) }
