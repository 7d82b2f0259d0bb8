package report

import "time"

// Data is what a report is computed from.
type Data struct {
	Rollouts   []Rollout
	Rehearsals []Rehearsal
	Drifts     []Drift
}

// Rollout is one tenant's part of a promotion that has ended, with the moments that its steps tell. A zero time: it did not
// come to that.
type Rollout struct {
	Promotion   string
	Kind        string // of the promotion
	Environment string
	Tenant      string
	Ring        string
	Release     string // digest
	ReleaseName string
	Promoted    bool // else it went back
	Refused     bool // not let in, before anything was touched
	First       bool // the first time that the tenant came to this release there

	PromotionEnded time.Time // when the last tenant of the promotion had ended
	Ended          time.Time
	Committed      time.Time // of the release's commit; where that is not known, when the release became known

	AskedAt    time.Time // its gates were asked first
	LetInAt    time.Time // and opened
	ApprovedAt time.Time // the last approval before that; zero: nobody approved
	ServedAt   time.Time // the release was first put before traffic
	FailedAt   time.Time // it was found that it must go back
	BackAt     time.Time // people had the release before again

	Predicted float64 // seconds that people wait, by a rehearsal; 0: none said
	Held      float64 // seconds that they did

	Checkpoints, CheckpointsFailed int // steps that took one, or failed to
}

// Rehearsal is one that has ended.
type Rehearsal struct {
	Environment string
	Tenant      string
	Outcome     string // proven, fails, unfinished
	Ended       time.Time
}

// Drift is an object of a cluster that was not as Waybill had applied it, from when that was found until it was so again. What
// became of it meanwhile is the same drift.
type Drift struct {
	Environment string // empty: it is the whole cluster's
	Found       time.Time
	Ended       time.Time // zero: it drifts still
}

// KindPromote is the kind of promotion by which a release enters an environment.
const KindPromote = "promote"

// change is a release that went into a group: into an environment, a ring or one tenant by one promotion.
type change struct {
	promoted  bool // all of its tenants
	some      bool // at least one
	first     bool // for at least one of them
	last      bool // into the environment that releases are on their way to
	served    bool // at least one tenant's people had it
	taken     bool // and at least one went back after that
	committed time.Time
	ended     time.Time
	asked     time.Time
	approved  time.Time
	detect    time.Duration // the longest of its tenants
	recover   time.Duration
}

// changes joins the rollouts of releases by promotion and group. Those that were refused count apart.
func changes(d Data, by By, last string) (list []*change, refused int) {
	type id struct {
		promotion string
		key       key
	}
	of, onlyRefused := map[id]*change{}, map[id]bool{}
	for i := range d.Rollouts {
		r := &d.Rollouts[i]
		if r.Kind != KindPromote {
			continue
		}
		at := id{r.Promotion, keyOf(by, r.Environment, r.Tenant, r.Ring)}
		if r.Refused {
			if _, known := of[at]; !known {
				onlyRefused[at] = true
			}
			continue
		}
		delete(onlyRefused, at)
		c := of[at]
		if c == nil {
			c = &change{promoted: true, last: last == "" || r.Environment == last}
			of[at] = c
			list = append(list, c)
		}
		c.add(r)
	}
	return list, len(onlyRefused)
}

func (c *change) add(r *Rollout) {
	c.promoted = c.promoted && r.Promoted
	c.some = c.some || r.Promoted
	c.first = c.first || r.First
	c.ended = later(c.ended, r.Ended)
	c.committed = r.Committed
	if !r.AskedAt.IsZero() && (c.asked.IsZero() || r.AskedAt.Before(c.asked)) {
		c.asked = r.AskedAt
	}
	c.approved = later(c.approved, r.ApprovedAt)
	if r.ServedAt.IsZero() {
		return
	}
	c.served = true
	if r.FailedAt.IsZero() {
		return
	}
	c.taken = true
	c.detect = max(c.detect, r.FailedAt.Sub(r.ServedAt))
	if !r.BackAt.IsZero() {
		c.recover = max(c.recover, r.BackAt.Sub(r.FailedAt))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
