package router

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// errCut is the cause of a request's end when a drain did not wait for it any longer.
var errCut = errors.New("cut off by the router")

// errClosed is the cause of a WebSocket's end when the server or a stop asked for it.
var errClosed = errors.New("closed by the router")

// flight is one request, or one WebSocket, on its way through a pool.
type flight struct {
	tenant    *tenant
	pool      *pool
	address   string
	conn      net.Conn    // to the pool
	dialled   atomic.Bool // the transport has the connection
	websocket bool
	bucket    int
	tell      bool // the client does not know its bucket yet
	body      *requestBody

	ctx    context.Context
	cancel context.CancelCauseFunc
	line   *clientLine
	done   chan struct{}

	began    time.Time
	answered time.Time // when the head of the pool's answer was there
	status   int       // of the pool's answer; 0: none
	err      error     // why there was no answer
	broken   error     // why the answer's body ended early
}

// enter registers a flight unless current is no longer the table in force. Drain takes the same
// lock after a table was replaced, so a request either follows the new table or is seen by Drain.
func (f *flight) enter(inForce func() bool) bool {
	f.tenant.mu.Lock()
	defer f.tenant.mu.Unlock()
	if !inForce() {
		return false
	}
	f.tenant.flights[f] = struct{}{}
	return true
}

func (f *flight) leave() {
	f.tenant.mu.Lock()
	delete(f.tenant.flights, f)
	f.tenant.mu.Unlock()
	f.cancel(nil)
	_ = f.conn.Close() // again, unless the transport never took it
	f.line.release()
	close(f.done)
}

func (f *flight) wasCut() bool {
	cause := context.Cause(f.ctx)
	return errors.Is(cause, errCut) || errors.Is(cause, errClosed)
}

func (t *tenant) flying(want func(*flight) bool) []*flight {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*flight
	for f := range t.flights {
		if want(f) {
			found = append(found, f)
		}
	}
	return found
}

// drain waits for the requests that are in flight now; no new ones can come to where it is used.
func (t *tenant) drain(ctx context.Context, limit time.Duration, want func(*flight) bool) (int, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for i, flights := 0, t.flying(want); i < len(flights); i++ {
		select {
		case <-flights[i].done:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timer.C:
			return cut(flights[i:]), nil
		}
	}
	return 0, nil
}

const (
	cutGrace = time.Second     // for a request that is cut off to say so to its client
	cutLimit = 5 * time.Second // for its handler to end once its client's line is cut, too
)

// cut ends the flights that are not over yet and returns how many those were.
func cut(flights []*flight) int {
	n := 0
	for _, f := range flights {
		select {
		case <-f.done:
		default:
			n++
			f.cancel(errCut)
		}
	}
	polite := time.NewTimer(cutGrace)
	defer polite.Stop()
	for i, f := range flights {
		select {
		case <-f.done:
		case <-polite.C:
			// They hang on clients that take or send nothing: only the line is left to cut.
			for _, g := range flights[i:] {
				g.line.hangUp()
			}
			last := time.NewTimer(cutLimit)
			defer last.Stop()
			for _, g := range flights[i:] {
				select {
				case <-g.done:
				case <-last.C:
					return n
				}
			}
			return n
		}
	}
	return n
}
