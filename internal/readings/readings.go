// Package readings lets many who ask for the same in one moment have it read once. Hundreds of consoles do, when an event has told them that
// it is new.
//
// Whoever asks while a reading goes on waits for the next one: so each sees what was committed before they asked, as if they had read it
// alone. Nothing is kept.
package readings

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// limit is how long a reading may take that several wait for.
const limit = 30 * time.Second

// Readings are those that are going on.
type Readings struct {
	mu sync.Mutex
	of map[string]*queue
}

// New has none yet.
func New() *Readings { return &Readings{of: map[string]*queue{}} }

// queue is of those who ask for one thing: one reading goes on, and the next has not begun yet.
type queue struct{ next *reading }

type reading struct {
	ids      map[string]bool
	done     chan struct{}
	value    any
	err      error
	panicked any
}

// Shared reads what a key names, once for all who ask before the reading begins. read may not depend on who asks, and nobody may change
// what it returns.
func Shared[T any](ctx context.Context, r *Readings, key string, read func(context.Context) (T, error)) (T, error) {
	value, err := r.ask(ctx, key, "", func(ctx context.Context, _ []string) (any, error) { return read(ctx) })
	if err != nil {
		var none T
		return none, err
	}
	return value.(T), nil
}

// Row reads what has an ID, of what a key names, with what the others ask for in the same moment: read gets the IDs of all of them, each
// once. It says whether there is any.
func Row[T any](ctx context.Context, r *Readings, key, id string, read func(ctx context.Context, ids []string) (map[string]T, error)) (row T, found bool, err error) {
	value, err := r.ask(ctx, key, id, func(ctx context.Context, ids []string) (any, error) { return read(ctx, ids) })
	if err != nil {
		return row, false, err
	}
	row, found = value.(map[string]T)[id]
	return row, found, nil
}

func (r *Readings) ask(ctx context.Context, key, id string, read func(context.Context, []string) (any, error)) (any, error) {
	r.mu.Lock()
	q, goesOn := r.of[key]
	if !goesOn {
		q = &queue{}
		r.of[key] = q
	}
	if q.next == nil {
		q.next = &reading{ids: map[string]bool{}, done: make(chan struct{})}
	}
	mine := q.next
	mine.ids[id] = true
	if !goesOn {
		go r.run(context.WithoutCancel(ctx), key, q, read)
	}
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-mine.done:
	}
	if mine.panicked != nil {
		panic(mine.panicked) // in the request's own goroutine, where the server takes care of it
	}
	return mine.value, mine.err
}

// run reads until nobody waits any more.
func (r *Readings) run(ctx context.Context, key string, q *queue, read func(context.Context, []string) (any, error)) {
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

func (x *reading) read(ctx context.Context, read func(context.Context, []string) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer close(x.done)
	defer func() { x.panicked = recover() }()
	x.value, x.err = read(ctx, slices.Sorted(maps.Keys(x.ids)))
}
