package router

import (
	"context"
	"net"
	"net/http"
	"time"
)

// DefaultMaxHeld is how many requests wait at most in all held tenants together.
const DefaultMaxHeld = 10000

type connKey struct{}

// withConn lets held requests watch their connection; see http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

const goneCheck = time.Second

// hold lets a request wait until the table changes and returns true, or answers it and returns false.
// The request's body is not read meanwhile: it waits at the client.
func (p *proxy) hold(w http.ResponseWriter, r *http.Request, current *routes, rt *route, first *time.Time) bool {
	if first.IsZero() {
		*first = time.Now()
		if p.held.Add(1) > p.maxHeld {
			p.held.Add(-1)
			*first = time.Time{}
			busy("Too many requests wait for the update to end. Please try again in a moment.").write(w, r)
			return false
		}
		rt.tenant.held.Add(1)
		rt.tenant.heldTotal.Add(1)
	}
	expiry := time.NewTimer(time.Until(rt.HoldUntil))
	defer expiry.Stop()
	var check <-chan time.Time
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		// net/http notices that an HTTP/1 client is gone only once it has read the whole body. (Neither
		// way sees it while the client's kernel still has more to send than the sockets take.)
		ticker := time.NewTicker(goneCheck)
		defer ticker.Stop()
		check = ticker.C
	}
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	for {
		select {
		case <-current.changed:
			return true
		case <-r.Context().Done():
			return false
		case <-check:
			if peerGone(conn) {
				return false
			}
		case <-expiry.C:
			select {
			case <-current.changed: // the release came in the same moment
				return true
			default:
			}
			rt.tenant.heldExpired.Add(1)
			frozen(&rt.Tenant).write(w, r)
			return false
		}
	}
}

// unhold ends a wait that hold began.
func (p *proxy) unhold(t *tenant, first *time.Time) {
	if first.IsZero() {
		return
	}
	t.waited(time.Since(*first))
	*first = time.Time{}
	t.held.Add(-1)
	p.held.Add(-1)
}
