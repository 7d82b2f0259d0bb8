package identity

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
	"github.com/waybill-dev/waybill/internal/store"
)

// Every role, every operation, one's own and others', here and elsewhere: the answer is that of the table, and
// a refusal says what it would take.
func TestWhoMayDoWhat(t *testing.T) {
	for _, rule := range Rules() {
		require.NotEmpty(t, rule.Does, rule.Operation)
		require.Contains(t, []Reach{Open, Here, Anywhere, Everywhere}, rule.Reach, rule.Operation)
		for _, role := range estate.Roles {
			here := Person{Name: "anna", Grants: []estate.Grant{{Role: role, Environments: []string{"test"}}}}
			all := Person{Name: "anna", Grants: []estate.Grant{{Role: role}}}
			for _, own := range []bool{false, true} {
				in := func(p Person, environment string) bool {
					err := p.May(rule.Operation, Subject{Environment: environment, Own: own})
					if err == nil {
						return true
					}
					var denied *Denied
					require.ErrorAs(t, err, &denied)
					require.Contains(t, err.Error(), "anna may not "+rule.Does)
					return false
				}
				may := rule.May(role, own)
				what := string(rule.Operation) + " as " + string(role)
				require.Equal(t, may, in(all, "test"), what)
				require.Equal(t, may, in(all, "production"), what)
				switch rule.Reach {
				case Here:
					require.Equal(t, may, in(here, "test"), what)
					require.False(t, in(here, "production"), what)
				case Anywhere:
					require.Equal(t, may, in(here, "production"), what)
				case Everywhere:
					require.Equal(t, may && own, in(here, "test"), what)
				}
			}
			if rule.May(role, true) || rule.May(role, false) {
				require.NoError(t, here.Could(rule.Operation))
			} else {
				require.Error(t, here.Could(rule.Operation))
			}
		}
		require.Error(t, Person{Name: "nobody"}.May(rule.Operation, Subject{Environment: "test", Own: true}), "without a role nobody does anything: %s", rule.Operation)
	}
	require.Error(t, Local("root").May("release.burn", Subject{}), "what is in no table, nobody may do")
}

// What must hold whatever somebody writes into the table.
func TestTableHolds(t *testing.T) {
	seen := map[Operation]bool{}
	for _, rule := range Rules() {
		require.False(t, seen[rule.Operation], "%s is in the table twice", rule.Operation)
		seen[rule.Operation] = true
		reads := strings.HasSuffix(string(rule.Operation), ".read") || rule.Operation == WhoAmI || rule.Reach == Open
		require.Equal(t, rule.Reach == Open, slices.Contains([]Operation{LogIn, LogOut}, rule.Operation), "only logging in and out is for anybody: %s", rule.Operation)
		for _, role := range []Role{Viewer, Auditor} {
			for _, own := range []bool{false, true} {
				if rule.May(role, own) && !reads {
					require.True(t, own && (strings.HasPrefix(string(rule.Operation), "token.") || rule.Operation == PasswordSet), "%s changes nothing but their own tokens and password: %s", role, rule.Operation)
				}
			}
		}
		require.True(t, rule.May(Admin, false), "an admin can do what anybody can, with what is others': %s", rule.Operation)
		if slices.Contains([]Operation{PromotionApprove, PromotionConfirm, ReviewClose}, rule.Operation) {
			require.Empty(t, rule.Own, "nobody approves, confirms or reviews what is their own")
		} else {
			require.True(t, rule.May(Admin, true), "the owner alone on a machine is not locked out of %s", rule.Operation)
		}
	}
	approve, _ := RuleOf(PromotionApprove)
	require.ElementsMatch(t, estate.ApprovingRoles, approve.Others, "whom an estate can ask for approval may give it")
	for _, op := range []Operation{PromotionForce, QuarantineLift} {
		rule, _ := RuleOf(op)
		require.Equal(t, []Role{Admin}, rule.Own, op)
	}
}

// The published table is that of this code.
func TestDocumentPublished(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", "roles.md"))
	require.NoError(t, err)
	require.Equal(t, Document(), string(content), "docs/roles.md is out of date: run make generate")
}

func TestDeniedSaysWhatItTakes(t *testing.T) {
	bert := Person{Name: "bert", Grants: []estate.Grant{{Role: Operator, Environments: []string{"test"}}, {Role: Viewer}}}
	require.EqualError(t, bert.May(PromotionStart, Subject{Environment: "production"}),
		"bert may not ask for a promotion: that takes the role author, operator or admin in production, and bert has viewer")
	require.EqualError(t, Local("root").May(PromotionApprove, Subject{Environment: "production", Own: true}),
		"local:root may not approve a promotion that is their own: it takes somebody else with the role approver, security or admin in production")
	require.EqualError(t, bert.May(QuarantineLift, Subject{Environment: "test", Own: true}),
		"bert may not let a release in again that was taken back where it is their own: that takes admin in test, or somebody else")
	require.EqualError(t, Person{Name: "carl"}.May(WhoAmI, Subject{}),
		"carl may not see one's own name, roles and token: that takes the role viewer, author, approver, operator, security, auditor or admin in any environment, and carl has none in any environment")
}

// A token never reaches further than its user, nor further than what it was limited to.
func TestLimited(t *testing.T) {
	p := Person{Name: "anna", Grants: []estate.Grant{{Role: Operator, Environments: []string{"test", "uat"}}, {Role: Viewer}}}
	for name, test := range map[string]struct {
		roles        []Role
		environments []string
		want         []estate.Grant
	}{
		"not at all":         {nil, nil, p.Grants},
		"to a role":          {[]Role{Viewer}, nil, []estate.Grant{{Role: Viewer}}},
		"to a place":         {nil, []string{"uat", "production"}, []estate.Grant{{Role: Operator, Environments: []string{"uat"}}, {Role: Viewer, Environments: []string{"uat", "production"}}}},
		"to what it has not": {[]Role{Admin}, nil, nil},
		"to nowhere":         {[]Role{Operator}, []string{"production"}, nil},
	} {
		require.Equal(t, test.want, p.Limited(test.roles, test.environments).Grants, name)
	}
	require.Equal(t, []string{"test", "uat"}, p.Grants[0].Environments, "the person itself stays as it is")
}

func TestGroups(t *testing.T) {
	access := &estate.Access{
		Users:  []estate.User{{Name: "anna", Emails: []string{"Anna@Example.com"}, Groups: []string{"night"}, Roles: []estate.Grant{{Role: Viewer}}}},
		Groups: []estate.Group{{Name: "night", Roles: []estate.Grant{{Role: Operator, Environments: []string{"production"}}}}, {Name: "day", Roles: []estate.Grant{{Role: Admin}}}},
	}
	p, ok := PersonOf(access, "anna")
	require.True(t, ok)
	require.Equal(t, []Role{Viewer, Operator}, p.Roles("production"))
	require.Equal(t, []Role{Viewer}, p.Roles("test"))
	require.True(t, p.Made(store.Makers{Emails: []string{"anna@example.com"}}))
	require.True(t, p.Made(store.Makers{People: []string{"anna"}}))
	require.False(t, p.Made(store.Makers{People: []string{"ann"}, Emails: []string{"nanna@example.com"}}))
	_, ok = PersonOf(access, "local:root")
	require.False(t, ok)
}

func TestTokenText(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		id, text, hash := newToken()
		require.Regexp(t, tokenRule, text)
		require.True(t, strings.HasPrefix(text, "wbt_"+id+"_"))
		require.Equal(t, hashOf(text), hash)
		require.False(t, seen[id] || seen[text])
		seen[id], seen[text] = true, true
	}
}

func TestFailures(t *testing.T) {
	f := Failures{Most: 3, Period: time.Minute}
	now := time.Now()
	for i := range 5 {
		before, next := f.Count("a", now)
		require.Equal(t, i, before)
		require.Equal(t, now.Add(time.Minute), next)
	}
	before, _ := f.Count("b", now)
	require.Zero(t, before, "each address for itself")
	before, _ = f.Count("a", now.Add(time.Minute))
	require.Zero(t, before, "and each period")
	for i := range 3 * maxAddresses {
		f.Count(strings.Repeat("x", i%7)+string(rune(i)), now)
	}
	require.LessOrEqual(t, len(f.since), maxAddresses)
}

func TestRolesAreThose(t *testing.T) {
	require.Equal(t, []Role{Viewer, Author, Approver, Operator, Security, Auditor, Admin}, estate.Roles)
	require.True(t, slices.Contains(estate.Roles, Security))
}
