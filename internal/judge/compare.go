package judge

import "time"

// A block of a comparison is closed, and counts as evidence, when both pools had blockUnits units, or
// at least one each and blockAge has passed. Neither depends on which units were bad, so the evidence stays
// valid; small blocks speak sooner, larger ones say more with few units.
const (
	blockUnits = 4
	blockAge   = 10 * time.Second
	// maxBlock bounds the work of one block. More at once is a source that was away for long: the
	// units count, but their order in time is lost, and they are no evidence.
	maxBlock = 1 << 16
)

// block is what was seen since the last one was closed.
type block struct {
	Since                time.Time `json:"since,omitzero"`
	Canary, Stable       int64
	CanaryBad, StableBad int64
}

// closes reports whether the block can be closed now.
func (b *block) closes(now time.Time) bool {
	switch {
	case b.Canary == 0 || b.Stable == 0:
		return false
	case b.Canary >= blockUnits && b.Stable >= blockUnits:
		return true
	}
	return now.Sub(b.Since) >= blockAge
}

// Comparison weighs how often the units of two pools are bad (requests that failed, for example)
// against each other, as they come. Its memory does not grow. It can be kept as JSON and taken up
// again. The zero value is ready.
type Comparison struct {
	Seen Pair `json:"seen"` // the last reading

	Evidence grid  `json:"evidence"`
	Open     block `json:"open"`
	Used     Pair  `json:"used"` // what the evidence rests on
	Began    bool  `json:"began,omitempty"`
}

// Pair are the counts of two pools.
type Pair struct {
	Canary Counts `json:"canary"`
	Stable Counts `json:"stable"`
}

// Read takes both pools' counters as they stand at a time of the reader's clock. The first reading is
// where counting begins. A counter that went back (its source restarted) begins anew there.
func (c *Comparison) Read(at time.Time, now Pair) {
	if !now.Canary.sound() || !now.Stable.sound() {
		return
	}
	before := c.Seen
	c.Seen = now
	if !c.Began || now.Canary.before(before.Canary) || now.Stable.before(before.Stable) {
		c.Began = true
		c.Open = block{Since: at}
		return
	}
	c.add(at, now.Canary.minus(before.Canary), now.Stable.minus(before.Stable))
}

// Leave forgets where the counters stand, and keeps the evidence: the next reading is where counting
// begins again.
func (c *Comparison) Leave() { c.Began = false }

// EValue is the evidence that the canary is worse; 1/α is enough at level α. 0: nothing to compare yet.
func (c *Comparison) EValue() float64 {
	if c.Used.Canary.Requests == 0 {
		return 0
	}
	return c.Evidence.above()
}

func (c *Comparison) add(at time.Time, canary, stable Counts) {
	b := &c.Open
	if b.Since.IsZero() || b.Canary+b.Stable == 0 {
		b.Since = at
	}
	b.Canary += canary.Requests
	b.CanaryBad += canary.Failed
	b.Stable += stable.Requests
	b.StableBad += stable.Failed
	if !b.closes(at) {
		return
	}
	if b.Canary <= maxBlock && b.Stable <= 1000*maxBlock {
		c.Evidence.table(b.Canary, b.Stable, b.CanaryBad, b.StableBad)
		c.Used.Canary = c.Used.Canary.plus(Counts{b.Canary, b.CanaryBad})
		c.Used.Stable = c.Used.Stable.plus(Counts{b.Stable, b.StableBad})
	}
	c.Open = block{Since: at}
}

// excess is the canary's share minus the stable pool's.
func (p Pair) excess() float64 { return p.Canary.share() - p.Stable.share() }
