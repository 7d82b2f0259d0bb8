package estate

import "time"

// The defaults are filled where a field was not written down; a field given as 0 or [] stays so.

func (p *Product) fill(given func(string) bool) {
	if !given("base") && p.Series != "" {
		p.Base = "odoo:" + p.Series
	}
	if !given("addons") {
		p.Addons = []string{"addons"}
	}
}

// DefaultWorkers is how many an environment's pools have that says nothing of them.
const DefaultWorkers = 2

func (e *Environment) fill(given func(string) bool) {
	or(given, "workers", &e.Workers, DefaultWorkers)
	or(given, "hold_budget", &e.HoldBudget, 20*time.Second)
	or(given, "update_deadline", &e.Deadline, 30*time.Minute)
	or(given, "drain_limit", &e.DrainLimit, 10*time.Second)
	or(given, "rollout.steps", &e.Rollout.Steps, []int{10, 50})
	or(given, "rollout.requests", &e.Rollout.Requests, 20)
	or(given, "rollout.step_deadline", &e.Rollout.StepDeadline, 5*time.Minute)
	or(given, "rollout.max_error_rate", &e.Rollout.MaxErrorRate, 0.01)
	or(given, "rollout.bake", &e.Rollout.Bake, time.Minute)
	e.Rollout.fillSignals(given)
	e.fillApprovals(given)
	e.fillEmergency(given)
	e.fillRings(given)
	e.fillIsolation(given)
	e.fillScale(given)
}

func (t *Tenant) fill(given func(string) bool) {
	or(given, "hosting", &t.Hosting, Shared)
	if !given("database") && t.Name != "" && t.Environment != "" {
		t.Database = t.Name + "_" + t.Environment
	}
}

func (c *Classification) fill(given func(string) bool) {
	yes := true
	or(given, "transactional", &c.Transactional, &yes)
}

func or[T any](given func(string) bool, path string, field *T, value T) {
	if !given(path) {
		*field = value
	}
}
