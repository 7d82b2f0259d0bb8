//go:build odoo

package kill

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/internal/api"
)

// TestKillRotateLogins changes the database login of production while people work and the server dies at each step: nobody notices.
func TestKillRotateLogins(t *testing.T) {
	fullOnly(t)
	play(t, scenario{release: "r1", ask: []string{"secrets", "rotate", "--env", stage.Environment, "database"},
		points:  boundaries("", "admit", "start pool", "verify", "shift", "empty old pool", "record"),
		outcome: promoted, serving: "r1", schema: "r1"})
	if r := rows[len(rows)-1]; r.failed > 0 {
		t.Errorf("%d of %d requests failed", r.failed, r.requests)
	}
}

// TestKillRotateBridgeKey changes the key of the bridges under the same conditions; a checkpoint afterwards needs a bridge that
// takes the new key.
func TestKillRotateBridgeKey(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	toBase(t, s)
	if err := s.Down(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := s.Up(ctx); err != nil {
		t.Fatal(err)
	}
	people := hire(t, s)
	r := row{release: "r1", points: "bridge key, three times", outcome: "changed"}
	began := time.Now()
	for range 3 {
		var list []api.Secret
		if err := s.Ask(ctx, &list, "secrets", "rotate", "--env", stage.Environment, "bridge"); err != nil {
			t.Fatalf("%v\n%s", err, s.LogTail())
		}
		if list[0].Name != "bridge" || list[0].Overlap {
			t.Errorf("the key that was is still in force: %+v", list)
		}
	}
	r.whole = time.Since(began)
	if _, err := s.Checkpoint(ctx); err != nil {
		t.Errorf("%v\n%s", err, s.LogTail())
	}
	people.goHome(t, s, &r)
	if r.failed > 0 {
		t.Errorf("%d of %d requests failed", r.failed, r.requests)
	}
	rows = append(rows, r)
	looksLike(t, s, "r1", "r1")
}
