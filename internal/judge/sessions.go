package judge

import "time"

// sessionsTest compares how many sessions fail, however many requests they make. It is the anytime-valid
// logrank test (ter Schure, Pérez-Ortiz, Ly, Grünwald, arXiv 2011.06931): in each block of time stand
// those sessions that were active and had not failed before, and if the pools are alike, each of them is
// as likely as the next to be the one that fails for the first time. A session that has failed has
// spoken. Blocks are of time, not of numbers, so that a session of either pool has as long to fail.
//
// Sessions are told apart by slots of a table of fixed size. Two sessions in one slot count as one;
// when most slots are in use, little more is learnt, and nothing wrong.
type sessionsTest struct {
	rule  Signal
	grid  grid
	all   Pair
	slots [slots]slot
	block uint32 // the one that is open, from 1
	since time.Time
	open  [2]Counts
	best  float64
}

const (
	slots        = 1 << 13
	sessionBlock = 30 * time.Second
)

type slot struct {
	block  uint32 // it was active in last
	pool   Pool   // it had then
	pools  uint8  // it was seen in, one bit a pool
	failed uint8  // it failed in, likewise
}

func (t *sessionsTest) take(o *Observation) error {
	if t.block == 0 || o.At.Sub(t.since) >= sessionBlock {
		t.close(o.At)
	}
	s := &t.slots[mix(o.Session)%slots]
	if s.failed == 0 { // at risk
		if s.block != t.block {
			s.block, s.pool = t.block, o.Pool
			t.open[o.Pool].Requests++
		}
		if o.Failed {
			t.open[s.pool].Failed++
		}
	}
	arm := &t.all.Stable
	if o.Pool == Canary {
		arm = &t.all.Canary
	}
	bit := uint8(1) << uint(o.Pool)
	if s.pools&bit == 0 {
		s.pools |= bit
		arm.Requests++
	}
	if o.Failed && s.failed&bit == 0 {
		s.failed |= bit
		arm.Failed++
	}
	return nil
}

func (t *sessionsTest) close(now time.Time) {
	canary, stable := t.open[Canary], t.open[Stable]
	if canary.Failed+stable.Failed > 0 {
		t.grid.table(canary.Requests, stable.Requests, canary.Failed, stable.Failed)
		if t.all.excess() > t.rule.Tolerance {
			t.best = t.grid.raise(t.best)
		}
	}
	t.open, t.since = [2]Counts{}, now
	t.block++
}

// mix spreads hashes that are none, such as small numbers (the finaliser of SplitMix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (t *sessionsTest) worse() float64 { return t.best }

func (t *sessionsTest) still() float64 {
	if t.all.excess() > t.rule.Tolerance {
		return t.grid.above()
	}
	return 0
}

func (t *sessionsTest) judge(alpha float64) (Outcome, Evidence) {
	return judgeShares(t.rule, alpha, t.all, t.best, 0)
}
