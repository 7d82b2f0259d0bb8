package promotion

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/approval"
	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/store"
)

// asked is a bench whose environment asks people.
type asked struct {
	*gated
	e    *Engine
	room *approval.Room

	mu      sync.Mutex
	now     time.Time
	entries []identity.Entry
	ids     int
}

func (a *asked) Record(_ context.Context, e identity.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, e)
}

func (a *asked) recorded(kind string) (found []identity.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.entries {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func asksPeople(t *testing.T, rules ...estate.PolicyRule) *asked {
	t.Helper()
	a := &asked{gated: atGates(t, rules...), now: time.Now()}
	access := &estate.Access{}
	for name, role := range map[string]estate.Role{"ann": estate.RoleAdmin, "bert": estate.RoleApprover, "cora": estate.RoleApprover, "omar": estate.RoleOperator} {
		access.Users = append(access.Users, estate.User{Name: name, Roles: []estate.Grant{{Role: role}}, Emails: []string{name + "@example.com"}})
	}
	a.room = &approval.Room{Store: a.store, Recorder: a, Access: func(context.Context) (*estate.Access, error) { return access, nil }, Now: func() time.Time {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.now
	}}
	a.rooms.Approvals = func(ctx context.Context, promotion, tenant string) (*Approvals, error) {
		return ApprovalsOf(a.room)(ctx, promotion, tenant)
	}
	a.e = a.engine()
	a.room.Engine = a.e
	return a
}

// promote is what ann asks for.
func (a *asked) promote() string {
	a.t.Helper()
	id, err := a.e.Start(a.t.Context(), &estate.Estate{
		Environments: []estate.Environment{{Name: a.before()}, {Name: a.kind, Approvals: &estate.Approvals{Required: 1, Breaking: 2,
			Roles: []estate.Role{estate.RoleApprover, estate.RoleAdmin}, Expires: 24 * time.Hour}}}, Tenants: a.tenants, Policies: a.policies,
	}, Request{Kind: a.kind, Environment: a.kind, Release: a.digest(), By: "ann"})
	require.NoError(a.t, err)
	return id
}

func (a *asked) person(name string) identity.Person {
	access, err := a.room.Access(a.t.Context())
	require.NoError(a.t, err)
	p, ok := identity.PersonOf(access, name)
	require.True(a.t, ok, name)
	return p
}

// look is what somebody sees before they decide.
func (a *asked) look(promotion string) approval.State {
	a.t.Helper()
	s, err := a.room.State(a.t.Context(), promotion)
	require.NoError(a.t, err)
	return s
}

func (a *asked) decision(approve bool, binding string) approval.Decision {
	a.ids++
	return approval.Decision{ID: fmt.Sprintf("%s%016d", "d", a.ids) + fmt.Sprint(time.Now().UnixNano()), Approve: approve, Reason: "a reason", Binding: binding}
}

func (a *asked) decide(promotion, name string, approve bool) (approval.State, error) {
	a.t.Helper()
	return a.room.Decide(a.t.Context(), a.person(name), promotion, a.decision(approve, a.look(promotion).Binding))
}

// The story: ann asks, it waits and says for whom; she cannot agree herself, nor can who made the release or has no such
// role; bert can, and it goes on.
func TestSomebodyElseApproves(t *testing.T) {
	long.Test(t)
	a := asksPeople(t)
	require.NoError(t, a.store.AddMakers(t.Context(), a.digest(), store.Makers{People: []string{"ci"}, Emails: []string{"cora@example.com"}}))
	id := a.promote()
	r := a.until(id, waitsFor("1 approval of approver or admin"))
	require.Equal(t, store.Running, r.State)
	require.NotContains(t, a.noted(), "do last")
	s := a.look(id)
	require.True(t, s.Planned)
	require.Equal(t, 1, s.Needed)
	require.Equal(t, estate.Compatible, s.Plans[0].Class)

	for name, why := range map[string]string{
		"ann":  "ann may not approve a promotion that is their own",
		"cora": "cora may not approve a promotion that is their own",
		"omar": "takes the role approver, security or admin",
	} {
		_, err := a.decide(id, name, true)
		var denied *identity.Denied
		require.ErrorAs(t, err, &denied, name)
		require.Contains(t, err.Error(), why)
	}
	_, err := a.room.Decide(t.Context(), identity.Local("root"), "nonesuch", a.decision(true, s.Binding))
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Len(t, a.recorded("approval.refused"), 3, "what was refused is recorded, with who and why")

	s, err = a.decide(id, "bert", true)
	require.NoError(t, err)
	require.True(t, s.Met())
	r = a.until(id, ended)
	require.Equal(t, store.Promoted, r.Outcome)
	require.Contains(t, a.noted(), "do last")
	require.Len(t, a.recorded("approval"), 1)
	_, err = a.decide(id, "bert", true)
	require.ErrorIs(t, err, approval.ErrRefused, "there is nothing to decide any more")
}

func TestFourEyesForBreaking(t *testing.T) {
	a := asksPeople(t)
	procedures[a.kind][0].Do = func(_ context.Context, w *Work) (string, error) {
		w.memory.Release, w.memory.Plan = w.promotion.Release, Plan{Class: estate.Breaking}
		return "", nil
	}
	id := a.promote()
	a.until(id, waitsFor("2 approvals"))
	_, err := a.decide(id, "bert", true)
	require.NoError(t, err)
	a.until(id, waitsFor("1 more of 2 approvals of approver or admin (there is: bert)"))
	_, err = a.decide(id, "bert", true)
	require.ErrorIs(t, err, approval.ErrRefused, "one person's four eyes are two")
	_, err = a.decide(id, "cora", true)
	require.NoError(t, err)
	require.Equal(t, store.Promoted, a.until(id, ended).Outcome)
}

// A decision is of one promotion and one plan: replayed, or made about another plan, it is refused.
func TestReplayedApprovals(t *testing.T) {
	a := asksPeople(t, soak("24h")) // so that the first stays where it is
	a.tenants = append(a.tenants, estate.Tenant{Name: "bolt", Environment: a.kind, Database: a.kind + "2", Hosts: []string{"bolt.example"}})
	both := a.tenants
	a.tenants = both[:1]
	first := a.promote()
	a.tenants = both[1:]
	second := a.promote()
	a.until(first, waitsFor("1 approval"))
	a.until(second, waitsFor("1 approval"))
	d := a.decision(true, a.look(first).Binding)
	bert := a.person("bert")
	_, err := a.room.Decide(t.Context(), bert, first, d)
	require.NoError(t, err)
	s, err := a.room.Decide(t.Context(), bert, first, d)
	require.NoError(t, err, "the very same again, after a lost answer, is no second decision")
	require.Len(t, s.Given, 1)

	refused := func(promotion, name string, d approval.Decision, why string) {
		t.Helper()
		before := len(a.recorded("approval.refused"))
		_, err := a.room.Decide(t.Context(), a.person(name), promotion, d)
		require.ErrorIs(t, err, approval.ErrRefused)
		require.ErrorContains(t, err, why)
		require.Len(t, a.recorded("approval.refused"), before+1)
	}
	refused(second, "bert", d, "it cannot be used for "+second)
	refused(first, "cora", d, "was another one")
	other := d
	other.Approve = false
	refused(first, "bert", other, "was another one")
	refused(second, "bert", a.decision(true, a.look(first).Binding), "is not the one that was looked at")
	require.Zero(t, a.look(second).Have)
	for name, bad := range map[string]approval.Decision{"no ID": {Approve: true}, "no reason": {ID: "0123456789abcdef"}} {
		_, err := a.room.Decide(t.Context(), bert, second, bad)
		require.ErrorIs(t, err, approval.ErrBad, name)
	}
	for _, id := range []string{first, second} {
		_, err := a.decide(id, "cora", false)
		require.NoError(t, err)
		a.until(id, ended)
	}
}

// What an approval saw has changed, or its time is over, when the gates are asked again: it lapses, and is asked for anew.
func TestApprovalsLapse(t *testing.T) {
	a := asksPeople(t, soak("24h"))
	id := a.promote()
	a.until(id, waitsFor("1 approval"))
	_, err := a.decide(id, "bert", true)
	require.NoError(t, err)
	require.Equal(t, 1, a.look(id).Have)
	a.mu.Lock()
	a.now = a.now.Add(25 * time.Hour)
	a.mu.Unlock()
	a.serves(25 * time.Hour)
	require.NoError(t, a.e.Happened(t.Context(), EnvironmentTopic(a.before())))
	r := a.until(id, waitsFor("its time ran out"))
	require.NotContains(t, a.noted(), "do last")

	// Two events were told; whatever they still set going would write its own memory over what is changed here.
	require.Eventually(t, func() bool {
		var left int
		require.NoError(t, a.store.Pool.QueryRow(t.Context(), "select count(*) from river_job where finalized_at is null").Scan(&left))
		return left == 0
	}, time.Minute, 10*time.Millisecond)
	before := a.look(id).Binding
	_, err = a.store.Pool.Exec(t.Context(), `update rollouts set memory = jsonb_set(memory, '{plan,rehearsal}', '"another"') where id = $1`, r.ID)
	require.NoError(t, err)
	require.NotEqual(t, before, a.look(id).Binding, "another rehearsal is another plan")
	_, err = a.room.Decide(t.Context(), a.person("bert"), id, a.decision(true, before))
	require.ErrorIs(t, err, approval.ErrRefused)
	_, err = a.decide(id, "bert", true)
	require.NoError(t, err)
	require.Equal(t, store.Promoted, a.until(id, ended).Outcome)
}

// A rejection ends it before anything is touched, and says nothing against the release.
func TestReject(t *testing.T) {
	a := asksPeople(t)
	id := a.promote()
	a.until(id, waitsFor("1 approval"))
	_, err := a.decide(id, "cora", false)
	require.NoError(t, err)
	r := a.until(id, ended)
	require.Equal(t, store.RolledBack, r.Outcome)
	require.Contains(t, r.Reason, "rejected by cora: a reason")
	require.NotContains(t, a.noted(), "do last")
	promotion, _, err := a.store.Quarantined(t.Context(), a.kind, a.digest())
	require.NoError(t, err)
	require.Empty(t, promotion)
	s := a.look(id)
	require.Equal(t, "cora", s.Rejected.By)
	_, err = a.decide(id, "bert", true)
	require.ErrorIs(t, err, approval.ErrRefused)

	again := a.promote()
	a.until(again, waitsFor("1 approval"))
	_, err = a.decide(again, "bert", true)
	require.NoError(t, err)
	require.Equal(t, store.Promoted, a.until(again, ended).Outcome, "and may be asked for again")
}

// An approval that comes while the gates are being asked is not lost.
func TestApprovalWhileTheGatesAreAsked(t *testing.T) {
	var a *asked
	var id string
	started := make(chan struct{})
	once := sync.OnceFunc(func() {
		<-started
		_, err := a.decide(id, "bert", true)
		require.NoError(t, err)
	})
	a = asksPeople(t)
	a.e.fault = func(point string) {
		if point == "inside:gates" {
			once()
		}
	}
	id = a.promote()
	close(started)
	require.Equal(t, store.Promoted, a.until(id, ended).Outcome)
}
