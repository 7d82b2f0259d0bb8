package judge

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
)

// start is where the tests' clock begins.
var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func TestStep(t *testing.T) {
	base := StepInput{Ready: true, MinRequests: 20, Tolerance: .01}
	for _, c := range []struct {
		name    string
		change  func(*StepInput)
		outcome Outcome
		says    string
	}{
		{"nothing seen", func(*StepInput) {}, Inconclusive, "nothing is known yet"},
		{"nothing seen at the deadline", func(s *StepInput) { s.DeadlinePassed = true }, Inconclusive, "the time for it is over"},
		{"only the old pool seen", func(s *StepInput) { s.Stable = Counts{1000, 0} }, Inconclusive, "nothing is known"},
		{"too few", func(s *StepInput) { s.Stable, s.Canary = Counts{200, 0}, Counts{19, 0} }, Inconclusive, "20 requests are asked for"},
		{"enough and clean", func(s *StepInput) { s.Stable, s.Canary = Counts{200, 0}, Counts{20, 0} }, Pass, "none failed"},
		{"clean at the deadline", func(s *StepInput) { s.Stable, s.Canary, s.DeadlinePassed = Counts{200, 0}, Counts{20, 0}, true }, Pass, "none failed"},
		{"clean, the old one fails", func(s *StepInput) { s.Stable, s.Canary = Counts{200, 50}, Counts{20, 0} }, Pass, "none failed"},
		{"one failure", func(s *StepInput) { s.Stable, s.Canary = Counts{200, 0}, Counts{20, 1} }, Inconclusive, "the excess lies between"},
		{"same share, much seen", func(s *StepInput) { s.Stable, s.Canary = Counts{50000, 100}, Counts{50000, 100} }, Pass, "is ruled out, the tolerance is"},
		{"worse, within the tolerance", func(s *StepInput) { s.Stable, s.Canary = Counts{90000, 90}, Counts{10000, 60} }, Pass, "is ruled out"},
		{"worse", func(s *StepInput) { s.Stable, s.Canary = Counts{1800, 2}, Counts{200, 12} }, Fail, "that is worse by more than"},
		{"worse, in a few requests", func(s *StepInput) { s.Stable, s.Canary = Counts{90, 0}, Counts{10, 4} }, Fail, "that is worse by more than"},
		{"half of all", func(s *StepInput) { s.Stable, s.Canary = Counts{10, 0}, Counts{10, 5} }, Fail, "50.0 % of what it gets"},
		{"both are down", func(s *StepInput) { s.Stable, s.Canary = Counts{900, 890}, Counts{100, 99} }, Inconclusive, "the excess"},
		{"not ready", func(s *StepInput) { s.Ready, s.Canary = false, Counts{100, 0} }, Fail, "not ready"},
		{"flow", func(s *StepInput) { s.FlowFailure, s.Canary = "flow ship: boom", Counts{100, 0} }, Fail, "flow ship: boom"},
		{"no old pool, clean", func(s *StepInput) { s.Alone, s.Canary = true, Counts{30, 0} }, Pass, "none failed"},
		{"no old pool, broken", func(s *StepInput) { s.Alone, s.Canary = true, Counts{100, 20} }, Fail, "higher by at least"},
		{"no old pool, all break", func(s *StepInput) { s.Alone, s.Canary = true, Counts{5, 5} }, Fail, "100.0 % of what it gets"},
		{"old pool without request", func(s *StepInput) { s.Canary = Counts{100, 20} }, Inconclusive, "no request on the old one"},
		{"old pool without request, clean", func(s *StepInput) { s.Canary = Counts{100, 0} }, Pass, "no request on the old one"},
		{"old pool without request, all break", func(s *StepInput) { s.Canary = Counts{5, 5} }, Fail, "100.0 % of what it gets"},
		{"first request of all breaks", func(s *StepInput) { s.Canary = Counts{1, 1} }, Inconclusive, "no request on the old one"},
		{"counts went backwards", func(s *StepInput) { s.Canary = Counts{-3, 0} }, Inconclusive, "do not hold together"},
		{"more failures than requests", func(s *StepInput) { s.Canary = Counts{3, 5} }, Inconclusive, "do not hold together"},
		{"tolerance is no number", func(s *StepInput) { s.Tolerance, s.Stable, s.Canary = math.NaN(), Counts{1800, 2}, Counts{200, 12} }, Fail, "worse"},
		{"everything is tolerated", func(s *StepInput) { s.Tolerance, s.Stable, s.Canary = 1, Counts{1800, 2}, Counts{200, 12} }, Pass, "is ruled out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base
			c.change(&in)
			v := Step(in)
			require.Equal(t, c.outcome, v.Outcome, v.Evidence)
			require.Contains(t, v.Evidence, c.says)
			require.LessOrEqual(t, v.Lower, v.Upper)
		})
	}
}

// TestFalseAlarms runs steps in which nothing is wrong and looks after every request. The canary's
// share of requests is left to chance, as in the field.
func TestFalseAlarms(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	const runs, looks = 1500, 500
	for _, c := range []struct{ weight, failing float64 }{{.1, .002}, {.1, .05}, {.5, .01}, {.05, .2}} {
		alarms := 0
		for range runs {
			var canary, stable Counts
			var compared Comparison
			at := start
			compared.Read(at, Pair{})
			for range looks {
				at = at.Add(time.Second)
				arm := &stable
				if random.Float64() < c.weight {
					arm = &canary
				}
				arm.Requests++
				if random.Float64() < c.failing {
					arm.Failed++
				}
				used := compared.Used
				compared.Read(at, Pair{canary, stable})
				if canary.share() < guardShare && (compared.Used == used || compared.EValue() < 1/Alpha) {
					continue // Step could not fail
				}
				if Step(StepInput{Stable: stable, Canary: canary, Ready: true, MinRequests: 20, Tolerance: .001, Compared: &compared}).Outcome == Fail {
					alarms++
					break
				}
			}
		}
		t.Logf("weight %g, failing %g: %d of %d", c.weight, c.failing, alarms, runs)
		require.LessOrEqual(t, float64(alarms)/runs, Alpha+3*math.Sqrt(Alpha*(1-Alpha)/runs), "%+v", c)
	}
}

// A canary that is really worse is found, and soon.
func TestHarmIsFound(t *testing.T) {
	long.Test(t)
	random := rand.New(rand.NewPCG(21, 22))
	for _, c := range []struct {
		weight, stable, canary float64
		within                 int // requests of both
	}{{.1, .001, .5, 300}, {.1, .002, .2, 800}, {.5, .005, .1, 600}} {
		const runs = 300
		found := 0
		for range runs {
			var canary, stable Counts
			var compared Comparison
			at := start
			compared.Read(at, Pair{})
			for range c.within {
				at = at.Add(time.Second)
				arm, failing := &stable, c.stable
				if random.Float64() < c.weight {
					arm, failing = &canary, c.canary
				}
				arm.Requests++
				if random.Float64() < failing {
					arm.Failed++
				}
				compared.Read(at, Pair{canary, stable})
				if Step(StepInput{Stable: stable, Canary: canary, Ready: true, MinRequests: 20, Tolerance: .01, Compared: &compared}).Outcome == Fail {
					found++
					break
				}
			}
		}
		t.Logf("%+v: %d of %d", c, found, runs)
		require.Greater(t, found, runs*95/100, "%+v", c)
	}
}

// More failures of the canary never make the verdict milder.
func TestStepIsMonotonic(t *testing.T) {
	long.Test(t)
	rank := map[Outcome]int{Pass: 0, Inconclusive: 1, Fail: 2}
	random := rand.New(rand.NewPCG(31, 32))
	for range 300 {
		stable := Counts{Requests: random.Int64N(500)}
		stable.Failed = random.Int64N(stable.Requests + 1)
		n := 20 + random.Int64N(300)
		last := -1
		for f := int64(0); f <= n; f += 1 + n/25 {
			v := Step(StepInput{Stable: stable, Canary: Counts{n, f}, Ready: true, MinRequests: 20, Tolerance: .01})
			require.GreaterOrEqual(t, rank[v.Outcome], last, "%v, %d of %d: %s", stable, f, n, v)
			last = rank[v.Outcome]
		}
	}
}
