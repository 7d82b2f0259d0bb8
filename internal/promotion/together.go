package promotion

import (
	"context"
	"errors"
	"sync"
)

// together lets those who ask for the same thing at the same time share one doing of it. Routers and pools are told everything each
// time, so when hundreds of tenants move at once, one telling serves all who asked before it began.
type together struct {
	mu   sync.Mutex
	now  map[string]*doing // under way
	next map[string]*doing // begins when the one under way has ended: that one may have looked too early for those who asked since
}

// doing is one doing of something, and what came of it once done is closed.
type doing struct {
	done  chan struct{}
	value int64
	err   error
}

var errUnfinished = errors.New("it came to no end")

func newDoing() *doing { return &doing{done: make(chan struct{})} }

// do returns what a call of f returned that began after do was called: its own, or that of somebody who asked at the same time.
func (t *together) do(ctx context.Context, what string, f func(context.Context) (int64, error)) (int64, error) {
	before, mine, leads := t.join(what)
	if !leads {
		select {
		case <-mine.done:
			if mine.err != nil && ctx.Err() == nil { // perhaps the time of whoever did it was up, and not ours
				return f(ctx)
			}
			return mine.value, mine.err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if before != nil {
		select {
		case <-before.done:
		case <-ctx.Done():
			mine.err = ctx.Err()
			t.end(what, mine)
			return 0, mine.err
		}
	}
	defer t.end(what, mine)
	mine.err = errUnfinished // of one that panics: those who wait for it do it themselves
	mine.value, mine.err = f(ctx)
	return mine.value, mine.err
}

// join finds the doing that serves who asks now: one that has not begun.
func (t *together) join(what string) (before, mine *doing, leads bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		t.now, t.next = map[string]*doing{}, map[string]*doing{}
	}
	before, mine = t.now[what], t.next[what]
	switch {
	case before == nil:
		mine = newDoing()
		t.now[what] = mine
		return nil, mine, true
	case mine == nil:
		mine = newDoing()
		t.next[what] = mine
		return before, mine, true
	}
	return before, mine, false
}

// end lets the next one begin, and those go on who waited for this one.
func (t *together) end(what string, mine *doing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch mine {
	case t.now[what]:
		delete(t.now, what)
		if next := t.next[what]; next != nil {
			delete(t.next, what)
			t.now[what] = next
		}
	case t.next[what]: // given up before its turn
		delete(t.next, what)
	}
	close(mine.done)
}
