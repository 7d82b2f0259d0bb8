package promotion

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/rehearsal"
)

// TestLearn: evidence decides, and the estate may demand more, never less.
func TestLearn(t *testing.T) {
	for _, c := range []struct {
		name                   string
		found, declared, least estate.Class
		planOne, reportOne     bool
		pause                  string
		class                  estate.Class
		transactional, freezes bool
		updates                bool
	}{
		{name: "evidence alone", found: estate.Compatible, planOne: true, reportOne: true, pause: "hold", class: estate.Compatible, transactional: true, updates: true},
		{name: "less than declared", found: estate.Compatible, declared: estate.Breaking, planOne: true, reportOne: true, pause: "hold", class: estate.Breaking, transactional: true, updates: true},
		{name: "more than declared", found: estate.Breaking, declared: estate.Compatible, planOne: true, reportOne: true, pause: "freeze", class: estate.Breaking, transactional: true, freezes: true, updates: true},
		{name: "the environment demands more", found: estate.Swap, least: estate.Compatible, planOne: true, reportOne: true, pause: "none", class: estate.Compatible, transactional: true, updates: true},
		{name: "nothing changes", found: estate.Swap, planOne: true, reportOne: true, pause: "none", class: estate.Swap, transactional: true},
		{name: "commits by itself", found: estate.Compatible, planOne: true, pause: "freeze", class: estate.Compatible, freezes: true, updates: true},
		{name: "declared as committing by itself", found: estate.Compatible, reportOne: true, pause: "hold", class: estate.Compatible, updates: true},
	} {
		plan := Plan{Class: estate.Breaking, Declared: c.declared, Update: []string{"acme"}, Transactional: c.planOne}
		learn(&plan, &rehearsal.Report{ID: "x", Outcome: rehearsal.Proven, Class: c.found, Transactional: c.reportOne, Pause: c.pause}, "", c.least)
		assert.Equal(t, c.class, plan.Class, c.name)
		assert.Equal(t, c.transactional, plan.Transactional, c.name)
		assert.Equal(t, c.freezes, plan.Freeze, c.name)
		assert.Equal(t, c.updates, len(plan.Update) > 0, c.name)
		assert.Contains(t, plan.ClassReason, "rehearsal x", c.name)
	}
}
