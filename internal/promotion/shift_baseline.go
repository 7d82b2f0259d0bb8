package promotion

import (
	"time"

	"github.com/waybill-dev/waybill/internal/judge"
)

// baseline is where the counts stood when a weight came into force. It is kept, so that a server
// that takes over judges the same requests.
type baseline struct {
	Since         time.Time `json:"since"`
	RouterStarted time.Time `json:"router_started"`
	Old           counts    `json:"old"`
	New           counts    `json:"new"`
	// Compared is the evidence of all weights so far, so that the chance of a false alarm is bounded for the
	// whole shift and not for each weight anew.
	Compared *judge.Comparison `json:"compared,omitempty"`
	Watch    *keptWatch        `json:"watch,omitempty"` // likewise, of the business signals
	Cron     *cronBase         `json:"cron,omitempty"`  // of the bake
	After    *after            `json:"after,omitempty"` // likewise
}

// next is what a weight leaves to the one after it: the evidence, and no counts.
func (b *baseline) next() *baseline {
	if b == nil || b.Compared == nil {
		return nil
	}
	b.Compared.Leave()
	if b.Watch != nil {
		b.Watch.Events = 0
	}
	return &baseline{Compared: b.Compared, Watch: b.Watch}
}

// begin starts counting, with the evidence and the deadline that there were.
func (b *baseline) begin(at, router time.Time, now bothPools) *baseline {
	next := &baseline{Since: at, RouterStarted: router, Old: now.Old, New: now.New, Compared: &judge.Comparison{}}
	if b != nil && !b.Since.IsZero() {
		next.Since = b.Since
	}
	if b != nil && b.Compared != nil {
		next.Compared = b.Compared
	}
	if b != nil {
		next.Watch = b.Watch
	}
	if next.Watch == nil {
		next.Watch = &keptWatch{}
	}
	next.Compared.Leave()
	next.Compared.Read(at, judge.Pair{Canary: judge.Counts(now.New), Stable: judge.Counts(now.Old)})
	return next
}

// begun reports whether counting has begun at this weight, by the router that counts now.
func (b *baseline) begun(router time.Time) bool {
	return b != nil && b.Compared != nil && b.RouterStarted.Equal(router)
}

type counts struct {
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"`
}

func (c counts) minus(o counts) counts { return counts{c.Requests - o.Requests, c.Failed - o.Failed} }
