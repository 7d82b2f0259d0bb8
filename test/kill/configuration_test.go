//go:build odoo

package kill

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/examples/acme/stage"
)

// TestKillConfiguration gives production other settings while people work and the server dies at each step, and takes them
// back the same way; r1 serves all the while.
func TestKillConfiguration(t *testing.T) {
	fullOnly(t)
	s := theStage(t)
	for _, c := range []struct {
		name, declared string
		settings       map[string]string
	}{
		{"there", "settings: {limit_time_cpu: \"250\"}\n", map[string]string{"limit_time_cpu": "250"}},
		{"and back", "", map[string]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, scenario{release: "r1", ask: []string{"configure", stage.Environment},
				points: boundaries("", "admit", "start pool", "verify", "shift", "bake", "record"),
				before: func(t *testing.T) {
					t.Helper()
					if err := s.Declare(t.Context(), c.declared); err != nil {
						t.Fatal(err)
					}
				},
				outcome: promoted, serving: "r1", schema: "r1"})
			if r := rows[len(rows)-1]; r.failed > 0 {
				t.Errorf("%d of %d requests failed", r.failed, r.requests)
			}
			settings := map[string]string{}
			if err := query(t.Context(), s, stage.StateServer, "postgres", func(db *pgx.Conn) error {
				return db.QueryRow(t.Context(), "select settings from pools").Scan(&settings)
			}); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(settings, c.settings) {
				t.Errorf("the pool was started with %v, expected %v", settings, c.settings)
			}
		})
	}
}
