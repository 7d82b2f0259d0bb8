package api

import (
	"context"
	"sync"
	"time"
)

// sharedLimit is how long a reading may take that several wait for.
const sharedLimit = 30 * time.Second

// readings are those that are going on for requests. Hundreds of consoles ask for the same in one moment, when an event has told them
// that it is new: they have it read once.
type readings struct {
	mu sync.Mutex
	of map[string]*queue
}

func newReadings() *readings { return &readings{of: map[string]*queue{}} }

// queue is of those who ask for one thing: one reading goes on, and the next has not begun yet.
type queue struct{ next *reading }

type reading struct {
	done     chan struct{}
	value    any
	err      error
	panicked any
}

// shared reads what a key names, once for all who ask before the reading begins. Whoever asks while it goes on waits for the next one: so
// each sees what was committed before they asked, as if they had read it alone. read may not depend on who asks, and nobody may change
// what it returns. Nothing is kept.
func shared[T any](ctx context.Context, r *readings, key string, read func(context.Context) (T, error)) (T, error) {
	r.mu.Lock()
	q, goesOn := r.of[key]
	if !goesOn {
		q = &queue{}
		r.of[key] = q
	}
	if q.next == nil {
		q.next = &reading{done: make(chan struct{})}
	}
	mine := q.next
	if !goesOn {
		go r.run(context.WithoutCancel(ctx), key, q, func(ctx context.Context) (any, error) { return read(ctx) })
	}
	r.mu.Unlock()
	var none T
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case <-mine.done:
	}
	switch {
	case mine.panicked != nil:
		panic(mine.panicked) // in the request's own goroutine, where the server takes care of it
	case mine.err != nil:
		return none, mine.err
	}
	return mine.value.(T), nil
}

// run reads until nobody waits any more.
func (r *readings) run(ctx context.Context, key string, q *queue, read func(context.Context) (any, error)) {
	for {
		r.mu.Lock()
		now := q.next
		q.next = nil
		if now == nil {
			delete(r.of, key)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		now.read(ctx, read)
	}
}

func (x *reading) read(ctx context.Context, read func(context.Context) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, sharedLimit)
	defer cancel()
	defer close(x.done)
	defer func() { x.panicked = recover() }()
	x.value, x.err = read(ctx)
}
