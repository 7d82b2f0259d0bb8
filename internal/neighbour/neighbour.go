// Package neighbour finds the tenant that takes more of a shared pool than its neighbours can spare. It is pure: the caller reads
// routers and databases, and gives it what they have counted.
package neighbour

import (
	"cmp"
	"slices"
	"time"
)

// Use is what one tenant has taken since some fixed moment: counts that only grow, but for a restart of whoever counts.
type Use struct {
	Tenant  string
	Pool    string  // that answered it
	Seconds float64 // its requests took there, all added up
	Queries float64 // seconds that its sessions worked in the database server
}

// Pool is what a pool can give.
type Pool struct {
	Name    string
	Workers int // requests at once; 0: one process with threads, of which one works at a time
}

// Share is what one tenant took between two readings.
type Share struct {
	Tenant  string  `json:"tenant"`
	Pool    string  `json:"pool"`
	Busy    float64 `json:"busy" doc:"Requests of it that the pool worked at, on average"`
	OfPool  float64 `json:"of_pool" doc:"Part of the pool's whole time, 0 to 1 and beyond where requests queue"`
	OfUsed  float64 `json:"of_used" doc:"Part of what all its tenants took, 0 to 1"`
	Queries float64 `json:"queries" doc:"Sessions of it that worked in the database server, on average"`
	Noisy   bool    `json:"noisy" doc:"It leaves too little to the others of its pool, for some minutes by now"`
}

// The bounds beyond which a tenant is a noisy neighbour: its pool is nearly spent, and it is the one that spends most of it.
const (
	spent = .7 // of the pool's time, by all its tenants
	most  = .5 // of what they take, by one
	// Lasting is for how many readings in a row that has to be so: a month's closing may take a minute.
	Lasting = 5
)

// Watch follows the tenants of one environment from reading to reading. It is not safe for concurrent use.
type Watch struct {
	last   map[[2]string]Use // by tenant and pool
	at     time.Time
	row    map[[2]string]int // readings in a row in which it was too much
	shares []Share
}

// Read takes a reading and returns the shares since the one before, the largest first; none after the first.
func (w *Watch) Read(at time.Time, uses []Use, pools []Pool) []Share {
	elapsed := at.Sub(w.at).Seconds()
	before := w.last
	w.last, w.at = map[[2]string]Use{}, at
	for _, u := range uses {
		w.last[[2]string{u.Tenant, u.Pool}] = u
	}
	w.shares = nil
	if before == nil || elapsed <= 0 {
		return nil
	}
	used, tenants := map[string]float64{}, map[string]int{}
	for _, u := range uses {
		was := before[[2]string{u.Tenant, u.Pool}]
		s := Share{Tenant: u.Tenant, Pool: u.Pool, Busy: since(was.Seconds, u.Seconds) / elapsed, Queries: since(was.Queries, u.Queries) / elapsed}
		used[u.Pool] += s.Busy
		tenants[u.Pool]++
		w.shares = append(w.shares, s)
	}
	row := map[[2]string]int{}
	for i := range w.shares {
		s := &w.shares[i]
		room := roomOf(pools, s.Pool)
		s.OfPool = s.Busy / room
		if used[s.Pool] > 0 {
			s.OfUsed = s.Busy / used[s.Pool]
		}
		if key := [2]string{s.Tenant, s.Pool}; tenants[s.Pool] > 1 && used[s.Pool] >= spent*room && s.OfUsed >= most {
			row[key] = w.row[key] + 1
			s.Noisy = row[key] >= Lasting
		}
	}
	w.row = row
	slices.SortStableFunc(w.shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.OfPool, a.OfPool), cmp.Compare(b.Queries, a.Queries), cmp.Compare(a.Tenant, b.Tenant))
	})
	return slices.Clone(w.shares)
}

// since is how much a count has grown. One that is smaller than before began anew.
func since(before, now float64) float64 {
	if now < before {
		return now
	}
	return now - before
}

func roomOf(pools []Pool, name string) float64 {
	for _, p := range pools {
		if p.Name == name {
			return float64(max(1, p.Workers))
		}
	}
	return 1
}
