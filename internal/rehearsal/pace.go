package rehearsal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/rehearsal/cpuwait"
)

// paceEvery is the pause between two looks at what a job waited for.
const paceEvery = 100 * time.Millisecond

// maxPoints bounds a pace: what lasts longer is remembered less finely.
const maxPoints = 20000

// pace is how long, at each moment of a job, it had waited for a CPU so far, container and database sessions together.
// A rehearsal gives way to production, which gives way to nobody: what it waited for says nothing of production.
type pace struct {
	points []point
	every  time.Duration // the least between two points
}

type point struct {
	at     time.Time
	waited time.Duration
}

func (p *pace) add(at time.Time, waited time.Duration) {
	if n := len(p.points); n > 0 && at.Sub(p.points[n-1].at) < p.every {
		return
	}
	p.points = append(p.points, point{at, waited})
	if len(p.points) < maxPoints {
		return
	}
	half := p.points[:0]
	for i := 0; i < len(p.points); i += 2 {
		half = append(half, p.points[i])
	}
	p.points, p.every = half, max(2*p.every, 2*paceEvery)
}

// until is what had been waited for at a moment.
func (p *pace) until(at time.Time) time.Duration {
	if p == nil || len(p.points) == 0 {
		return 0
	}
	i := sort.Search(len(p.points), func(i int) bool { return p.points[i].at.After(at) })
	switch {
	case i == 0:
		return p.points[0].waited
	case i == len(p.points):
		return p.points[i-1].waited
	}
	a, b := p.points[i-1], p.points[i]
	share := float64(at.Sub(a.at)) / float64(b.at.Sub(a.at))
	return a.waited + time.Duration(share*float64(b.waited-a.waited))
}

// between is what was waited for between two moments, in seconds, never more than lies between them.
func (p *pace) between(from, to time.Time) float64 {
	return max(0, min(p.until(to)-p.until(from), to.Sub(from)).Seconds())
}

// watchPace looks at a job, its container and its sessions, until end is called, which hands over what was seen. Where
// the container's processes cannot be seen (an engine that keeps them to itself) that is its sessions alone.
func (r *run) watchPace(ctx context.Context, name string, verb string) (end func() *pace) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	seen := &pace{}
	go func() {
		defer close(done)
		roots := []cpuwait.Root{{Match: " " + loginRole + " "}}
		roots[0].PID, _ = postmaster(filepath.Join(r.scratch.dir, "postgres", "data"))
		if state, err := r.scratch.jobs.Job(ctx, environment, name); err == nil && state.PID > 0 {
			roots = append(roots, cpuwait.Root{PID: state.PID, Match: verb})
		}
		var meter cpuwait.Meter
		look := func() { now := time.Now(); seen.add(now, meter.Look(roots...)) }
		look()
		tick := time.NewTicker(paceEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return func() *pace { stop(); <-done; return seen }
}

// postmaster reads the server's process from its lock file.
func postmaster(dataDir string) (int, error) {
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("postmaster.pid names process %q", line)
	}
	return pid, nil
}
