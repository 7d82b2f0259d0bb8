// Command judge plays releases against the judge and against what others use, and prints how often a
// release with nothing wrong goes back, and how long a bad one takes to be found. It is seeded: the same
// numbers come out each time. It ends non-zero when the judge does not keep what it promises.
//
//	go run ./test/bench/judge -releases 10000 -seed 1
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	releases := flag.Int("releases", 10_000, "with nothing wrong, for each row")
	bad := flag.Int("bad", 1_000, "bad ones, for each row of the second table")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	flag.Parse()
	began := time.Now()
	ok := run(os.Stdout, *releases, *bad, *seed)
	fmt.Fprintf(os.Stderr, "%s on %d cores\n", time.Since(began).Round(time.Second), runtime.GOMAXPROCS(0))
	if !ok {
		os.Exit(1)
	}
}

func run(out io.Writer, releases, bad int, seed uint64) bool {
	fmt.Fprintf(out, "False rollbacks: share of %d releases with nothing wrong that go back. Seed %d.\n", releases, seed)
	fmt.Fprintln(out, "The judge is asked after every observation, the others as they are used: see docs/judge.md.")
	fmt.Fprintln(out)
	fmt.Fprintf(out, "%-58s %6s %9s %9s %9s %9s %9s\n", "", "hours", "judge 1 %", "judge 5 %", "Flagger", "Argo", "Kayenta")
	ok := true
	good := map[string][]result{}
	for _, row := range quiet() {
		results := play(row.world, row.how, releases, seed, [2]float64{math.Inf(1), math.Inf(1)}, false)
		good[row.world.name] = results
		one, five := share(results, func(r result) float64 { return r.at1 }), share(results, func(r result) float64 { return r.at5 })
		mark := ""
		switch {
		case row.world.exceeds:
			mark = "  (beyond what this kind is for)"
		case one > .01 || five > .05:
			mark, ok = "  TOO MANY", false
		}
		fmt.Fprintf(out, "%-58s %6.1f %9s %9s %9s %9s %9s%s\n", row.world.name, float64(row.world.minutes)/60, percent(one), percent(five),
			percent(share(results, func(r result) float64 { return r.flagger })), percent(share(results, func(r result) float64 { return r.argo })),
			percent(share(results, func(r result) float64 { return r.kayenta })), mark)
		if plain := share(results, func(r result) float64 { return r.plain1 }); plain > 0 {
			fmt.Fprintf(out, "%-58s %6s %9s\n", "  the same, request by request", "", percent(plain))
		}
	}
	fmt.Fprintf(out, "\nTime to find a bad release, in minutes: the mean, where one that is not found counts as the whole time;\n")
	fmt.Fprintf(out, "and the share found. %d bad releases a row. Mann-Whitney is calibrated on %d good ones to the judge's own\n", bad, releases)
	fmt.Fprintf(out, "measured rate of false rollbacks in this row at α = 5 %%, which both then have; of its two forms the faster is shown.\n\n")
	fmt.Fprintf(out, "%-48s %6s %8s %7s  %-16s %-16s %-16s\n", "", "hours", "false", "worse", "judge 5 %", "Mann-Whitney", "judge 1 %")
	for _, row := range quiet() {
		if !row.harm {
			continue
		}
		good := good[row.world.name]
		rate := share(good, func(r result) float64 { return r.at5 })
		limit := [2]float64{critical(good, 0, rate), critical(good, 1, rate)}
		for _, worse := range []float64{1.25, 1.5, 2, 5} {
			w := row.world
			w.worse = worse
			results := play(w, row.how, bad, seed+1, limit, true)
			horizon := float64(w.minutes)
			ours := timing(results, horizon, func(r result) float64 { return r.at5 })
			theirs := timing(results, horizon, func(r result) float64 { return r.found[0] })
			if other := timing(results, horizon, func(r result) float64 { return r.found[1] }); other.mean < theirs.mean {
				theirs = other
			}
			strict := timing(results, horizon, func(r result) float64 { return r.at1 })
			mark := ""
			if ours.mean > theirs.mean+2*math.Hypot(ours.err, theirs.err) {
				mark, ok = "  LATER", false
			}
			fmt.Fprintf(out, "%-48s %6.1f %8s %7s  %-16s %-16s %-16s%s\n", w.name, horizon/60, percent(rate), fmt.Sprintf("×%g", worse), ours, theirs, strict, mark)
		}
	}
	return ok
}

type row struct {
	world world
	how   func(world, *rand.Rand, [2]float64, bool) result
	harm  bool // also with a canary that is worse, in the second table
}

// quiet are the worlds in which nothing is wrong.
func quiet() []row {
	day := func(m int) float64 { return 1 + .9*math.Sin(2*math.Pi*float64(m)/1440) }
	steps := func(m int) float64 { return []float64{.05, .25, .5}[min(2, m/60)] }
	half, twentieth := constant(.5), constant(.05)
	rows := []row{
		{world{name: "events, 1 a minute, weight 50 %", minutes: 240, rate: 1, weight: half}, world.events, false},
		{world{name: "events, 5 a minute, weight 50 %", minutes: 240, rate: 5, weight: half}, world.events, true},
		{world{name: "events, 5 a minute, weight 5 %", minutes: 480, rate: 5, weight: twentieth}, world.events, true},
		{world{name: "events, 60 a minute, weight 50 %", minutes: 60, rate: 60, weight: half}, world.events, true},
		{world{name: "events, 60 a minute, weight 5 %", minutes: 120, rate: 60, weight: twentieth}, world.events, true},
		{world{name: "events, bursts of both pools, ρ = 0.5, 5 a minute", minutes: 240, rate: 5, weight: half, shared: .7}, world.events, false},
		{world{name: "events, bursts of each pool its own, ρ = 0.5, 5 a minute", minutes: 240, rate: 5, weight: half, own: .7, exceeds: true}, world.events, false},
		{world{name: "series, each pool its own noise, ρ = 0.5", minutes: 240, weight: half}, world.series, false},
		{world{name: "events, daily cycle 0.5 to 9.5 a minute", minutes: 1440, rate: 5, weight: half, load: day}, world.events, false},
		{world{name: "events, weight 5, 25, 50 %, an hour each, 5 a minute", minutes: 180, rate: 5, weight: steps}, world.events, false},
		{world{name: "durations, heavy tail, 60 a minute, weight 50 %", minutes: 60, rate: 60, weight: half}, world.latency, true},
		{world{name: "durations, heavy tail, 60 a minute, weight 5 %", minutes: 60, rate: 60, weight: twentieth}, world.latency, true},
		{world{name: "durations, load of both pools, ρ = 0.5, weights change", minutes: 180, rate: 20, weight: steps, shared: .5}, world.latency, false},
		{world{name: "sessions, heavy users, weight 50 %", minutes: 60, rate: 3, weight: half}, world.sessions, false},
		{world{name: "sessions, heavy users, weight 10 %", minutes: 60, rate: 3, weight: constant(.1)}, world.sessions, false},
	}
	for i := range rows {
		rows[i].world.worse = 1
	}
	return rows
}

// play plays n releases on all cores; each has random numbers of its own, so that the order does not matter.
func play(w world, how func(world, *rand.Rand, [2]float64, bool) result, n int, seed uint64, limit [2]float64, stop bool) []result {
	results := make([]result, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				results[i] = how(w, rand.New(rand.NewPCG(seed, uint64(i))), limit, stop)
			}
		})
	}
	group.Wait()
	return results
}

func share(results []result, at func(result) float64) float64 {
	n := 0
	for _, r := range results {
		if at(r) < math.Inf(1) {
			n++
		}
	}
	return float64(n) / float64(len(results))
}

// critical is the limit that so many of the releases' highest z reach, at most.
func critical(good []result, form int, rate float64) float64 {
	peaks := make([]float64, len(good))
	for i, r := range good {
		peaks[i] = r.peak[form]
	}
	slices.Sort(peaks)
	reach := int(math.Round(rate * float64(len(good))))
	if reach == 0 {
		return math.Nextafter(peaks[len(peaks)-1], math.Inf(1))
	}
	return peaks[len(peaks)-reach]
}

type found struct{ mean, err, share float64 }

func timing(results []result, horizon float64, at func(result) float64) found {
	var sum, squares float64
	for _, r := range results {
		t := min(at(r), horizon)
		sum += t
		squares += t * t
	}
	n := float64(len(results))
	mean := sum / n
	return found{mean, math.Sqrt(max(0, squares/n-mean*mean) / n), share(results, at)}
}

func (f found) String() string { return fmt.Sprintf("%6.1f %7s", f.mean, percent(f.share)) }

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
