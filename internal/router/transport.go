package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	dialLimit     = 2 * time.Second        // of one attempt to reach a pool
	dialTry       = 250 * time.Millisecond // of one SYN; see dialer
	dialsAtOnce   = 64                     // to one address
	dialAgainMin  = 25 * time.Millisecond
	dialAgainMax  = 500 * time.Millisecond
	refusedBudget = 10 * time.Second // how long a pool may be away before its requests fail
	crowdedBudget = time.Minute      // how long it may be there and accept nobody
)

// dialError is a failure to reach a pool: nothing was sent, so the request can be sent again.
type dialError struct {
	address string
	err     error
	timeout bool
}

func (e *dialError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.address, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// dialer opens connections to pools. Odoo with workers listens with a backlog of eight a worker;
// when a hold ends with hundreds of requests waiting, Linux drops the SYNs beyond it and repeats
// them after 1, 3, 7 … seconds. So each asks again quickly (400 requests over two workers: 5 s, not
// 19 s), and only some do at once.
type dialer struct {
	mu    sync.Mutex
	gates map[string]*gate
}

type gate struct {
	slots chan struct{}
	users int
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	g := d.take(address)
	defer d.give(address, g)
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return nil, &dialError{address, context.Cause(ctx), true}
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	for {
		try := net.Dialer{Timeout: dialTry, KeepAlive: 15 * time.Second}
		conn, err := try.DialContext(ctx, network, address)
		if err == nil {
			return conn, nil
		}
		var ne net.Error
		timeout := errors.As(err, &ne) && ne.Timeout()
		if !timeout || ctx.Err() != nil {
			return nil, &dialError{address, err, timeout}
		}
	}
}

func (d *dialer) take(address string) *gate {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.gates[address]
	if g == nil {
		g = &gate{slots: make(chan struct{}, dialsAtOnce)}
		d.gates[address] = g
	}
	g.users++
	return g
}

func (d *dialer) give(address string, g *gate) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.users--; g.users == 0 {
		delete(d.gates, address)
	}
}

// transport sends requests to pools. Only what may be sent twice goes over kept connections:
// a pool that stops closes those under our feet, and a POST on one of them could not be repeated.
// (Odoo itself closes each connection after its answer: a worker must not wait for an idle one.)
type transport struct {
	kept  *http.Transport
	fresh *http.Transport
}

func newTransport() *transport {
	d := &dialer{gates: map[string]*gate{}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	build := func() *http.Transport {
		return &http.Transport{
			DialContext:            d.dial,
			Protocols:              protocols,
			DisableCompression:     true, // bytes pass as they are
			MaxIdleConnsPerHost:    128,
			IdleConnTimeout:        30 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			WriteBufferSize:        32 << 10,
			ReadBufferSize:         32 << 10,
		}
	}
	t := &transport{kept: build(), fresh: build()}
	t.fresh.DisableKeepAlives = true
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Upgrade") == "" {
		return t.kept.RoundTrip(r)
	}
	return t.fresh.RoundTrip(r)
}

func (t *transport) closeIdle() { t.kept.CloseIdleConnections() }
