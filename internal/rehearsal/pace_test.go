package rehearsal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/waybill-dev/waybill/internal/estate"
)

func TestPace(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return then.Add(time.Duration(seconds * float64(time.Second))) }
	var p pace
	p.add(at(0), 0)
	p.add(at(10), 6*time.Second) // it waited more than half of the time
	p.add(at(20), 6*time.Second) // and then no more
	for _, c := range []struct{ from, to, want float64 }{
		{0, 10, 6}, {0, 20, 6}, {10, 20, 0}, {5, 15, 3}, {-5, 30, 6}, {2, 2, 0}, {20, 40, 0},
	} {
		assert.InDelta(t, c.want, p.between(at(c.from), at(c.to)), 0.001, "%v", c)
	}
	var none *pace
	assert.Zero(t, none.between(at(0), at(10)))

	line := Timeline{Locks: []Lock{{From: 0, To: 10}, {From: 5, To: 15}, {From: 12, To: 14}}}
	line.atFullPace(then, &p)
	assert.InDeltaSlice(t, []float64{4, 7, 2}, []float64{line.Locks[0].HeldSeconds, line.Locks[1].HeldSeconds, line.Locks[2].HeldSeconds}, 0.001)
}

// TestPaceIsBounded: a job that takes hours is remembered less finely, and sums to the same.
func TestPaceIsBounded(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pace
	const looks = 5 * maxPoints
	for i := range looks {
		p.add(then.Add(time.Duration(i)*paceEvery), time.Duration(i)*paceEvery/2)
	}
	assert.Less(t, len(p.points), maxPoints)
	assert.InDelta(t, (looks * paceEvery / 2).Seconds(), p.between(then, then.Add(looks*paceEvery)), 10)
}

// TestWaitingForACPUIsNotForetold: what the rehearsal waited for others says nothing of production.
func TestWaitingForACPUIsNotForetold(t *testing.T) {
	r := evidence(estate.Breaking) // 8 s of update, a flow of 1 s, a registry of 2 s
	r.Update.CPUWaitSeconds, r.WayBack.Seconds, r.WayBack.CPUWaitSeconds = 6, 4, 1
	classify(r, time.Minute, 4)
	assert.InDelta(t, 1+2+4+2*0.75+1*0.25, r.ComputedSeconds, 0.001)
	r.Update.CPUWaitSeconds = 99 // more than there was cannot be
	classify(r, time.Minute, 4)
	assert.InDelta(t, 1+4+2*0.75, r.ComputedSeconds, 0.001)
}
