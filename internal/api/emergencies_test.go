package api

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// Who may ask for an emergency, be named in one, confirm it and close its review; and what is recorded of who may not.
func TestTheEmergencyPath(t *testing.T) {
	b := setup(t)
	people := map[string]string{}
	users := []estate.User{user("emma", estate.RoleOperator), user("bert", estate.RoleApprover), user("cora", estate.RoleOperator, "production"),
		user("aron", estate.RoleAuthor), user("vera", estate.RoleViewer), user("tess", estate.RoleApprover, "test")}
	b.declare(users...)
	for _, u := range users {
		people[u.Name] = b.token(u.Name)
	}
	const digest = "sha256:emergency"
	require.NoError(t, b.state.PutRelease(t.Context(), release.Release{Digest: digest, Repository: "acme", Name: "hotfix"}))
	require.NoError(t, b.state.AddMakers(t.Context(), digest, store.Makers{People: []string{"aron", "cora"}}))
	ask := func(who, second string) answer {
		return b.ask(people[who], "POST", "/api/v1/promotions", map[string]any{"release": "hotfix", "environment": "production", "emergency": map[string]any{"reason": "nobody can ship", "second": second}})
	}
	refused := func(said answer, status int, why string) {
		t.Helper()
		require.Equal(t, status, said.status, said.text)
		require.Contains(t, said.text, why)
	}
	refused(ask("emma", "bert"), 422, "environment production declares no emergency path")
	b.mu.Lock()
	b.emergency = &estate.Emergency{Confirm: time.Hour, Skips: []string{estate.SkipApprovals}}
	b.mu.Unlock()
	refused(ask("aron", "bert"), 403, "aron may not ask for an emergency promotion")
	refused(ask("emma", "emma"), 422, "somebody else than who asks")
	refused(ask("emma", "nobody"), 422, "the estate has no user nobody")
	refused(ask("emma", "vera"), 422, "vera may not confirm")
	refused(ask("emma", "tess"), 422, "tess may not confirm")
	refused(ask("emma", "cora"), 422, "cora may not confirm an emergency promotion as the second person that it names that is their own")

	var asked Asked
	ask("emma", "bert").into(t, &asked)
	b.recorded("")
	path := "/api/v1/promotions/" + asked.Promotion
	var p Promotion
	b.ask(people["vera"], "GET", path, nil).into(t, &p)
	require.Equal(t, "nobody can ship", p.Emergency.Reason)
	require.Equal(t, "emma", p.Emergency.AskedBy)
	refused(b.ask(people["emma"], "POST", path+"/confirm", nil), 403, "their own")
	require.Len(t, b.recorded("denied"), 1)
	refused(b.ask(people["cora"], "POST", path+"/confirm", nil), 403, "their own")
	refused(b.ask("the-owner's", "POST", path+"/confirm", nil), 409, "emma named bert to confirm promotion "+asked.Promotion+", and not local:root")
	said := b.recorded("emergency.refused")
	require.Len(t, said, 1)
	require.Equal(t, "production", said[0].Environment)
	var open []store.Emergency
	b.ask(people["vera"], "GET", "/api/v1/reviews", nil).into(t, &open)
	require.Empty(t, open, "not confirmed, so there is nothing to review")

	var x store.Emergency
	b.ask(people["bert"], "POST", path+"/confirm", nil).into(t, &x)
	require.NotNil(t, x.ConfirmedAt)
	b.ask(people["vera"], "GET", "/api/v1/reviews?environment=production", nil).into(t, &open)
	require.Len(t, open, 1)
	b.ask(people["tess"], "GET", "/api/v1/reviews", nil).into(t, &open)
	require.Empty(t, open, "of an environment that she may not see")
	shut := "/api/v1/reviews/" + asked.Promotion + "/close"
	refused(b.ask(people["bert"], "POST", shut, map[string]any{"note": "done"}), 409, "has not ended")
	require.NoError(t, b.state.In(t.Context(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "update rollouts set state = 'done', outcome = 'promoted' where promotion_id = $1", asked.Promotion); err != nil {
			return err
		}
		return b.state.Conclude(t.Context(), tx, asked.Promotion)
	}))
	refused(b.ask(people["emma"], "POST", shut, map[string]any{"note": "done"}), 403, "their own")
	refused(b.ask(people["vera"], "POST", shut, map[string]any{"note": "done"}), 403, "that takes the role")
	refused(b.ask(people["bert"], "POST", shut, map[string]any{"note": ""}), 422, "note")
	b.ask(people["bert"], "POST", shut, map[string]any{"note": "we read the mails now"}).into(t, &x)
	require.Equal(t, "bert", x.ReviewedBy)
	b.ask(people["vera"], "GET", "/api/v1/reviews", nil).into(t, &open)
	require.Empty(t, open)
	b.ask(people["vera"], "GET", "/api/v1/reviews?closed=true", nil).into(t, &open)
	require.Equal(t, "we read the mails now", open[0].Note)
}

// What is told of gates is what the step has kept.
func TestGatesAreTold(t *testing.T) {
	b := setup(t)
	x := b.made("somebody", "gates")
	var gates []Gate
	b.ask("the-owner's", "GET", "/api/v1/promotions/"+x.promotion+"/gates", nil).into(t, &gates)
	require.Empty(t, gates)
	ctx := t.Context()
	for tenant, waits := range map[string]string{"bolt": "calendar", "acme": "emergency"} {
		_, err := b.state.Pool.Exec(ctx, `insert into rollouts (id, promotion_id, environment, tenant, state, step, memory, waits_for, wake_at) values ($1, $2, 'gates', $3, 'running', $4, '{}', 'something', now() + interval '1 day')`,
			"rg"+tenant, x.promotion, tenant, b.backend.Engine.Gates("promote"))
		require.NoError(t, err)
		_, err = b.state.Pool.Exec(ctx, `insert into gates (rollout_id, topics, policies, facts, result) values ($1, '{}', '[]', '{}', $2)`, "rg"+tenant,
			`{"verdict":"wait","rules":[{"policy":"environment","rule":"window","severity":"deny","verdict":"wait","need":{"all":[{"text":"outside of window night","from":"2030-01-01T22:00:00Z"}]}}],"from":"2030-01-01T22:00:00Z","waiting":["`+waits+`"],"at":"2029-12-31T10:00:00Z"}`)
		require.NoError(t, err)
	}
	b.ask("the-owner's", "GET", "/api/v1/promotions/"+x.promotion+"/gates", nil).into(t, &gates)
	require.Len(t, gates, 2)
	require.Equal(t, "acme", gates[0].Tenant)
	require.True(t, gates[0].Standing && gates[0].People)
	require.True(t, gates[1].Standing)
	require.False(t, gates[1].People)
	require.Equal(t, "environment/window: outside of window night: from 2030-01-01 22:00 UTC", gates[1].Answer.Summary())
	require.Equal(t, 2030, gates[1].Answer.From.Year())
	_, err := b.state.Pool.Exec(ctx, "update rollouts set state = 'done' where promotion_id = $1", x.promotion)
	require.NoError(t, err)
	b.ask("the-owner's", "GET", "/api/v1/promotions/"+x.promotion+"/gates", nil).into(t, &gates)
	require.False(t, gates[0].Standing)
}
