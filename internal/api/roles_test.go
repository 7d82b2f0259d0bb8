package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

// things are what somebody may try to do something with: their own, or another's.
type things struct {
	user, release, promotion, rehearsal, token string
}

// example asks for an operation, about production.
type example struct {
	path string
	body any
	op   identity.Operation // where the request is for more than its route's operation
}

// examples have an entry for each route: a new route without one fails the test.
func examples(x things) map[string][]example {
	tenant := map[string]any{"environment": "production", "tenant": "acme"}
	with := func(more ...any) map[string]any {
		m := maps.Clone(tenant)
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	promote := map[string]any{"release": x.release, "environment": "production"}
	force := map[string]any{"release": x.release, "environment": "production", "force": true}
	emergency := map[string]any{"release": x.release, "environment": "production", "emergency": map[string]any{"reason": "r", "second": "somebody"}}
	decision := map[string]any{"id": "0123456789abcdef", "binding": "none", "reason": "a reason"}
	p := "/api/v1/promotions/" + x.promotion
	return map[string][]example{
		"GET /api/v1/whoami":                                    {{path: "/api/v1/whoami"}},
		"GET /api/v1/me":                                        {{path: "/api/v1/me"}},
		"GET /api/v1/login":                                     {{path: "/api/v1/login"}},
		"POST /api/v1/login":                                    {{path: "/api/v1/login", body: map[string]any{"name": "nobody", "password": "wrong"}}},
		"GET /api/v1/login/oidc":                                {{path: "/api/v1/login/oidc"}},
		"GET /api/v1/login/oidc/callback":                       {{path: "/api/v1/login/oidc/callback"}},
		"POST /api/v1/logout":                                   {{path: "/api/v1/logout"}},
		"PUT /api/v1/users/{name}/password":                     {{path: "/api/v1/users/" + x.user + "/password", body: map[string]any{"password": "short", "current": "wrong"}}},
		"DELETE /api/v1/users/{name}/password":                  {{path: "/api/v1/users/" + x.user + "/password"}},
		"GET /api/v1/isolation/{environment}":                   {{path: "/api/v1/isolation/production"}},
		"GET /api/v1/drift/{environment}":                       {{path: "/api/v1/drift/production"}},
		"GET /api/v1/neighbours/{environment}":                  {{path: "/api/v1/neighbours/production"}},
		"GET /api/v1/isolation/{environment}/{run}":             {{path: "/api/v1/isolation/production/1"}},
		"POST /api/v1/isolation/{environment}/check":            {{path: "/api/v1/isolation/production/check"}},
		"GET /api/v1/estate":                                    {{path: "/api/v1/estate"}},
		"POST /api/v1/estate/refresh":                           {{path: "/api/v1/estate/refresh"}},
		"POST /api/v1/estate/accept":                            {{path: "/api/v1/estate/accept", body: map[string]any{"commit": strings.Repeat("0", 40)}}},
		"GET /api/v1/status":                                    {{path: "/api/v1/status"}},
		"GET /api/v1/events":                                    {{path: "/api/v1/events?limit=1"}},
		"GET /api/v1/doctor":                                    {{path: "/api/v1/doctor"}},
		"GET /metrics":                                          {{path: "/metrics"}},
		"GET /api/v1/releases":                                  {{path: "/api/v1/releases"}},
		"GET /api/v1/releases/{id}":                             {{path: "/api/v1/releases/" + x.release}},
		"GET /api/v1/releases/{id}/evidence":                    {{path: "/api/v1/releases/" + x.release + "/evidence"}},
		"GET /api/v1/releases/{id}/sbom":                        {{path: "/api/v1/releases/" + x.release + "/sbom"}},
		"POST /api/v1/releases":                                 {{path: "/api/v1/releases", body: map[string]any{"ref": "acme@sha256:0"}}},
		"GET /api/v1/promotions":                                {{path: "/api/v1/promotions"}},
		"GET /api/v1/promotions/{id}":                           {{path: p}},
		"GET /api/v1/promotions/{id}/rollback":                  {{path: p + "/rollback"}},
		"GET /api/v1/promotions/{id}/approvals":                 {{path: p + "/approvals"}},
		"POST /api/v1/promotions":                               {{path: "/api/v1/promotions", body: promote}, {path: "/api/v1/promotions", body: force, op: identity.PromotionForce}, {path: "/api/v1/promotions", body: emergency, op: identity.PromotionBreak}},
		"GET /api/v1/promotions/{id}/gates":                     {{path: p + "/gates"}},
		"POST /api/v1/promotions/{id}/confirm":                  {{path: p + "/confirm"}},
		"GET /api/v1/reviews":                                   {{path: "/api/v1/reviews"}},
		"POST /api/v1/reviews/{id}/close":                       {{path: "/api/v1/reviews/" + x.promotion + "/close", body: map[string]any{"note": "n"}}},
		"POST /api/v1/configurations":                           {{path: "/api/v1/configurations", body: map[string]any{"environment": "production"}}},
		"POST /api/v1/promotions/{id}/approve":                  {{path: p + "/approve", body: decision}},
		"POST /api/v1/promotions/{id}/reject":                   {{path: p + "/reject", body: decision}},
		"POST /api/v1/promotions/{id}/abandon":                  {{path: p + "/abandon", body: map[string]any{"reason": "r"}}},
		"POST /api/v1/promotions/{id}/rollback":                 {{path: p + "/rollback", body: map[string]any{"reason": "r"}}, {path: p + "/rollback", body: map[string]any{"reason": "r", "accept_loss": true}, op: identity.PromotionLoss}},
		"POST /api/v1/promotions/{id}/resume":                   {{path: p + "/resume"}},
		"DELETE /api/v1/quarantine/{environment}/{id}":          {{path: "/api/v1/quarantine/production/" + x.release}},
		"GET /api/v1/checkpoints/{environment}/{tenant}":        {{path: "/api/v1/checkpoints/production/acme"}},
		"POST /api/v1/checkpoints/{environment}/{tenant}/prune": {{path: "/api/v1/checkpoints/production/acme/prune", body: map[string]any{"last": 100}}},
		"POST /api/v1/checkpoints":                              {{path: "/api/v1/checkpoints", body: tenant}},
		"POST /api/v1/restores":                                 {{path: "/api/v1/restores", body: with("checkpoint", "c1")}},
		"GET /api/v1/restores/{environment}/{tenant}":           {{path: "/api/v1/restores/production/acme"}},
		"DELETE /api/v1/restores/{environment}/{tenant}/{name}": {{path: "/api/v1/restores/production/acme/look"}},
		"POST /api/v1/tenants":                                  {{path: "/api/v1/tenants", body: with("release", x.release)}, {path: "/api/v1/tenants", body: map[string]any{"environment": "production", "tenant": "acme", "release": x.release, "from": "production/acme/c1"}, op: identity.CheckpointCopy}},
		"GET /api/v1/impact/statement":                          {{path: "/api/v1/impact/statement?environment=production&release=" + x.release}},
		"GET /api/v1/impact":                                    {{path: "/api/v1/impact?environment=production&release=" + x.release}},
		"POST /api/v1/tenants/{environment}/{tenant}/suspend":   {{path: "/api/v1/tenants/production/acme/suspend", body: map[string]any{}}},
		"POST /api/v1/tenants/{environment}/{tenant}/resume":    {{path: "/api/v1/tenants/production/acme/resume"}},
		"POST /api/v1/tenants/{environment}/{tenant}/move":      {{path: "/api/v1/tenants/production/acme/move", body: map[string]any{"to": "dedicated"}}},
		"POST /api/v1/tenants/{environment}/{tenant}/rename":    {{path: "/api/v1/tenants/production/acme/rename", body: map[string]any{"hosts": []string{"east.example"}}}},
		"POST /api/v1/tenants/{environment}/{tenant}/delete":    {{path: "/api/v1/tenants/production/acme/delete", body: map[string]any{}}},
		"POST /api/v1/tenants/{environment}/{tenant}/undelete":  {{path: "/api/v1/tenants/production/acme/undelete"}},
		"POST /api/v1/rehearsals":                               {{path: "/api/v1/rehearsals", body: with("release", x.release)}},
		"GET /api/v1/rehearsals":                                {{path: "/api/v1/rehearsals"}},
		"GET /api/v1/rehearsals/{id}":                           {{path: "/api/v1/rehearsals/" + x.rehearsal}},
		"GET /api/v1/rehearsals/{id}/page":                      {{path: "/api/v1/rehearsals/" + x.rehearsal + "/page"}},
		"DELETE /api/v1/rehearsals/{id}":                        {{path: "/api/v1/rehearsals/" + x.rehearsal}},
		"GET /api/v1/vulnerabilities":                           {{path: "/api/v1/vulnerabilities"}},
		"POST /api/v1/vulnerabilities/scan":                     {{path: "/api/v1/vulnerabilities/scan"}},
		"GET /api/v1/users":                                     {{path: "/api/v1/users"}},
		"GET /api/v1/ledger":                                    {{path: "/api/v1/ledger"}},
		"GET /api/v1/ledger/entries/{sequence}":                 {{path: "/api/v1/ledger/entries/1"}},
		"GET /api/v1/ledger/heads":                              {{path: "/api/v1/ledger/heads"}},
		"GET /api/v1/ledger/csv":                                {{path: "/api/v1/ledger/csv"}},
		"GET /api/v1/ledger/jsonl":                              {{path: "/api/v1/ledger/jsonl"}},
		"GET /api/v1/ledger/verification":                       {{path: "/api/v1/ledger/verification"}},
		"GET /api/v1/reports/releases":                          {{path: "/api/v1/reports/releases?environment=production"}},
		"GET /api/v1/reports/releases/csv":                      {{path: "/api/v1/reports/releases/csv?environment=production"}},
		"GET /api/v1/calendar":                                  {{path: "/api/v1/calendar?environment=production"}},
		"GET /api/v1/tenants":                                   {{path: "/api/v1/tenants?environment=production"}},
		"GET /api/v1/tenants/{environment}/{tenant}":            {{path: "/api/v1/tenants/production/acme"}},
		"GET /api/v1/tenants/{environment}/{tenant}/promotions": {{path: "/api/v1/tenants/production/acme/promotions"}},
		"GET /api/v1/ledger/export":                             {{path: "/api/v1/ledger/export"}},
		"GET /api/v1/promotions/{id}/waybill":                   {{path: p + "/waybill"}},
		"GET /api/v1/secrets/{environment}":                     {{path: "/api/v1/secrets/production"}},
		"POST /api/v1/secrets/{environment}/database":           {{path: "/api/v1/secrets/production/database", body: map[string]any{}}},
		"POST /api/v1/secrets/{environment}/bridge":             {{path: "/api/v1/secrets/production/bridge"}},
		"GET /api/v1/runbooks/{environment}":                    {{path: "/api/v1/runbooks/production"}},
		"GET /api/v1/runbooks/{environment}/{tenant}":           {{path: "/api/v1/runbooks/production/acme"}},
		"GET /api/v1/users/{name}":                              {{path: "/api/v1/users/" + x.user}},
		"GET /api/v1/tokens":                                    {{path: "/api/v1/tokens?user=" + x.user}},
		"POST /api/v1/tokens":                                   {{path: "/api/v1/tokens", body: map[string]any{"user": x.user}}},
		"DELETE /api/v1/tokens/{id}":                            {{path: "/api/v1/tokens/" + x.token}},
	}
}

// lists answer whoever may see any of it, and leave out the rest.
var lists = []string{"GET /api/v1/status", "GET /api/v1/events", "GET /api/v1/promotions", "GET /api/v1/rehearsals", "GET /api/v1/vulnerabilities", "GET /api/v1/reviews"}

// routes are those that the API documents, with the operation that each names.
func (b *bench) routes() map[string]identity.Operation {
	b.t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			Operation string `json:"x-waybill-operation"`
		}
	}
	b.ask("the-owner's", "GET", "/api/v1/openapi.json", nil).into(b.t, &document)
	found := map[string]identity.Operation{}
	for path, methods := range document.Paths {
		for method, o := range methods {
			found[strings.ToUpper(method)+" "+path] = identity.Operation(o.Operation)
		}
	}
	return found
}

func TestEveryRouteNamesItsOperation(t *testing.T) {
	b := setup(t)
	routes, known := b.routes(), examples(things{})
	require.ElementsMatch(t, slices.Collect(maps.Keys(known)), slices.Collect(maps.Keys(routes)), "each route has an example in examples, and each example a route")
	used := map[identity.Operation]bool{}
	for route, op := range routes {
		_, ok := identity.RuleOf(op)
		require.True(t, ok, "%s names the operation %q, which is not in the table of roles: add does(…) to the route, and the operation to internal/identity", route, op)
		used[op] = true
		for _, e := range known[route] {
			used[e.op] = true
		}
	}
	for _, rule := range identity.Rules() {
		require.True(t, used[rule.Operation], "%s is in the table of roles, and nothing asks for it", rule.Operation)
	}
}

// made makes what a user, or somebody else, has made.
func (b *bench) made(owner, key string) things {
	b.t.Helper()
	x := things{user: owner, release: "sha256:" + key, promotion: "p" + key, rehearsal: "r" + key, token: "t" + key}
	ctx := b.t.Context()
	require.NoError(b.t, b.state.PutRelease(ctx, release.Release{Digest: x.release, Repository: "acme", Name: "n" + key}))
	require.NoError(b.t, b.state.AddMakers(ctx, x.release, store.Makers{People: []string{owner}}))
	require.NoError(b.t, b.state.In(ctx, func(tx pgx.Tx) error {
		return b.state.CreatePromotion(ctx, tx, store.Promotion{ID: x.promotion, Kind: "promote", Environment: "production", Release: x.release, RequestedBy: owner,
			Options: json.RawMessage("{}"), Estate: json.RawMessage("{}")}, nil)
	}))
	require.NoError(b.t, b.state.PutRehearsal(ctx, store.Rehearsal{ID: x.rehearsal, Environment: "production", Tenant: "acme", Release: x.release, RequestedBy: owner}))
	require.NoError(b.t, b.state.PutToken(ctx, store.Token{ID: x.token, User: owner, Hash: []byte{1}, Roles: []string{}, Environments: []string{}, CreatedAt: b.now, ExpiresAt: b.now}))
	return x
}

// Every role × every operation × one's own and another's × here and elsewhere, asked of the API: it answers 403
// when the table says no, and then alone, and each no is recorded.
func TestEveryRoleAsksForEverything(t *testing.T) {
	b := setup(t)
	routes := b.routes()
	users := []estate.User{user("somebody", estate.RoleViewer)}
	for _, role := range estate.Roles {
		users = append(users, user("here-"+string(role), role, "production"), user("elsewhere-"+string(role), role, "test"), user("all-"+string(role), role))
	}
	b.declare(users...)
	asked := 0
	for i, u := range users[1:] {
		token := b.token(u.Name)
		b.recorded("")
		for _, own := range []bool{true, false} {
			if own && !strings.HasPrefix(u.Name, "here-") {
				continue // whose it is and where it is are decided apart; package identity tests them together
			}
			owner := u.Name
			if !own {
				owner = "somebody"
			}
			for route, list := range examples(b.made(owner, fmt.Sprintf("%02d%t", i, own))) {
				for _, e := range list {
					op := routes[route]
					may := expected(u, op, own && route != "GET /api/v1/users" && !strings.HasPrefix(route, "GET /api/v1/ledger") && route != "POST /api/v1/estate/accept" && route != "GET /metrics", slices.Contains(lists, route)) // the list of all users is nobody's own, nor are ledger, estate and metrics
					if e.op != "" {
						may = may && expected(u, e.op, own, false)
						op = e.op
					}
					method, _, _ := strings.Cut(route, " ")
					said := b.ask(token, method, e.path, e.body)
					asked++
					what := fmt.Sprintf("%s of %s (own: %t) by %s: %d %s", route, op, own, u.Name, said.status, said.text)
					require.Less(t, said.status, 500, what)
					require.Equal(t, may, said.status != 403, what)
					denied := b.recorded("denied")
					if may {
						require.Empty(t, denied, what)
						continue
					}
					require.Len(t, denied, 1, what)
					require.Equal(t, u.Name, denied[0].Actor)
					require.NotEmpty(t, denied[0].Reason)
				}
			}
		}
	}
	t.Logf("%d requests", asked)
}

// expected is what the table says, read a second time.
func expected(u estate.User, op identity.Operation, own, list bool) bool {
	rule, _ := identity.RuleOf(op)
	grant := u.Roles[0]
	if !rule.May(grant.Role, own) {
		return false
	}
	switch {
	case list, rule.Reach == identity.Anywhere, rule.Reach == identity.Open:
		return true
	case rule.Reach == identity.Everywhere:
		return own || len(grant.Environments) == 0
	}
	return len(grant.Environments) == 0 || grant.Environments[0] == "production"
}

// Who may see one environment sees nothing of another in any list.
func TestListsLeaveOut(t *testing.T) {
	b := setup(t)
	b.declare(user("tess", estate.RoleViewer, "test"))
	x := b.made("somebody", "list")
	token := b.token("tess")
	for _, route := range lists {
		said := b.ask(token, "GET", examples(x)[route][0].path, nil)
		require.Equal(t, 200, said.status, said.text)
		require.NotContains(t, said.text, "production", route)
		require.NotContains(t, said.text, x.promotion, route)
	}
	require.Contains(t, b.ask(token, "GET", "/api/v1/status", nil).text, "acme_test")
	require.Contains(t, b.ask("the-owner's", "GET", "/api/v1/promotions?limit=1", nil).text, `"environment":"production"`)
}

// The bodies of what was asked for are decided about, not those of somebody's choosing.
func TestMakersAreRecorded(t *testing.T) {
	b := setup(t)
	b.declare(user("ci", estate.RoleAuthor))
	b.backend.ReadRelease = nil
	require.NoError(t, b.state.PutRelease(t.Context(), release.Release{Digest: "sha256:made", Name: "made"}))
	require.NoError(t, b.state.AddMakers(t.Context(), "sha256:made", store.Makers{People: []string{"ci"}, Emails: []string{"Anna@Example.com", "bert@example.com"}}))
	require.NoError(t, b.state.AddMakers(t.Context(), "sha256:made", store.Makers{People: []string{"mallory"}}))
	m, err := b.state.MakersOf(t.Context(), "sha256:made")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"ci", "mallory"}, m.People, "who has made it once has made it, whoever makes it known again")
	require.ElementsMatch(t, []string{"anna@example.com", "bert@example.com"}, m.Emails)
}
