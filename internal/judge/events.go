package judge

import (
	"fmt"
	"math"
	"time"
)

// skew is how far apart two pools' readings may be to be of the same moment.
const skew = 2 * time.Second

// eventsTest compares two streams of events; see split. A stretch of it ends when both pools were read
// at the same moment, so that the exposure of the stretch is the same for both.
type eventsTest struct {
	rule     Signal
	split    split
	pools    [2]counter
	at       [2]time.Time
	fresh    [2]bool  // read since the last stretch ended
	skip     [2]bool  // the next reading is where counting begins: the other pool's source restarted
	open     [2]int64 // events of this stretch
	seen     [2]int64
	expected float64 // events on the canary, were the pools alike
	best     float64 // the highest e-value so far, which is the one that counts
	value    [1]int64
	added    [1]int64
}

func (t *eventsTest) take(o *Observation) error {
	if o.Total < 0 {
		return errNegative
	}
	if !(o.Weight >= 0 && o.Weight <= 1) {
		return errWeight
	}
	p, other := o.Pool, 1-o.Pool
	t.value[0] = o.Total
	first := t.pools[p].step(o.Source, t.value[:], t.added[:])
	t.at[p] = o.At
	if first || t.skip[p] {
		if first {
			t.skip[other] = t.pools[other].begun && o.At.Sub(t.at[other]) > skew
		}
		t.skip[p] = false
		t.open = [2]int64{}
		return nil
	}
	t.open[p] += t.added[0]
	t.fresh[p] = true
	if !t.fresh[0] || !t.fresh[1] || t.skip[other] || t.at[p].Sub(t.at[other]) > skew {
		return nil
	}
	canary, stable := t.open[Canary], t.open[Stable]
	t.open, t.fresh = [2]int64{}, [2]bool{}
	if o.Weight == 0 || o.Weight == 1 || canary+stable == 0 {
		return nil // nothing to compare
	}
	t.seen[Canary] += canary
	t.seen[Stable] += stable
	t.expected += float64(canary+stable) * o.Weight
	w, bad := o.Weight, canary
	if t.rule.Fewer { // fewer on the canary is more on the stable pool
		canary, stable, w, bad = stable, canary, 1-w, stable
	}
	t.split.add(canary, stable, w)
	if bad > 0 { // nothing else can raise it
		t.best = t.split.raise(t.best)
	}
	return nil
}

func (t *eventsTest) worse() float64 { return t.best }
func (t *eventsTest) still() float64 { return t.split.above() }

func (t *eventsTest) judge(alpha float64) (Outcome, Evidence) {
	lower, upper := t.split.bounds(alpha)
	if t.rule.Fewer {
		lower, upper = 1/upper, 1/lower
	}
	e := Evidence{
		EValue: t.best, Effect: math.NaN(), Lower: lower, Upper: upper, Unit: "times as many",
		Canary: Counts{Requests: t.seen[Canary]}, Stable: Counts{Requests: t.seen[Stable]},
		restarts: t.pools[0].restarts + t.pools[1].restarts,
		Says:     fmt.Sprintf("%d on the new release, where %.1f of them were to be expected, and %d on the old one", t.seen[Canary], t.expected, t.seen[Stable]),
	}
	if all := float64(t.seen[Canary] + t.seen[Stable]); t.expected > 0 {
		e.Effect = float64(t.seen[Canary]) / t.expected / (float64(t.seen[Stable]) / (all - t.expected))
	}
	switch {
	case t.best >= 1/alpha:
		return Fail, e
	case t.expected > 0 && t.expected >= float64(t.rule.MinCanary) && t.split.below() >= 1/alpha:
		return Pass, e
	}
	return Inconclusive, e
}
