package judge

import (
	"fmt"
	"math"
	"time"
)

// latencyTest compares two histograms of durations. In each block, and if the pools are alike, every way
// of dealing the durations out to them is as likely as any other. With a score a for each bucket, growing
// with the duration,
//
//	L(θ) = exp(θ·Σ a over the canary's) / mean over all ways of dealing of the same
//
// has the mean 1 (exponential tilting of the permutation distribution; the mean is an elementary
// symmetric polynomial of the e^(θa)). So nothing is assumed of the tail, and a change that both
// pools share (load, time of day) cancels out. L is mixed over tilts θ > 0, and over scores: the
// rank in what both pools showed together in the first learn durations (as in Wilcoxon's test), the
// number of the bucket (close to the logarithm of the duration), and "among the slowest tenth, slowest
// thirtieth". Averages of e-values are e-values, however they depend on each other (Vovk, Wang, arXiv 1912.06116).
//
// With a Ratio, the stable pool's durations are made so many times as long before they are dealt: then "alike" is
// "exactly so many times as long", and a new release that is slower by less is no evidence, however much of it there is.
//
// What is ruled out is told by the bands sup|F̂ − F| of each pool at α/2 (arXiv 1906.09712; for a
// canary 2205.14762). They hold for all bounds at once, and so are wide: where they separate by more
// than the tolerance, the e-value has long been enough.
type latencyTest struct {
	rule  Signal
	pools [2]counter
	added []int64

	open  [2][]int64 // of this block, by bucket
	units [2]int64
	since time.Time

	all    [2][]int64 // slower than each bound
	total  [2]int64
	scores []score   // none before learn durations
	best   float64   // the highest e-value so far
	now    float64   // the last one; 0 while the difference seen is tolerated
	logs   []float64 // of a duration in each bucket; with Signal.Ratio only
	moves  []move    // where durations of a bucket are when they take Ratio times as long; likewise
	longer []int64   // the stable pool's of this block, when they do; likewise
	carry  float64   // of a duration that has not moved further yet

	forAlpha, constant float64 // bandConstant, once
}

// score is one way to look at durations.
type score struct {
	weight float64
	of     []float64             // of each bucket
	factor [][len(tilts)]float64 // e^(θ·of)
	logs   [len(tilts)]float64   // ln L
}

// tilts are the θ, for scores with the standard deviation of a uniform rank; each has the same weight.
var tilts = [...]float64{.2, .31, .48, .74, 1.15, 1.8, 2.8, 4.3, 6.6, 10}

const (
	learn     = 60
	bandsFrom = 20 // durations in a pool, before its band says anything
	// dealLimit bounds the work of a block: durations times those of the smaller pool.
	dealLimit = 1 << 18
)

func newLatencyTest(s Signal) *latencyTest {
	n := len(s.Bounds)
	t := &latencyTest{rule: s, added: make([]int64, n+1), logs: middles(s)}
	if s.Ratio > 0 {
		t.moves, t.longer = movesOf(t.logs, math.Log(s.Ratio)), make([]int64, n+1)
		t.carry = .5
	}
	for p := range t.open {
		t.open[p], t.all[p] = make([]int64, n+1), make([]int64, n)
	}
	return t
}

func (t *latencyTest) take(o *Observation) error {
	if len(o.Buckets) != len(t.added) {
		return errBuckets
	}
	for _, n := range o.Buckets {
		if n < 0 {
			return errNegative
		}
	}
	if t.pools[o.Pool].step(o.Source, o.Buckets, t.added) {
		return nil
	}
	slower := int64(0)
	for i := len(t.added) - 1; i >= 0; i-- {
		t.open[o.Pool][i] += t.added[i]
		slower += t.added[i]
		if i > 0 {
			t.all[o.Pool][i-1] += slower
		}
	}
	if slower == 0 && t.units[0]+t.units[1] == 0 {
		return nil
	}
	if t.units[0]+t.units[1] == 0 {
		t.since = o.At
	}
	t.units[o.Pool] += slower
	t.total[o.Pool] += slower
	if b := (block{Since: t.since, Canary: t.units[Canary], Stable: t.units[Stable]}); !b.closes(o.At) {
		return nil
	}
	if t.scores == nil {
		t.choose()
	} else if (t.units[0]+t.units[1])*min(t.units[0], t.units[1]) <= dealLimit {
		t.close()
	}
	t.units = [2]int64{}
	for p := range t.open {
		clear(t.open[p])
	}
	return nil
}

// choose makes the scores, from what both pools showed together.
func (t *latencyTest) choose() {
	n := float64(t.total[0] + t.total[1])
	if n < learn {
		return
	}
	size := len(t.added)
	in := make([]float64, size) // share in each bucket
	for i, last := 0, 1.0; i < size; i++ {
		next := 0.0
		if i < size-1 {
			next = float64(t.all[0][i]+t.all[1][i]) / n
		}
		in[i] = last - next
		last = next
	}
	add := func(weight float64, of []float64) {
		mean, square := 0.0, 0.0
		for i, a := range of {
			mean += in[i] * a
			square += in[i] * a * a
		}
		// At least the deviation of one in a thousand, for scores that have told nothing apart yet.
		scale := math.Sqrt(1.0/12) / math.Sqrt(max(square-mean*mean, .001))
		scaled := make([]float64, size)
		for i, a := range of {
			scaled[i] = (a - mean) * scale
		}
		t.scores = append(t.scores, newScore(weight, scaled))
	}
	rank, number := make([]float64, size), make([]float64, size)
	below := 0.0
	for i := range in {
		rank[i] = below + in[i]/2
		below += in[i]
		number[i] = float64(i)
	}
	add(.6, rank)
	add(.2, number)
	for _, part := range []float64{.1, .03} {
		nearest, distance := 0, math.Inf(1)
		for i := range t.rule.Bounds {
			slow := (float64(t.all[0][i]+t.all[1][i]) + .5) / (n + 1)
			if d := math.Abs(math.Log(slow / part)); d < distance {
				nearest, distance = i, d
			}
		}
		among := make([]float64, size)
		for i := nearest + 1; i < size; i++ {
			among[i] = 1
		}
		add(.1, among)
	}
}

func newScore(weight float64, of []float64) score {
	s := score{weight: weight, of: of, factor: make([][len(tilts)]float64, len(of))}
	for i, a := range of {
		for k, tilt := range tilts {
			s.factor[i][k] = math.Exp(tilt * a)
		}
	}
	return s
}

// middles are the logarithms of the buckets' middles; nil where no ratio is asked for.
func middles(s Signal) []float64 {
	if s.Ratio == 0 {
		return nil
	}
	logs := make([]float64, len(s.Bounds)+1)
	for i, b := range s.Bounds {
		logs[i] = math.Log(b)
	}
	last := len(s.Bounds)
	step := math.Ln2
	if last > 1 {
		step = logs[last-1] - logs[last-2]
	}
	logs[last] = logs[last-1] + step
	for i := last; i > 0; i-- {
		logs[i] = (logs[i] + logs[i-1]) / 2
	}
	logs[0] -= step / 2
	return logs
}

// move is where durations go that get longer: that share of a bucket one further than the bucket to, the rest to it.
type move struct {
	to    int
	share float64
}

// movesOf keeps the mean logarithm, but for the last buckets, which have nothing above them.
func movesOf(logs []float64, by float64) []move {
	moves := make([]move, len(logs))
	last := len(logs) - 1
	for i, log := range logs {
		to := i
		for to < last && logs[to+1] <= log+by {
			to++
		}
		moves[i] = move{to: to}
		if to < last {
			moves[i].share = (log + by - logs[to]) / (logs[to+1] - logs[to])
		}
	}
	return moves
}

// lengthened are a block's durations of the stable pool as they would be were they Ratio times as long. Durations are
// whole: what is left over is carried into the next block.
func (t *latencyTest) lengthened(block []int64) []int64 {
	if t.moves == nil {
		return block
	}
	clear(t.longer)
	for i, n := range block {
		m := t.moves[i]
		t.carry += float64(n) * m.share
		further := min(n, int64(t.carry))
		t.carry -= float64(further)
		t.longer[m.to] += n - further
		if further > 0 {
			t.longer[m.to+1] += further
		}
	}
	return t.longer
}

// times is how many times as long the canary's durations are: the ratio of the geometric means, as
// far as the buckets tell it. One answer that hung does not move it much.
func (t *latencyTest) times() float64 {
	if t.total[Canary] == 0 || t.total[Stable] == 0 {
		return 1
	}
	var sum [2]float64
	for p := range sum {
		slower := t.total[p]
		for i, log := range t.logs {
			next := int64(0)
			if i < len(t.rule.Bounds) {
				next = t.all[p][i]
			}
			sum[p] += float64(slower-next) * log
			slower = next
		}
		sum[p] /= float64(t.total[p])
	}
	return math.Exp(sum[Canary] - sum[Stable])
}

// tolerated reports whether what is seen is not enough to speak of, however certain it is.
func (t *latencyTest) tolerated() bool {
	if t.rule.Ratio > 0 {
		return t.times() <= t.rule.Ratio
	}
	_, seen := t.slowest()
	return seen <= t.rule.Tolerance
}

func (t *latencyTest) close() {
	e := 0.0
	stable := t.lengthened(t.open[Stable])
	for i := range t.scores {
		s := &t.scores[i]
		s.deal(t.open[Canary], stable, t.units[Canary])
		for _, l := range s.logs {
			e += s.weight / float64(len(tilts)) * math.Exp(l)
		}
	}
	t.now = 0
	if !t.tolerated() {
		t.now = e
		t.best = max(t.best, e)
	}
}

// deal adds ln L of a block: canary of the durations fell on the canary. The mean over all ways to deal
// is built up one duration x at a time: M_k, the mean of the products of k of the first i factors, becomes
// (1 − k/i)·M_k + k/i·x·M_{k−1}. Too large for a float64, it makes L zero, which is on the safe side.
func (s *score) deal(canary, stable []int64, units int64) {
	means := make([][len(tilts)]float64, units+1)
	means[0] = ones
	seen := int64(0)
	for b := range canary {
		x := &s.factor[b]
		for range canary[b] + stable[b] {
			seen++
			for k := min(units, seen); k > 0; k-- {
				part := float64(k) / float64(seen)
				for j := range x {
					means[k][j] = (1-part)*means[k][j] + part*x[j]*means[k-1][j]
				}
			}
		}
	}
	sum := 0.0
	for b, n := range canary {
		sum += float64(n) * s.of[b]
	}
	for j, tilt := range tilts {
		s.logs[j] += tilt*sum - math.Log(means[units][j])
	}
}

var ones = func() (o [len(tilts)]float64) {
	for i := range o {
		o[i] = 1
	}
	return o
}()

// slowest is the bound at which the canary is the most slower than the stable pool, and by how much.
func (t *latencyTest) slowest() (bound int, difference float64) {
	difference = math.Inf(-1)
	for i := range t.rule.Bounds {
		if d := t.share(Canary, i) - t.share(Stable, i); d > difference {
			bound, difference = i, d
		}
	}
	return bound, difference
}

func (t *latencyTest) share(p Pool, bound int) float64 {
	if t.total[p] == 0 {
		return 0
	}
	return float64(t.all[p][bound]) / float64(t.total[p])
}

func (t *latencyTest) worse() float64 { return t.best }
func (t *latencyTest) still() float64 { return t.now }

func (t *latencyTest) judge(alpha float64) (Outcome, Evidence) {
	if t.forAlpha != alpha {
		t.forAlpha, t.constant = alpha, bandConstant(alpha/2)
	}
	wide := bandWidth(float64(t.total[0]), bandsFrom, t.constant) + bandWidth(float64(t.total[1]), bandsFrom, t.constant)
	bound, difference := t.slowest()
	e := Evidence{
		EValue: t.best, Effect: difference, Lower: max(-1, difference-wide), Upper: min(1, difference+wide), Unit: "difference of shares",
		Canary: Counts{t.total[Canary], t.all[Canary][bound]}, Stable: Counts{t.total[Stable], t.all[Stable][bound]},
		restarts: t.pools[0].restarts + t.pools[1].restarts,
	}
	e.Says = fmt.Sprintf("%s of the answers took longer than %g s on the new release, %s on the old one", percent(t.share(Canary, bound)), t.rule.Bounds[bound], percent(t.share(Stable, bound)))
	if t.rule.Ratio > 0 && t.total[Canary] > 0 && t.total[Stable] > 0 {
		e.Says = fmt.Sprintf("%.2f times as long on the new release (%d calls against %d): ", t.times(), t.total[Canary], t.total[Stable]) + e.Says
	}
	switch {
	case t.best >= 1/alpha:
		return Fail, e
	case t.total[Canary] > 0 && t.total[Canary] >= t.rule.MinCanary && e.Upper < t.rule.Tolerance:
		return Pass, e
	}
	return Inconclusive, e
}
