package router

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"
)

// proxy answers the tenants' requests by the table in force.
type proxy struct {
	log       *slog.Logger
	routes    atomic.Pointer[routes] // never nil; without a table it has no host
	held      atomic.Int64
	maxHeld   int64
	retried   atomic.Int64 // times that a pool was not reached and a request tried again
	transport *transport

	refusedBudget, crowdedBudget time.Duration
	reverse                      *httputil.ReverseProxy
}

type flightKey struct{}

func newProxy(log *slog.Logger, maxHeld int) *proxy {
	p := &proxy{log: log, maxHeld: int64(maxHeld), transport: newTransport(), refusedBudget: refusedBudget, crowdedBudget: crowdedBudget}
	p.routes.Store(&routes{changed: make(chan struct{})})
	p.reverse = &httputil.ReverseProxy{
		Transport:      p.transport,
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

		f := p.newFlight(w, r, rt, upgrade)
		if !f.enter(func() bool { return p.routes.Load() == current }) {
			f.cancel(nil)
			continue
		}
		if downSince.IsZero() {
			downSince = f.began
		}
		if !p.forward(w, r, f, time.Since(downSince)) {
			return
		}
		// The pool was not reached and nothing was sent: wait for it, or for another table.
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

// forward sends the request to its pool. It returns true when the pool could not be reached and
// the request may try again.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request, f *flight, down time.Duration) (retry bool) {
	whole := false
	defer func() {
		if !retry {
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

	var dial *dialError
	switch {
	case r.Context().Err() != nil: // nobody is there to tell
	case f.wasCut():
		f.status = http.StatusServiceUnavailable
		busy("This request took longer than the update could wait for it, and was cut off. Check whether it took effect before you repeat it.").write(w, r)
	case errors.As(f.err, &dial):
		if down < p.refusedBudget || dial.timeout && down < p.crowdedBudget {
			p.retried.Add(1)
			return true
		}
		f.status = http.StatusBadGateway
		noAnswer(f.status, "The application cannot be reached at the moment. Nothing was sent to it.").write(w, r)
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
