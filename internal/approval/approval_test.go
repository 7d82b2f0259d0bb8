package approval

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/identity"
	"github.com/waybill-dev/waybill/internal/release"
	"github.com/waybill-dev/waybill/internal/store"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// asked is a promotion of anna's that waits for one approval, with two people who could give it.
func asked() facts {
	person := func(name string, roles ...estate.Role) identity.Person {
		p := identity.Person{Name: name}
		for _, role := range roles {
			p.Grants = append(p.Grants, estate.Grant{Role: role, Environments: []string{"production"}})
		}
		return p
	}
	return facts{
		promotion: store.Promotion{ID: "p1", Environment: "production", Release: "sha256:new", RequestedBy: "anna"},
		asks:      &estate.Approvals{Required: 1, Breaking: 2, Roles: []estate.Role{estate.RoleApprover, estate.RoleAdmin}, Expires: 24 * time.Hour},
		plans:     []TenantPlan{{Tenant: "acme", Class: estate.Compatible, Hash: "h1"}},
		changes:   []string{Application}, planned: true, open: true,
		people: map[string]identity.Person{
			"anna": person("anna", estate.RoleApprover), "bert": person("bert", estate.RoleApprover), "cora": person("cora", estate.RoleAdmin),
			"sven": person("sven", estate.RoleSecurity), "vera": person("vera", estate.RoleViewer),
		},
	}
}

func by(name string, roles ...string) store.Approval {
	if len(roles) == 0 {
		roles = []string{"approver"}
	}
	return store.Approval{ID: "id-" + name, PromotionID: "p1", Decision: store.Approve, Person: name, Roles: roles, Saw: map[string]string{"acme": "h1"},
		CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(23 * time.Hour)}
}

func TestWhatIsAsked(t *testing.T) {
	infrastructure := &estate.ApprovalRule{Required: 2, Roles: []estate.Role{estate.RoleSecurity}}
	for name, test := range map[string]struct {
		change func(*facts)
		needed int
		why    string
	}{
		"one":                    {func(*facts) {}, 1, "waits for 1 approval of approver or admin"},
		"four eyes for breaking": {func(f *facts) { f.plans[0].Class = estate.Breaking }, 2, "waits for 2 approvals of approver or admin, for its class is breaking"},
		"one tenant breaks": {func(f *facts) {
			f.plans = append(f.plans, TenantPlan{Tenant: "bolt", Class: estate.Breaking, Hash: "h2"})
		}, 2, "breaking"},
		"an unknown class breaks":    {func(f *facts) { f.plans[0].Class = "" }, 2, "waits for 2"},
		"an estate that asks nobody": {func(f *facts) { f.asks = nil }, 0, ""},
		"a rule that asks nobody":    {func(f *facts) { f.asks.Required, f.asks.Breaking = 0, 0 }, 0, ""},
		"all are through":            {func(f *facts) { f.open, f.plans = false, nil }, 0, ""},
		"no rule for infrastructure": {func(f *facts) { f.changes = []string{Infrastructure} }, 1, "waits for 1 approval of approver or admin"},
		"infrastructure instead":     {func(f *facts) { f.changes, f.asks.Infrastructure = []string{Infrastructure}, infrastructure }, 2, "waits for 2 approvals of security for a change of infrastructure"},
		"infrastructure beside": {func(f *facts) {
			f.changes, f.asks.Infrastructure = []string{Application, Infrastructure}, infrastructure
		}, 3, "1 approval of approver or admin, and for 2 approvals of security"},
		"infrastructure does not change": {func(f *facts) { f.asks.Infrastructure = infrastructure }, 1, "approver"},
	} {
		f := asked()
		test.change(&f)
		s := f.state(now)
		require.Equal(t, test.needed, s.Needed, name)
		require.Equal(t, test.needed == 0, s.Met(), name)
		require.Contains(t, s.Why, test.why, name)
		require.Equal(t, test.why == "", s.Why == "", name)
	}
}

func TestWhatCounts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*facts)
		have   int
		lapsed string
	}{
		"an approver's":               {func(f *facts) { f.given = []store.Approval{by("bert")} }, 1, ""},
		"an admin's":                  {func(f *facts) { f.given = []store.Approval{by("cora", "admin")} }, 1, ""},
		"not twice the same person's": {func(f *facts) { f.plans[0].Class = estate.Breaking; f.given = []store.Approval{by("bert"), by("bert")} }, 1, ""},
		"two people's": {func(f *facts) {
			f.plans[0].Class = estate.Breaking
			f.given = []store.Approval{by("bert"), by("cora", "admin")}
		}, 2, ""},
		"not of who asked":            {func(f *facts) { f.given = []store.Approval{by("anna")} }, 0, "anna may not approve a promotion that is their own"},
		"not of who made the release": {func(f *facts) { f.makers.People = []string{"bert"}; f.given = []store.Approval{by("bert")} }, 0, "their own"},
		"not of the commit's author":  {func(f *facts) { author(f, "bert", "Bert@Example.com"); f.given = []store.Approval{by("bert")} }, 0, "their own"},
		"not by a role not asked for": {func(f *facts) { f.given = []store.Approval{by("sven", "security")} }, 0, ""},
		"not of who lost the role":    {func(f *facts) { f.given = []store.Approval{by("vera")} }, 0, "vera may not approve"},
		"not by a role won since":     {func(f *facts) { f.given = []store.Approval{by("cora", "security")} }, 0, "no longer has the role"},
		"not of who is gone":          {func(f *facts) { f.given = []store.Approval{by("gone")} }, 0, "no longer has the user gone"},
		"not when the time is up":     {func(f *facts) { a := by("bert"); a.ExpiresAt = now; f.given = []store.Approval{a} }, 0, "its time ran out"},
		"not of another plan":         {func(f *facts) { f.plans[0].Hash = "h2"; f.given = []store.Approval{by("bert")} }, 0, "has changed since"},
		"not before a plan was known": {func(f *facts) {
			f.plans = append(f.plans, TenantPlan{Tenant: "bolt", Class: estate.Swap, Hash: "h2"})
			f.given = []store.Approval{by("bert")}
		}, 0, "before the plan of tenant bolt was known"},
		"a second one after the lapse":  {func(f *facts) { a := by("bert"); a.ExpiresAt = now; f.given = []store.Approval{a, by("bert")} }, 1, "its time ran out"},
		"more tenants seen than remain": {func(f *facts) { a := by("bert"); a.Saw["bolt"] = "h9"; f.given = []store.Approval{a} }, 1, ""},
	} {
		f := asked()
		test.change(&f)
		s := f.state(now)
		require.Equal(t, test.have, s.Have, "%s: %+v", name, s.Given)
		if test.lapsed == "" {
			require.Empty(t, s.Lapsed, name)
			continue
		}
		require.Len(t, s.Lapsed, 1, name)
		require.Contains(t, s.Lapsed[0].Lapsed, test.lapsed, name)
		if test.have == 0 {
			require.Contains(t, s.Why, test.lapsed, name)
		}
	}
}

func author(f *facts, name, address string) {
	p := f.people[name]
	p.Emails = []string{address}
	f.people[name] = p
	f.makers.Emails = []string{"bert@example.com"}
}

func TestARejectionEndsIt(t *testing.T) {
	f := asked()
	rejection := by("bert")
	rejection.Decision, rejection.Reason = store.Reject, "not before the month has closed"
	f.given = []store.Approval{by("cora", "admin"), rejection}
	s := f.state(now)
	require.False(t, s.Met())
	require.Equal(t, "rejected by bert: not before the month has closed", s.Why)
}

// Each thing that an approval is of changes what it is bound to.
func TestBinding(t *testing.T) {
	f := asked()
	first := f.binding()
	require.Len(t, first, 64)
	f.plans[0].Hash = "h2"
	require.NotEqual(t, first, f.binding())
	f = asked()
	f.plans = append(f.plans, TenantPlan{Tenant: "bolt", Hash: "h1"})
	require.NotEqual(t, first, f.binding())
	f.planned = false
	require.Empty(t, f.binding(), "what is not planned cannot be approved")
}

func TestDifferences(t *testing.T) {
	was := release.Release{Digest: "a", Series: "19.0", Base: release.Base{Digest: "b1"}, Modules: []release.Module{{Name: "m", Version: "1", Checksum: "c1"}}}
	for name, test := range map[string]struct {
		change func(*release.Release)
		want   []string
	}{
		"another module": {func(r *release.Release) { r.Modules = []release.Module{{Name: "m", Version: "1", Checksum: "c2"}} }, []string{Application}},
		"another base":   {func(r *release.Release) { r.Base.Digest = "b2" }, []string{Infrastructure}},
		"both":           {func(r *release.Release) { r.Base.Digest, r.Modules = "b2", nil }, []string{Application, Infrastructure}},
		"neither":        {func(*release.Release) {}, []string{Application}},
	} {
		is := was
		is.Digest = "z"
		test.change(&is)
		require.Equal(t, test.want, differences(was, is), name)
	}
}
