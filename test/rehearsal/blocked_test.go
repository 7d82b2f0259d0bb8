//go:build odoo && docker

package rehearsal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/rehearsal"
	"github.com/waybill-dev/waybill/internal/rehearsal/cpuwait"
)

// loadRate is how many statements a second come to each table.
const loadRate = 10

// use is a statement that people run on the table that a change locks.
type use struct {
	change, table, sql string
	writes             bool
}

func reading(change, table string) use {
	return use{change, table, "SELECT count(*) FROM " + table + " WHERE id = 1", false}
}

// blocking are releases, one onto the other, each of several changes; each change has a table of its own.
var blocking = [][]use{
	{reading("computed", "wbc_computed"), reading("retyped", "wbc_retyped")},
	{{"indexed", "wbc_indexed", "INSERT INTO wbc_indexed (name, amount) VALUES ('load', 1)", true}, reading("renamed", "wbc_renamed"), reading("translated", "wbc_translated")},
	{reading("required", "stock_picking"), reading("removed", "wbc_removed")},
}

// benchBlocked has statements come to the tables as pgbench would send them (pgbench --rate: at fixed moments, and one
// that comes late because the one before waited has waited itself), past the router, whose hold would keep them
// back. First the release is rehearsed, then really promoted; how long each table was blocked is held against what was
// foretold. What production's update waited for a CPU is taken off, as the rehearsal does.
func benchBlocked(b *testing.B, on *bench) {
	judged, busy := 0, 0
	for i, uses := range blocking {
		name := fmt.Sprintf("blocked%d", i+1)
		say := func(format string, args ...any) {
			b.Logf("%s of %d: "+format, append([]any{name, len(blocking)}, args...)...)
		}
		for _, u := range uses {
			on.promoted = append(on.promoted, on.named(b, u.change)...)
		}
		require.NoError(b, tagTogether(b.Context(), filepath.Join(on.Folder, "source"), name, on.promoted...))
		release(b, on.Stage, name)
		if i > 0 { // what was taken before the last update proves nothing
			require.NoError(b, on.Ask(b.Context(), nil, "checkpoint", "create", tenant))
		}
		url, err := on.DatabaseURL(stage.TenantsServer, database)
		require.NoError(b, err)
		people := work(b, url, uses)
		say("rehearse")
		var r api.Rehearsal
		require.NoError(b, on.Ask(b.Context(), &r, "rehearse", name, "--env", "production"))
		require.NotNil(b, r.Report)
		require.NotNil(b, r.Report.Timeline)
		require.NotNil(b, r.Report.Timeline.Traffic)
		say("rehearsed: update %.1f s, of which %.1f s waiting for a CPU; promote", r.Report.Update.JobSeconds, r.Report.Update.CPUWaitSeconds)
		began := time.Now()
		waited := watchUpdate(b, on)
		var p api.Promotion
		require.NoError(b, on.Ask(b.Context(), &p, "promote", name, "production"))
		lostBetween := waited()
		answers := people()
		say("people waited %.1f s at the router, foretold %.1f s", p.Rollouts[0].HeldSeconds, p.Rollouts[0].Predicted)
		for _, u := range uses {
			real, ok := longest(answers[u.table], began)
			require.True(b, ok, "%s was not used", u.table)
			told := foretold(r.Report.Timeline, u)
			lost := lostBetween(real.from, real.to)
			measured := real.to.Sub(real.from).Seconds() - lost
			ratio := told.HeldSeconds / measured
			say("%-10s %-14s blocked: foretold %.1f s, measured %.1f s (and %.1f s that the update waited for a CPU), ratio %.2f; statements (by %s): foretold %.0f, %.0f s together, measured %d, %.0f s together",
				u.change, u.table, told.HeldSeconds, measured, lost, ratio, r.Report.Timeline.Traffic.Source, told.Blocked, told.BlockedSeconds, real.statements, real.together)
			b.ReportMetric(ratio, u.change+"-foretold/measured")
			rehearsed := r.Report.Update
			switch {
			case lost > measured || rehearsed.CPUWaitSeconds > rehearsed.JobSeconds/2: // who waits for a CPU loses caches and his turn at the disk too
				busy++
				say("%s: not judged, the machine is too busy", u.change)
			case ratio < 0.5 || ratio > 2:
				judged++
				b.Errorf("%s: blocked time foretold %.1f s, measured %.1f s: more than a factor of 2", u.change, told.HeldSeconds, measured)
			default:
				judged++
			}
		}
	}
	if judged < 6 {
		b.Errorf("only %d of %d changes could be judged: in the others the update waited for a CPU more than half of the time; run it on a quiet machine", judged, judged+busy)
	}
}

// foretold is the longest lock that keeps such a statement out.
func foretold(line *rehearsal.Timeline, u use) (longest rehearsal.Lock) {
	for _, l := range line.Locks {
		if l.Table == "public."+u.table && (u.writes || l.Blocks == "reads and writes") && l.HeldSeconds > longest.HeldSeconds {
			longest = l
		}
	}
	return longest
}

// answer is one statement: when it was to come, when it did, and when it was answered.
type answer struct{ due, began, ended time.Time }

// work lets people run their statements until the returned function is called, which hands over what they met.
func work(b *testing.B, url string, uses []use) (home func() map[string][]answer) {
	ctx, stop := context.WithCancel(b.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	answers, errs := map[string][]answer{}, []error{}
	for _, u := range uses {
		conn, err := pgx.Connect(b.Context(), url)
		require.NoError(b, err)
		all.Go(func() {
			defer func() { _ = conn.Close(context.Background()) }()
			var met []answer
			var err error
			start := time.Now()
			for n := 0; err == nil; n++ {
				a := answer{due: start.Add(time.Duration(n) * time.Second / loadRate)}
				select {
				case <-ctx.Done():
					n = -1
				case <-time.After(time.Until(a.due)):
				}
				if n < 0 {
					break
				}
				a.began = time.Now()
				_, err = conn.Exec(context.WithoutCancel(ctx), u.sql, pgx.QueryExecModeSimpleProtocol)
				a.ended = time.Now()
				met = append(met, a)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[u.table] = met
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", u.sql, err))
			}
		})
	}
	once := sync.OnceFunc(func() { stop(); all.Wait() })
	b.Cleanup(once)
	return func() map[string][]answer {
		once()
		require.Empty(b, errs)
		return answers
	}
}

// block is one time that a table was blocked.
type block struct {
	from, to   time.Time
	statements int     // that came meanwhile
	together   float64 // seconds that they waited
}

// longest finds the statement that waited longest since a moment, and those that waited behind it.
func longest(met []answer, since time.Time) (found block, ok bool) {
	for _, a := range met {
		if a.began.After(since) && (!ok || a.ended.Sub(a.began) > found.to.Sub(found.from)) {
			found, ok = block{from: a.began, to: a.ended}, true
		}
	}
	for _, a := range met {
		if !a.due.Before(found.from) && a.due.Before(found.to) || a.began.Equal(found.from) {
			found.statements++
			found.together += found.to.Sub(a.due).Seconds()
		}
	}
	return found, ok
}

// watchUpdate looks at what production's own update waits for, until it is called; then it tells of any interval.
func watchUpdate(b *testing.B, on *bench) func() func(from, to time.Time) float64 {
	ctx, stop := context.WithCancel(b.Context())
	instance, err := on.Instance()
	require.NoError(b, err)
	content, err := os.ReadFile(filepath.Join(on.ServerFolder(stage.TenantsServer), "postmaster.pid"))
	require.NoError(b, err)
	postmaster, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(content), "\n", 2)[0]))
	require.NoError(b, err)
	type point struct {
		at     time.Time
		waited time.Duration
	}
	var points []point
	var done sync.WaitGroup
	done.Go(func() {
		roots := []cpuwait.Root{{PID: postmaster, Match: "_update " + database}}
		var meter cpuwait.Meter
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			if len(roots) == 1 && n%5 == 0 {
				if pid := updateContainer(ctx, instance); pid > 0 {
					roots = append(roots, cpuwait.Root{PID: pid, Match: "waybill_update"})
				}
			}
			points = append(points, point{time.Now(), meter.Look(roots...)})
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	once := sync.OnceFunc(func() { stop(); done.Wait() })
	b.Cleanup(once)
	return func() func(from, to time.Time) float64 {
		once()
		until := func(at time.Time) time.Duration {
			i, _ := slices.BinarySearchFunc(points, at, func(p point, at time.Time) int { return p.at.Compare(at) })
			return points[min(i, len(points)-1)].waited
		}
		return func(from, to time.Time) float64 { return min(until(to)-until(from), to.Sub(from)).Seconds() }
	}
}

// updateContainer is the process of the instance's update, 0 where none runs.
func updateContainer(ctx context.Context, instance string) int {
	out, err := exec.CommandContext(ctx, "docker", "ps", "-q", "--filter", "label=dev.waybill.instance="+instance, "--filter", "label=dev.waybill.role=update").Output()
	id := strings.TrimSpace(string(out))
	if err != nil || id == "" || strings.Contains(id, "\n") {
		return 0
	}
	out, err = exec.CommandContext(ctx, "docker", "inspect", "-f", "{{.State.Pid}}", id).Output()
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
	return pid
}
