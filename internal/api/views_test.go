package api

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// A list tells all steps of the part that goes on, and the newest of the one that has ended; who wants all gets all.
func TestListsTellTheNewestSteps(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	snapshot := json.RawMessage(`{"environment":{"name":"test","rings":[{"name":"first"},{"name":"others","after":["first"]}]}}`)
	memory := json.RawMessage(`{"plan":{"predicted_seconds":4.5,"rehearsal":"reh1"},"checkpoint":"c1","fence_checkpoint":"c2"}`)
	require.NoError(t, b.state.In(ctx, func(tx pgx.Tx) error {
		return b.state.CreatePromotion(ctx, tx, store.Promotion{ID: "plist1", Kind: "promote", Environment: "test", Release: "sha256:plist1", RequestedBy: "somebody", Options: json.RawMessage("{}"), Estate: snapshot},
			[]store.Rollout{{ID: "rlist-open", Environment: "test", Tenant: "list-open", Ring: "others", Memory: memory}, {ID: "rlist-ended", Environment: "test", Tenant: "list-ended", Ring: "first", Memory: json.RawMessage("{}")}})
	}))
	for _, id := range []string{"rlist-open", "rlist-ended"} {
		for i, name := range []string{"admit", "checkpoint"} {
			r, ok, err := b.state.Acquire(ctx, id, int64(i), "me", time.Minute)
			require.NoError(t, err)
			require.True(t, ok)
			lease := store.Lease{Rollout: r.ID, Epoch: r.Epoch}
			seq, err := b.state.BeginStep(ctx, lease, name, false, i)
			require.NoError(t, err)
			r.Step = i + 1
			if id == "rlist-ended" && i == 1 {
				r.State, r.Outcome = store.Done, store.Promoted
			}
			require.NoError(t, b.state.In(ctx, func(tx pgx.Tx) error { return b.state.EndStep(ctx, tx, lease, seq, "done", "", r) }))
		}
	}
	names := func(p Promotion) map[string][]string {
		of := map[string][]string{}
		for _, r := range p.Rollouts {
			for _, s := range r.Steps {
				of[r.Tenant] = append(of[r.Tenant], s.Name)
			}
		}
		return of
	}
	both := []string{"admit", "checkpoint"}
	var list []Promotion
	b.ask("the-owner's", "GET", "/api/v1/promotions?environment=test&limit=1", nil).into(t, &list)
	require.Equal(t, map[string][]string{"list-open": both, "list-ended": {"checkpoint"}}, names(list[0]))
	require.Len(t, list[0].Rings, 2, "the estate that is kept with it says what rings there are")
	require.Empty(t, list[0].Procedure)
	b.ask("the-owner's", "GET", "/api/v1/promotions?environment=test&limit=1&steps=all", nil).into(t, &list)
	require.Equal(t, map[string][]string{"list-open": both, "list-ended": both}, names(list[0]))
	require.Equal(t, 422, b.ask("the-owner's", "GET", "/api/v1/promotions?steps=some", nil).status)

	var one Promotion
	b.ask("the-owner's", "GET", "/api/v1/promotions/plist1", nil).into(t, &one)
	require.Equal(t, map[string][]string{"list-open": both, "list-ended": both}, names(one))
	require.NotEmpty(t, one.Procedure)
	require.Equal(t, list[0].Revision, one.Revision)
	revision, err := b.state.Revision(ctx, "plist1")
	require.NoError(t, err)
	require.Equal(t, revision, one.Revision)
	open := one.Rollouts[1]
	require.Equal(t, []any{"list-open", 4.5, "reh1", "c2"}, []any{open.Tenant, open.Predicted, open.Rehearsal, open.Checkpoint})

	// It is read once for all; who may see it is decided for each.
	b.declare(user("pat", estate.RoleViewer, "production"), user("tess", estate.RoleViewer, "test"))
	for _, path := range []string{"", "/gates", "/approvals"} {
		require.Equal(t, 403, b.ask(b.token("pat"), "GET", "/api/v1/promotions/plist1"+path, nil).status, path)
		require.Equal(t, 200, b.ask(b.token("tess"), "GET", "/api/v1/promotions/plist1"+path, nil).status, path)
		require.Equal(t, 404, b.ask(b.token("tess"), "GET", "/api/v1/promotions/plistnone"+path, nil).status, path)
	}
}

// What was promoted long ago counts as what was promoted lately.
func TestPromotedHoweverLongAgo(t *testing.T) {
	b := setup(t)
	ctx := t.Context()
	_, err := b.state.Pool.Exec(ctx, `insert into promotions (id, kind, environment, release, release_name, requested_by, options, estate, estate_commit, outcome)
		select 'plong' || i, 'promote', 'long', 'sha256:long' || i, '', '', '{}', '{}', '', case when i = 2 then 'rolled_back' else 'promoted' end from generate_series(1, 1500) i`)
	require.NoError(t, err)
	for release, want := range map[string]bool{"sha256:long1": true, "sha256:long1500": true, "sha256:long2": false, "sha256:long0": false} {
		was, err := b.state.WasPromoted(ctx, "long", release)
		require.NoError(t, err)
		require.Equal(t, want, was, release)
	}
}
