package store

import (
	"context"
	"sync"
	"time"
)

// gatherLimit is how long a query may take that several wait for.
const gatherLimit = 30 * time.Second

// gathering reads what many ask for in one moment, one of each, by one query for all who wait. Whoever asks while a query goes on is in
// the next one: so each sees what was committed before they asked, as if they had read it alone. Nothing is kept.
type gathering[T any] struct {
	read func(ctx context.Context, ids []string) (map[string]T, error)

	mu     sync.Mutex
	next   *gathered[T] // nil: nobody waits but for the query that goes on
	goesOn bool
}

type gathered[T any] struct {
	ids  map[string]bool
	done chan struct{}
	rows map[string]T
	err  error
}

// one reads what has an ID; ErrNotFound where nothing has.
func (g *gathering[T]) one(ctx context.Context, id string) (row T, err error) {
	g.mu.Lock()
	if g.next == nil {
		g.next = &gathered[T]{ids: map[string]bool{}, done: make(chan struct{})}
	}
	mine := g.next
	mine.ids[id] = true
	if !g.goesOn {
		g.goesOn = true
		go g.run(context.WithoutCancel(ctx))
	}
	g.mu.Unlock()
	select {
	case <-ctx.Done():
		return row, ctx.Err()
	case <-mine.done:
	}
	if mine.err != nil {
		return row, mine.err
	}
	row, found := mine.rows[id]
	if !found {
		return row, ErrNotFound
	}
	return row, nil
}

// run reads until nobody waits any more.
func (g *gathering[T]) run(ctx context.Context) {
	for {
		g.mu.Lock()
		now := g.next
		g.next = nil
		if g.goesOn = now != nil; !g.goesOn {
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		ids := make([]string, 0, len(now.ids))
		for id := range now.ids {
			ids = append(ids, id)
		}
		bounded, cancel := context.WithTimeout(ctx, gatherLimit)
		now.rows, now.err = g.read(bounded, ids)
		cancel()
		close(now.done)
	}
}
