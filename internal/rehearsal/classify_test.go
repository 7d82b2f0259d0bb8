package rehearsal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/estate"
)

func evidence(class estate.Class) *Report {
	return &Report{Outcome: Proven, Class: class, Transactional: true, OldReleaseName: "r1", Plan: Plan{Update: []string{"acme"}},
		Update: &Update{JobSeconds: 8, Flows: []bridge.Flow{{Name: "ship", Seconds: 1, Outcome: bridge.FlowPassed}}},
		Effect: &Effect{}, Timeline: &Timeline{}, WayBack: &WayBack{Works: class == estate.Compatible, RegistrySeconds: 2}}
}

func TestPause(t *testing.T) {
	for _, c := range []struct {
		name          string
		class         estate.Class
		transactional bool
		budget        time.Duration
		pause         string
		seconds       float64
	}{
		{"swap", estate.Swap, true, 20 * time.Second, PauseNone, 0},
		{"compatible fits", estate.Compatible, true, 20 * time.Second, PauseHold, 9},
		{"compatible does not fit", estate.Compatible, true, 8 * time.Second, PauseFreeze, 9},
		{"breaking waits for checkpoint and proof too", estate.Breaking, true, 20 * time.Second, PauseHold, 9 + 4 + 3},
		{"breaking does not fit", estate.Breaking, true, 15 * time.Second, PauseFreeze, 16},
		{"commits by itself", estate.Compatible, false, time.Hour, PauseFreeze, 16},
	} {
		r := evidence(c.class)
		r.Transactional = c.transactional
		classify(r, c.budget, 4)
		assert.Equal(t, c.pause, r.Pause, c.name)
		assert.InDelta(t, c.seconds, r.PredictedSeconds, 0.001, c.name)
		assert.NotEmpty(t, r.Cause, c.name)
	}
}

func TestNothingIsConcludedFromNothing(t *testing.T) {
	r := &Report{Outcome: Unfinished}
	classify(r, time.Minute, 1)
	assert.Empty(t, r.Class)
	assert.Empty(t, r.Pause)
}

func TestCause(t *testing.T) {
	r := evidence(estate.Breaking)
	r.WayBack.Problems = []bridge.Problem{{Kind: "model", Error: "column t.lane is gone"}, {Kind: "view"}}
	assert.Equal(t, "r1 fails on the result: column t.lane is gone (and 1 more)", cause(r))
	r.WayBack.Problems = nil
	r.WayBack.Flows = []bridge.Flow{{Name: "ship", Outcome: bridge.FlowFailed, Error: "NotNullViolation"}}
	assert.Equal(t, "flow ship fails with r1 on the result: NotNullViolation", cause(r))
	r.WayBack.FlowsBefore = r.WayBack.Flows
	assert.Contains(t, cause(r), "before the update already")
}

func TestAdvice(t *testing.T) {
	r := evidence(estate.Breaking)
	r.OwnCommit = "commit in acme/migrations/1.1/post-fill.py:3: the update cannot be one transaction"
	r.Effect.Schema = []Change{
		{Kind: "column", Name: "t.lane", Before: "integer"}, {Kind: "column", Name: "t.track", After: "integer"},
		{Kind: "column", Name: "t.gate", After: "character varying not null"},
		{Kind: "column", Name: "t.size", Before: "integer", After: "character varying"},
		{Kind: "table", Name: "u", Before: "table"},
	}
	r.Effect.Orphans = []Orphan{{Field: "t.kind", Value: "b", Rows: 7}}
	r.Timeline.Statements = []Statement{{Tag: "CREATE INDEX", Seconds: 3, Objects: []string{"public.t_i"}, DDL: true}, {Tag: "CREATE INDEX", Seconds: .1, DDL: true, Objects: []string{"public.quick"}}}
	r.WayBack.Works = false
	r.WayBack.Problems = []bridge.Problem{{Kind: "model", Model: "acme.dock", Error: "model acme.dock is no longer listed in the database, and its access rights are gone"}}
	subjects := []string{}
	for _, a := range advice(r) {
		subjects = append(subjects, a.Subject)
	}
	assert.Equal(t, []string{"acme/migrations/1.1/post-fill.py:3", "t.lane", "t.gate", "t.size", "u", "t.kind", "public.t_i", "acme.dock"}, subjects)
}

func TestCompareSchemas(t *testing.T) {
	before := schema{{"table", "t"}: "table", {"column", "t.a"}: "integer", {"table", "gone"}: "table", {"column", "gone.x"}: "text", {"index", "gone: i"}: "…"}
	after := schema{{"table", "t"}: "table", {"column", "t.a"}: "text", {"column", "t.b"}: "text", {"table", "new"}: "table", {"constraint", "new: k"}: "…"}
	assert.Equal(t, []Change{
		{Kind: "table", Name: "gone", Before: "table"}, {Kind: "table", Name: "new", After: "table"},
		{Kind: "column", Name: "t.a", Before: "integer", After: "text"}, {Kind: "column", Name: "t.b", After: "text"},
	}, compareSchemas(before, after))
}

// TestSameSchema: a checkpoint from before the last update would make every release that is in the database already a swap.
func TestSameSchema(t *testing.T) {
	assert.True(t, sameSchema("sha256:a", "sha256:a"))
	assert.False(t, sameSchema("sha256:a", "sha256:b"))
	assert.True(t, sameSchema("", "sha256:b"))
}

// What failed is tried again on the copy as it was, and nothing else.
func TestAgain(t *testing.T) {
	flow := func(name string, outcome bridge.FlowOutcome) bridge.Flow {
		return bridge.Flow{Name: name, Outcome: outcome}
	}
	view := bridge.Problem{Kind: bridge.ProblemView, Name: "a view", ID: 7}
	field := bridge.Problem{Kind: "model", Model: "stock.picking", Name: "loading_class"}
	for name, c := range map[string]struct {
		way  WayBack
		want bridge.TryJob
	}{
		"a flow":  {WayBack{Flows: []bridge.Flow{flow("sell", bridge.FlowPassed), flow("ship", bridge.FlowFailed)}}, bridge.TryJob{Flows: []string{"ship"}}},
		"a view":  {WayBack{Problems: []bridge.Problem{field, view}, Flows: []bridge.Flow{flow("sell", bridge.FlowPassed)}}, bridge.TryJob{CheckViews: true, Views: []int64{7}, SkipFlows: true}},
		"a field": {WayBack{Problems: []bridge.Problem{field}}, bridge.TryJob{SkipFlows: true}},
	} {
		assert.Equal(t, c.want, again(&c.way), name)
	}
}
