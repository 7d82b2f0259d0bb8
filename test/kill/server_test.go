//go:build odoo

package kill

import (
	"os"
	"testing"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// inFull says whether the whole matrix was asked for.
func inFull() bool { return os.Getenv("WAYBILL_KILL") != "core" }

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
