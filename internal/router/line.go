package router

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// A client may be as slow as it likes, but not stand still: without these limits a few clients that
// stop in the middle keep Odoo's workers for ever. Waiting for Odoo itself has no limit.
const (
	readStall  = time.Minute
	writeStall = 5 * time.Minute
)

// clientLine sets deadlines on a client's connection. net/http uses the same deadlines once the
// handler has returned, so nothing may touch them after release.
type clientLine struct {
	mu       sync.Mutex
	out      *http.ResponseController
	released bool
	hungUp   bool
}

func (l *clientLine) set(read bool, deadline time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released || l.hungUp {
		return
	}
	// A connection without deadlines has no stall limit; there is nothing better to do about it.
	if read {
		_ = l.out.SetReadDeadline(deadline)
	} else {
		_ = l.out.SetWriteDeadline(deadline)
	}
}

// hangUp makes every read and write of the handler fail at once.
func (l *clientLine) hangUp() {
	past := time.Unix(1, 0)
	l.set(true, past)
	l.set(false, past)
	l.mu.Lock()
	l.hungUp = true
	l.mu.Unlock()
}

func (l *clientLine) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
}

// requestBody is a client's request body on its way to a pool. It remembers whether the client is
// to blame when it ends early. It leaves closing to the server, so that a request of which nothing
// was sent can be sent again.
type requestBody struct {
	io.Reader
	line *clientLine

	mu  sync.Mutex
	err error
}

func (b *requestBody) Close() error { return nil }

func (b *requestBody) Read(p []byte) (int, error) {
	b.line.set(true, time.Now().Add(readStall))
	n, err := b.Reader.Read(p)
	if err != nil {
		b.line.set(true, time.Time{})
		if !errors.Is(err, io.EOF) {
			b.mu.Lock()
			b.err = err
			b.mu.Unlock()
		}
	}
	return n, err
}

func (b *requestBody) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// answerBody is a pool's answer on its way to the client. Each time it has data, the client gets
// writeStall to take it; while it waits for the pool there is no deadline.
type answerBody struct {
	io.ReadCloser
	flight *flight
}

func (b *answerBody) Read(p []byte) (int, error) {
	b.flight.line.set(false, time.Time{})
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.flight.line.set(false, time.Now().Add(writeStall))
	} else if err != nil {
		b.flight.line.set(false, time.Time{})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.flight.broken = err
	}
	return n, err
}
