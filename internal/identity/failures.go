package identity

import (
	"sync"
	"time"
)

// Failures counts what was wrong, by address or by name. For tokens it bounds what they cost, and what they write
// into the record: with 256 random bits it is not the number of guesses that protects, and a right token is never held
// up by the wrong ones of somebody else behind the same address. For passwords it is the number of guesses.
type Failures struct {
	Most   int           // that are answered one by one in a period
	Period time.Duration // from the first one

	mu    sync.Mutex
	since map[string]*failures
}

type failures struct {
	from  time.Time
	count int
}

// maxAddresses bounds the memory; when it is full, half of it is forgotten.
const maxAddresses = 10_000

// Count notes one from an address. It says how many there were before in this period, and when the next begins.
func (f *Failures) Count(address string, now time.Time) (before int, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since == nil {
		f.since = map[string]*failures{}
	}
	known := f.since[address]
	if known == nil || !now.Before(known.from.Add(f.Period)) {
		if known == nil && len(f.since) >= maxAddresses {
			f.forget(now)
		}
		known = &failures{from: now}
		f.since[address] = known
	}
	known.count++
	return known.count - 1, known.from.Add(f.Period)
}

// TakeBack undoes one that was counted and was not wrong.
func (f *Failures) TakeBack(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.since[address]; known != nil && known.count > 0 {
		known.count--
	}
}

// forget drops what is over, and half of the rest where that is not enough.
func (f *Failures) forget(now time.Time) {
	for address, known := range f.since {
		if !now.Before(known.from.Add(f.Period)) {
			delete(f.since, address)
		}
	}
	for address := range f.since {
		if len(f.since) <= maxAddresses/2 {
			return
		}
		delete(f.since, address)
	}
}
