package main

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/internal/judge"
)

// world is how a release's traffic comes about. All rates are of both pools together.
type world struct {
	name    string
	minutes int
	weight  func(minute int) float64 // the canary's share
	rate    float64                  // events, requests or sessions a minute
	load    func(minute int) float64 // factor on rate, of both pools
	shared  float64                  // sd of a log-normal AR(1) factor on the rate, ρ = 0.5, of both pools
	own     float64                  // likewise, of each pool its own
	worse   float64                  // what the canary's events or durations are multiplied by
	exceeds bool                     // outside of what this kind of signal is for; shown, not demanded
}

const rho = .5

// begin is where all clocks begin.
var begin = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time {
	return begin.Add(time.Duration(minutes * float64(time.Minute)))
}

// noise is a stationary AR(1) series.
type noise struct{ x, sd float64 }

func newNoise(r *rand.Rand, sd float64) noise { return noise{r.NormFloat64() * sd, sd} }

func (n *noise) next(r *rand.Rand) float64 {
	x := n.x
	n.x = rho*n.x + math.Sqrt(1-rho*rho)*n.sd*r.NormFloat64()
	return x
}

// result of one release: the minutes at which each would have gone back; +Inf: never.
type result struct {
	at1, at5      float64 // the judge at α = 1 % and 5 %
	flagger, argo float64
	kayenta       float64
	plain1        float64    // the judge on requests, where it has sessions
	peak          [2]float64 // highest z of Mann-Whitney: against a baseline of the canary's size, and against all of the stable pool
	found         [2]float64 // first minute at which z reached the limit given
	limit         [2]float64
}

func newResult(limit [2]float64) result {
	never := math.Inf(1)
	low := math.Inf(-1)
	return result{never, never, never, never, never, never, [2]float64{low, low}, [2]float64{never, never}, limit}
}

func (r *result) judge(e, now float64) {
	if e >= 20 && r.at5 > now {
		r.at5 = now
	}
	if e >= 100 && r.at1 > now {
		r.at1 = now
	}
}

func first(at *float64, now float64, fails bool) {
	if fails && *at > now {
		*at = now
	}
}

// rivals look once a minute.
type rivals struct {
	flagger, argo *fixedThreshold
	ranks         [2]mannWhitney
	look          int // every so many minutes at the ranks
}

// points are what a monitoring system has of a minute.
type points struct {
	canary, baseline, stable float64 // Mann-Whitney's values
	bad, n                   float64 // of the canary, for fixed thresholds
}

func (v *rivals) minute(m int, p points, r *result) {
	now := float64(m + 1)
	first(&r.flagger, now, v.flagger.minute(m, p.bad, p.n))
	first(&r.argo, now, v.argo.minute(m, p.bad, p.n))
	for i, other := range [2]float64{p.baseline, p.stable} {
		v.ranks[i].add(p.canary, other)
		z := v.ranks[i].z()
		r.peak[i] = max(r.peak[i], z)
		first(&r.found[i], now, z >= r.limit[i])
	}
	if r.kayenta > now && (m+1)%max(1, v.look) == 0 {
		first(&r.kayenta, now, v.ranks[0].kayenta())
	}
}

// errorShare is that of the requests in worlds of events: what makes fixed thresholds comparable.
const errorShare = .005

func constant(w float64) func(int) float64 { return func(int) float64 { return w } }

// events plays a release whose signal is a count of events, errors for example.
func (w world) events(r *rand.Rand, limit [2]float64, stop bool) result {
	out := newResult(limit)
	j := must(judge.New(judge.Config{Alpha: .05, Signals: []judge.Signal{{Name: "errors", Kind: judge.Events, Role: judge.Trigger}}}))
	v := rivals{flagger: flagger(.01), argo: argo(.05), look: max(1, w.minutes/240)}
	var total [2]int64
	tell := func(now, weight float64) {
		for _, p := range []judge.Pool{judge.Stable, judge.Canary} {
			must(0, j.Observe(judge.Observation{Signal: "errors", Pool: p, At: at(now), Total: total[p], Weight: weight}))
		}
	}
	tell(0, w.weight(0))
	both, canaryOwn, stableOwn := newNoise(r, w.shared), newNoise(r, w.own), newNoise(r, w.own)
	for m := range w.minutes {
		weight := w.weight(m)
		rate := w.rate * math.Exp(both.next(r)-w.shared*w.shared/2)
		if w.load != nil {
			rate *= w.load(m)
		}
		onCanary := rate * weight * w.worse * math.Exp(canaryOwn.next(r)-w.own*w.own/2)
		onStable := rate * (1 - weight) * math.Exp(stableOwn.next(r)-w.own*w.own/2)
		var canary, stable, baseline float64
		for t := r.ExpFloat64() / (onCanary + onStable); t < 1; t += r.ExpFloat64() / (onCanary + onStable) {
			if r.Float64()*(onCanary+onStable) < onCanary {
				canary++
				total[judge.Canary]++
			} else {
				stable++
				total[judge.Stable]++
				if r.Float64() < weight/(1-weight) {
					baseline++
				}
			}
			tell(float64(m)+t, weight)
			out.judge(j.EValue("errors"), float64(m)+t)
		}
		v.minute(m, points{canary / weight, baseline / weight, stable / (1 - weight), canary, rate * weight / errorShare}, &out)
		if stop && out.at1 < math.Inf(1) && out.found[0] < math.Inf(1) && out.found[1] < math.Inf(1) {
			break
		}
	}
	return out
}

// Durations: log-normal around 0.2 s, and one in fifty from a Pareto tail without a variance.
const (
	medianSeconds = .2
	logSD         = 1.0
	tailShare     = .02
	tailIndex     = 1.5
	tailFrom      = 1.0 // seconds
)

func duration(r *rand.Rand) float64 {
	if r.Float64() < tailShare {
		return tailFrom * math.Pow(1-r.Float64(), -1/tailIndex)
	}
	return medianSeconds * math.Exp(logSD*r.NormFloat64())
}

// bounds are the router's.
var bounds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// latency plays a release whose signal is the time that requests take.
func (w world) latency(r *rand.Rand, limit [2]float64, stop bool) result {
	out := newResult(limit)
	j := must(judge.New(judge.Config{Alpha: .05, Signals: []judge.Signal{{Name: "seconds", Kind: judge.Latency, Role: judge.Trigger, Bounds: bounds}}}))
	// Thresholds of somebody who knows the release before well: a quarter above its 99th and 95th percentile.
	v := rivals{flagger: flagger(0), argo: argo(0)}
	p99, p95 := 1.25*quantile99, 1.25*quantile95
	var buckets [2][]int64
	for p := range buckets {
		buckets[p] = make([]int64, len(bounds)+1)
		must(0, j.Observe(judge.Observation{Signal: "seconds", Pool: judge.Pool(p), At: begin, Buckets: buckets[p]}))
	}
	both := newNoise(r, w.shared)
	for m := range w.minutes {
		weight := w.weight(m)
		slow := math.Exp(both.next(r)) // the load of this minute, on both
		rate := w.rate
		if w.load != nil {
			rate *= w.load(m)
		}
		var sum, n [3]float64 // canary, baseline, stable
		var over99, over95 float64
		for t := r.ExpFloat64() / rate; t < 1; t += r.ExpFloat64() / rate {
			d, p := duration(r)*slow, judge.Stable
			if r.Float64() < weight {
				p = judge.Canary
				d *= w.worse
				sum[0] += d
				n[0]++
				if d > p99 {
					over99++
				}
				if d > p95 {
					over95++
				}
			} else {
				sum[2] += d
				n[2]++
				if r.Float64() < weight/(1-weight) {
					sum[1] += d
					n[1]++
				}
			}
			i := 0
			for i < len(bounds) && d > bounds[i] {
				i++
			}
			buckets[p][i]++
			must(0, j.Observe(judge.Observation{Signal: "seconds", Pool: p, At: at(float64(m) + t), Buckets: buckets[p]}))
			out.judge(j.EValue("seconds"), float64(m)+t)
		}
		average := func(i int) float64 {
			if n[i] == 0 {
				return 0
			}
			return sum[i] / n[i]
		}
		now := float64(m + 1)
		// The percentile of the minute is above its limit when more than that part is.
		first(&out.flagger, now, v.flagger.minute(m, b2f(over99 > .01*n[0]), 1))
		v.argo.sum += over95 - .05*n[0]
		first(&out.argo, now, v.argo.minute(m, 0, 1))
		for i, other := range [2]float64{average(1), average(2)} {
			v.ranks[i].add(average(0), other)
			z := v.ranks[i].z()
			out.peak[i] = max(out.peak[i], z)
			first(&out.found[i], now, z >= out.limit[i])
		}
		first(&out.kayenta, now, out.kayenta > now && v.ranks[0].kayenta())
		if stop && out.at1 < math.Inf(1) && out.found[0] < math.Inf(1) && out.found[1] < math.Inf(1) {
			break
		}
	}
	return out
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// series plays a release whose signal is one number a minute and pool, each pool with its own
// autocorrelated noise: a queue's length, memory.
func (w world) series(r *rand.Rand, limit [2]float64, _ bool) result {
	out := newResult(limit)
	j := must(judge.New(judge.Config{Alpha: .05, Signals: []judge.Signal{{Name: "queue", Kind: judge.Series, Role: judge.Trigger}}}))
	const level, sd = 10.0, 2.0
	v := rivals{flagger: flagger(1.25 * level), argo: argo(1.25 * level)}
	canary, stable := newNoise(r, sd), newNoise(r, sd)
	for m := range w.minutes {
		c, s := level*w.worse+canary.next(r), level+stable.next(r)
		must(0, j.Observe(judge.Observation{Signal: "queue", Pool: judge.Canary, At: at(float64(m)), Value: c}))
		must(0, j.Observe(judge.Observation{Signal: "queue", Pool: judge.Stable, At: at(float64(m)), Value: s}))
		out.judge(j.EValue("queue"), float64(m+1))
		v.minute(m, points{c, s, s, c, 1}, &out)
	}
	return out
}

// session is a user at work: how often, and how often it goes wrong.
type session struct {
	id      uint64
	canary  bool
	rate    float64 // requests a minute
	failing float64 // share of them
	left    int     // minutes
}

// sessions plays a release in which few sessions make most of the requests, and most of the failures.
func (w world) sessions(r *rand.Rand, limit [2]float64, _ bool) result {
	out := newResult(limit)
	j := must(judge.New(judge.Config{Alpha: .05, Signals: []judge.Signal{
		{Name: "sessions", Kind: judge.Sessions, Role: judge.Trigger},
		{Name: "requests", Kind: judge.Shares, Role: judge.Warning},
	}}))
	v := rivals{flagger: flagger(.01), argo: argo(.05)}
	var total, bad [2]int64
	for p := range total {
		must(0, j.Observe(judge.Observation{Signal: "requests", Pool: judge.Pool(p), At: begin}))
	}
	var active []session
	arrive := func(weight float64, left int) {
		s := session{id: r.Uint64(), canary: r.Float64() < weight, left: left}
		s.rate = .5 * math.Pow(1-r.Float64(), -1/1.2) // Pareto: no variance
		s.rate = min(s.rate, 60)
		s.failing = .001
		if r.Float64() < .05 {
			s.failing = .3 // a scanner that sends rubbish, whatever the release
		}
		if s.canary {
			s.failing = min(1, s.failing*w.worse)
		}
		active = append(active, s)
	}
	for range int(w.rate * 30) {
		arrive(w.weight(0), 1+r.IntN(60))
	}
	for m := range w.minutes {
		for t := r.ExpFloat64() / w.rate; t < 1; t += r.ExpFloat64() / w.rate {
			arrive(w.weight(m), 1+int(r.ExpFloat64()*30))
		}
		var requests, failures [2]float64
		sum := 0.0
		for _, s := range active {
			sum += s.rate
		}
		for t := r.ExpFloat64() / sum; t < 1; t += r.ExpFloat64() / sum {
			pick, i := r.Float64()*sum, 0
			for i < len(active)-1 && pick >= active[i].rate {
				pick -= active[i].rate
				i++
			}
			s, p := active[i], judge.Stable
			if s.canary {
				p = judge.Canary
			}
			fails := r.Float64() < s.failing
			requests[p]++
			total[p]++
			if fails {
				failures[p]++
				bad[p]++
			}
			now := float64(m) + t
			must(0, j.Observe(judge.Observation{Signal: "sessions", Pool: p, At: at(now), Session: s.id, Failed: fails}))
			must(0, j.Observe(judge.Observation{Signal: "requests", Pool: p, At: at(now), Total: total[p], Bad: bad[p]}))
			out.judge(j.EValue("sessions"), now)
			first(&out.plain1, now, j.EValue("requests") >= 100)
		}
		share := func(p judge.Pool) float64 { return failures[p] / max(1, requests[p]) }
		v.minute(m, points{share(judge.Canary), share(judge.Stable), share(judge.Stable), failures[judge.Canary], requests[judge.Canary]}, &out)
		stay := active[:0]
		for _, s := range active {
			if s.left--; s.left > 0 {
				stay = append(stay, s)
			}
		}
		active = stay
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// quantile95 and quantile99 are those of duration, where the release is as before.
var quantile95, quantile99 = quantile(.95), quantile(.99)

func quantile(q float64) float64 {
	below := func(x float64) float64 {
		f := (1 - tailShare) * math.Erfc(-math.Log(x/medianSeconds)/logSD/math.Sqrt2) / 2
		if x > tailFrom {
			f += tailShare * (1 - math.Pow(x/tailFrom, -tailIndex))
		}
		return f
	}
	low, high := 1e-3, 1e3
	for range 100 {
		if m := math.Sqrt(low * high); below(m) < q {
			low = m
		} else {
			high = m
		}
	}
	return high
}
