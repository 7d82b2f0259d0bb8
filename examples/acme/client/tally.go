package client

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// maxRequests bounds how many requests a Tally remembers one by one; beyond that the oldest go.
const maxRequests = 200_000

// Request is one request that was made.
type Request struct {
	What    string // "login", or model.method
	Bucket  int
	Started time.Time
	Took    time.Duration
	Err     error // nil: answered as it should be
}

// Tally counts requests. It is safe for concurrent use.
type Tally struct {
	mu       sync.Mutex
	requests []Request
	lost     int // dropped from the front of requests
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{} }

func (t *Tally) add(r Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.requests) == maxRequests {
		t.requests = slices.Delete(t.requests, 0, maxRequests/10)
		t.lost += maxRequests / 10
	}
	t.requests = append(t.requests, r)
}

// Mark is a moment in a tally.
type Mark int

// Mark returns this moment: what is counted later belongs to Since(mark).
func (t *Tally) Mark() Mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Mark(t.lost + len(t.requests))
}

// Count sums up requests.
type Count struct {
	Requests   int
	Failed     int           // no answer in time, a status other than 2xx, an exception of Odoo, a lost session
	Collided   int           // rolled back because another transaction was faster, and tried again: not a failure
	TurnedAway int           // asked to come back later, where people do: not a failure
	LoggedOut  int           // of the failed: the session was gone
	Slowest    time.Duration // of the requests that did not fail
	Median     time.Duration
	P95        time.Duration
	Failures   []Request // the first 20
	ByBucket   map[int]int
}

// Since sums up the requests that ended after the mark.
func (t *Tally) Since(mark Mark) Count {
	t.mu.Lock()
	from := min(max(int(mark)-t.lost, 0), len(t.requests))
	requests := slices.Clone(t.requests[from:])
	t.mu.Unlock()

	count := Count{Requests: len(requests), ByBucket: map[int]int{}}
	var took []time.Duration
	for _, r := range requests {
		count.ByBucket[r.Bucket]++
		var fault *Fault
		var away *TurnedAway
		switch {
		case r.Err == nil:
			took = append(took, r.Took)
		case errors.As(r.Err, &fault) && fault.Retryable():
			count.Collided++
		case errors.As(r.Err, &away):
			count.TurnedAway++
		default:
			count.Failed++
			if errors.Is(r.Err, ErrLoggedOut) {
				count.LoggedOut++
			}
			if len(count.Failures) < 20 {
				count.Failures = append(count.Failures, r)
			}
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		count.Slowest = took[len(took)-1]
		count.Median = took[len(took)/2]
		count.P95 = took[min(len(took)*95/100, len(took)-1)]
	}
	return count
}
