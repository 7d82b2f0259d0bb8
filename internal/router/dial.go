package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	resolveLimit  = 2 * time.Second
	dialTry       = 100 * time.Millisecond // of one SYN; see dialer
	dialLong      = time.Second            // of every tenth, should the network itself be slow
	dialsAtOnce   = 4                      // to one address
	dialAgainMin  = 25 * time.Millisecond
	dialAgainMax  = 500 * time.Millisecond
	refusedBudget = 10 * time.Second // how long a pool may be away before its requests fail
	crowdedBudget = time.Minute      // how long the first in the queue waits to be let in
)

// errChanged says that another table came into force before the pool was reached.
var errChanged = errors.New("another table is in force")

// dialError is a failure to reach a pool: nothing was sent, so the request can be sent again.
type dialError struct {
	address string
	err     error
	timeout bool
}

func (e *dialError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.address, e.err) }
func (e *dialError) Unwrap() error { return e.err }

// dialer opens connections to pools, first come, first served. Odoo with workers listens with a
// backlog of eight a worker. When a hold ends with hundreds of requests waiting, Linux drops the SYNs
// beyond it and repeats them after 1, 3, 7 … seconds: the workers idle, and the unlucky wait for ever.
// So few dial at once and ask again quickly, and the others queue behind them in the router, where a
// new table still finds them: they are not in flight before they are connected.
type dialer struct {
	mu    sync.Mutex
	gates map[string]*gate
}

type gate struct {
	slots chan struct{} // Go lets blocked senders in by order of arrival
	users int
}

// dial connects to host:port. The name is looked up each time: a container may come back with
// another address.
func (d *dialer) dial(ctx context.Context, address string, changed <-chan struct{}) (net.Conn, error) {
	g := d.take(address)
	defer d.give(address, g)
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-changed:
		return nil, errChanged
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	targets, err := resolve(ctx, address)
	if err != nil {
		return nil, &dialError{address, err, false}
	}
	began := time.Now()
	refused := 0
	for i := 0; ; i++ {
		try := net.Dialer{Timeout: dialTry}
		if i%10 == 9 {
			try.Timeout = dialLong
		}
		conn, err := try.DialContext(ctx, "tcp", targets[i%len(targets)])
		if err == nil {
			return conn, nil
		}
		var ne net.Error
		timeout := errors.As(err, &ne) && ne.Timeout()
		if !timeout {
			refused++
		}
		select {
		case <-changed:
			return nil, errChanged
		default:
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case refused == len(targets), time.Since(began) > crowdedBudget:
			return nil, &dialError{address, err, timeout}
		}
	}
}

func resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{address}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	hosts, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, err
	}
	for i := range hosts {
		hosts[i] = net.JoinHostPort(hosts[i], port)
	}
	return hosts, nil
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
