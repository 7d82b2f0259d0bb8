//go:build odoo

package kill

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// TestKillCore is what guards every change: a failing release whose way back is cut short, and a
// good one that is cut short where most can go wrong.
func TestKillCore(t *testing.T) {
	t.Run("way back", func(t *testing.T) {
		play(t, scenario{release: "r3", points: []string{"before-undo:hold"}, outcome: rolledBack, reason: "acme_label", serving: "r1", schema: "r1"})
		lift(t, "r3")
	})
	t.Run("way forward", func(t *testing.T) {
		play(t, scenario{release: "r2", points: []string{"inside:checkpoint", "inside:update", "after:update", "inside:shift 50"},
			outcome: promoted, serving: "r2", schema: "r2"})
	})
}

// fullOnly ends a test of the whole matrix where only the core was asked for.
func fullOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("WAYBILL_KILL") == "core" {
		t.Skip("only the core of the matrix was asked for: WAYBILL_KILL=core")
	}
}

// boundaries are "before" and "after" of steps, in turn.
func boundaries(kind string, steps ...string) []string {
	var points []string
	for _, step := range steps {
		points = append(points, "before"+kind+":"+step, "after"+kind+":"+step)
	}
	return points
}

// TestKillAtEveryBoundary is one promotion whose server dies before and after each of its steps.
func TestKillAtEveryBoundary(t *testing.T) {
	fullOnly(t)
	play(t, scenario{release: "r2", points: boundaries("", "admit", "rehearse", "start pool", "checkpoint", "hold", "update", "let go", "verify", "shift", "bake", "record"),
		outcome: promoted, serving: "r2", schema: "r2"})
}

// TestKillInside is one promotion for each place in the middle of a step.
func TestKillInside(t *testing.T) {
	fullOnly(t)
	for _, point := range []string{"inside:checkpoint", "inside:hold", "inside:update", "inside:update committed", "inside:shift 50", "inside:shift 100"} {
		t.Run(point, func(t *testing.T) {
			play(t, scenario{release: "r2", points: []string{point}, outcome: promoted, serving: "r2", schema: "r2"})
		})
	}
}

// TestKillOnTheWayBack cuts short the ways back: from an update that failed, and from one that has
// committed and that the old release lives with.
func TestKillOnTheWayBack(t *testing.T) {
	fullOnly(t)
	t.Run("after a failed update", func(t *testing.T) {
		play(t, scenario{release: "r3", points: boundaries("-undo", "update", "hold", "checkpoint", "start pool"),
			outcome: rolledBack, reason: "acme_label", serving: "r1", schema: "r1"})
		lift(t, "r3")
	})
	t.Run("after a committed update", func(t *testing.T) {
		play(t, scenario{release: "r4", points: boundaries("-undo", "verify", "update", "hold", "checkpoint", "start pool"),
			outcome: rolledBack, reason: "printed", serving: "r1", schema: "r4"})
		lift(t, "r4")
	})
}

// TestKillBreaking: all at once behind the hold, the checkpoint inside the fence.
func TestKillBreaking(t *testing.T) {
	fullOnly(t)
	for _, points := range [][]string{
		{"before:checkpoint in fence", "inside:checkpoint", "after:checkpoint in fence", "inside:update", "inside:update committed"},
		{"before:shift", "inside:shift 100", "before:release hold", "after:release hold"},
	} {
		t.Run(points[0], func(t *testing.T) {
			play(t, scenario{release: "r5", points: points, outcome: promoted, serving: "r5", schema: "r5"})
		})
	}
}

// TestKillBreakingTakenBack: a person takes a breaking release back while everybody waits; the
// database returns from the checkpoint in the fence, and the server dies in that restore.
func TestKillBreakingTakenBack(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	play(t, scenario{release: "r5", points: []string{"before:shift", "inside:restore", "after-undo:update", "before-undo:hold"},
		meddle: func(ctx context.Context, t *testing.T) {
			before := s.Server
			// It is asked for while the server is dead, at the point before the shift: through the
			// record itself, as an API call would write it.
			select {
			case <-before.Ended:
			case <-ctx.Done():
				t.Fatal("the server did not reach the shift")
			}
			if err := query(ctx, s, stage.StateServer, "postgres", func(db *pgx.Conn) error {
				tag, err := db.Exec(ctx, "update rollouts set abort = 'a test' where state = 'running'")
				if err == nil && tag.RowsAffected() != 1 {
					err = errors.New("no rollout runs")
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		},
		outcome: rolledBack, reason: "a test", serving: "r1", schema: "r1"})
	lift(t, "r5")
}

// TestKillRestore is one restore whose server dies in the middle and at its boundaries.
func TestKillRestore(t *testing.T) {
	fullOnly(t)
	points := boundaries("", "admit", "start pool", "hold", "checkpoint in fence")
	points = append(points, "before:restore", "inside:restore", "after:restore")
	points = append(points, boundaries("", "verify", "shift", "release hold", "record")...)
	play(t, scenario{release: "base", ask: []string{"restore", stage.Tenant, "BASE"}, points: points, restored: true,
		outcome: promoted, serving: "r1", schema: "r1"})
}

// lift lets a release in again, once it is shown that it is kept out.
func lift(t *testing.T, release string) {
	t.Helper()
	s := theStage(t)
	if err := s.Ask(t.Context(), nil, "promote", release, stage.Environment); err == nil {
		t.Errorf("%s entered again although it was taken back", release)
	}
	if err := s.Ask(t.Context(), nil, "quarantine", "lift", stage.Environment, release); err != nil {
		t.Error(err)
	}
}
