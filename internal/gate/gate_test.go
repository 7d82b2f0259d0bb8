package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

var now = time.Date(2026, 11, 22, 6, 20, 0, 0, time.UTC) // a Sunday

// known are facts of a promotion that nothing keeps; change makes them those of a test.
func known(change func(*Facts)) *Facts {
	f := &Facts{
		Now:             now,
		Promotion:       Promotion{ID: "p1", Author: "ann", Class: "compatible", Change: "application"},
		Environment:     Environment{Name: "production"},
		Tenant:          Tenant{Name: "acme", Ring: "first", Labels: map[string]string{"country": "de"}},
		Release:         Release{Digest: "sha256:aaaa", Name: "r2", Commit: "c0ffee", Built: now.Add(-48 * time.Hour), Age: 48 * time.Hour, Modules: []string{"acme_lane"}, Signed: true, SignedBy: []string{"ci"}},
		Vulnerabilities: Vulnerabilities{Worst: "low", Low: 3, DatabaseAge: 5 * time.Hour},
		Rehearsal:       Rehearsal{ID: "r", Class: "compatible", Subject: "sha256:aaaa", Age: 3 * time.Hour, Predicted: 4 * time.Second, Recovery: 2 * time.Minute},
		Checkpoint:      Checkpoint{ID: "c", Age: time.Hour, Verified: true, Recovery: 2 * time.Minute},
		Previous:        Previous{Environment: "uat", Digest: "sha256:aaaa", Same: true, PromotedAt: now.Add(-25 * time.Hour), Soaked: 25 * time.Hour, Outcome: "promoted"},
		Approval:        ApprovalState{Granted: true},
		Approvals:       []Approval{{By: "bob", Roles: []string{"approver"}, At: now.Add(-time.Hour)}},
		Calendar:        Calendar{Open: true, Until: now.Add(2 * time.Hour), Reason: "window night"},
		Unknown:         map[string]string{"release.authors": "nobody tells"},
	}
	if change != nil {
		change(f)
	}
	return f
}

func policyOf(rules ...estate.PolicyRule) []estate.Policy {
	return []estate.Policy{{Name: "p", Rules: rules}}
}

func ask(t *testing.T, f *Facts, rules ...estate.PolicyRule) Result {
	t.Helper()
	set, err := Compile(policyOf(rules...))
	require.NoError(t, err)
	return set.Evaluate(f)
}

func expr(source string) estate.PolicyRule { return estate.PolicyRule{ID: "r", Expr: source} }

func TestExplanation(t *testing.T) {
	young := func(f *Facts) { f.Previous.Soaked, f.Previous.PromotedAt = 130*time.Minute, now.Add(-130*time.Minute) }
	for name, c := range map[string]struct {
		expr    string
		change  func(*Facts)
		verdict Verdict
		says    string
	}{
		"soak":                {`previous.soaked >= duration("24h")`, young, Waits, "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC"},
		"soak, turned":        {`duration("24h") <= previous.soaked`, young, Waits, "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC"},
		"soak, negated":       {`!(previous.soaked < duration("24h"))`, young, Waits, "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC"},
		"soak by the clock":   {`now - previous.promoted_at >= duration("24h")`, young, Waits, "now - previous.promoted_at is 2 h 10 min, at least 24 h is needed: from 2026-11-23 04:10 UTC"},
		"holds":               {`previous.soaked >= duration("24h")`, nil, Allowed, ""},
		"failing leaves only": {`previous.same && previous.soaked >= duration("24h") && checkpoint.verified`, young, Waits, "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC"},
		"alternatives":        {`previous.soaked >= duration("24h") || approvals.exists(a, "security" in a.roles)`, young, Waits, `soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC, or not so: approvals.exists(a, "security" in a.roles)`},
		"both":                {`previous.soaked >= duration("24h") && rehearsal.age <= duration("1h")`, young, Waits, "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC; the age of the data rehearsed on is 3 h, at most 1 h is allowed"},
		"choice":              {`promotion.class == "swap" ? previous.same : previous.soaked >= duration("48h")`, nil, Waits, "soaked 25 h of 48 h in uat: from 2026-11-23 05:20 UTC"},
		"count":               {`approvals.size() >= 2`, nil, Waits, "approvals.size() is 1, at least 2 is needed"},
		"member":              {`promotion.class in ["swap"]`, nil, Denied, "the class is compatible, swap is needed"},
		"not a member":        {`!(promotion.class in ["compatible", "breaking"])`, nil, Denied, "the class is compatible, which is not allowed"},
		"equal":               {`vulnerabilities.critical == 0`, func(f *Facts) { f.Vulnerabilities.Critical = 2 }, Denied, "the number of critical vulnerabilities is 2, 0 is needed"},
		"no":                  {`release.signed`, func(f *Facts) { f.Release.Signed = false }, Denied, "the release is not signed with a key that is trusted"},
		"yes":                 {`!release.dirty`, func(f *Facts) { f.Release.Dirty = true }, Denied, "built from uncommitted changes: yes, which is not allowed"},
		"two facts":           {`rehearsal.subject == release.digest`, func(f *Facts) { f.Rehearsal.Subject = "sha256:0123456789abcdef" }, Waits, "what was rehearsed is sha256:0123456789ab, the release (sha256:aaaa) is needed"},
		"window":              {`calendar.open`, func(f *Facts) { f.Calendar = Calendar{Next: now.Add(16 * time.Hour), Reason: "freeze month-end"} }, Waits, "freeze month-end: from 2026-11-22 22:20 UTC"},
		"approval":            {`approval.granted`, func(f *Facts) { f.Approval = ApprovalState{Missing: "1 approval by security or admin"} }, Waits, "1 approval by security or admin"},
		"label":               {`tenant.labels["country"] == "ch"`, nil, Denied, `tenant.labels["country"] is de, ch is needed`},
		"label that is not":   {`tenant.labels["shop"] == "ch"`, nil, Denied, "cannot be evaluated: no such key: shop"},
		"day of the week":     {`!(now.getDayOfWeek("Europe/Berlin") in [0, 6])`, nil, Waits, `now.getDayOfWeek("Europe/Berlin") is 0, which is not allowed`},
		"unknown":             {`checks.errors == 0`, func(f *Facts) { f.Unknown["checks"] = "the release has no attestation of its checks" }, Denied, "the number of errors of the checks is not known: the release has no attestation of its checks"},
		"unknown, may come":   {`rehearsal.age < duration("1h")`, func(f *Facts) { f.Unknown["rehearsal"] = "it has not been rehearsed" }, Waits, "the age of the data rehearsed on is not known: it has not been rehearsed"},
		"unknown for good": {`previous.same`, func(f *Facts) {
			f.Unknown["previous"], f.Final = "no environment comes before", map[string]bool{"previous": true}
		}, Denied, "no environment comes before"},
		"unknown negated":       {`!(vulnerabilities.worst == "critical")`, func(f *Facts) { f.Unknown["vulnerabilities"] = "no databases" }, Denied, "no databases"},
		"unknown beside a yes":  {`release.signed || checks.errors == 0`, func(f *Facts) { f.Unknown["checks"] = "none" }, Allowed, ""},
		"unknown in a macro":    {`approvals.all(a, !(a.by in release.authors))`, nil, Waits, "who made the release is not known"},
		"division by zero":      {`10 / checks.errors > 1`, nil, Denied, "cannot be evaluated: division by zero"},
		"never again":           {`now < timestamp("2026-01-01T00:00:00Z")`, nil, Denied, "the time is 2026-11-22 06:20 UTC, less than 2026-01-01 00:00 UTC is allowed"},
		"too old for ever":      {`release.age <= duration("24h")`, nil, Denied, "the age of the release's commit is 48 h, at most 24 h is allowed"},
		"old enough by and by":  {`release.age >= duration("72h")`, nil, Waits, "from 2026-11-23 06:20 UTC"},
		"no way out of one and": {`previous.soaked >= duration("24h") && promotion.class == "swap"`, young, Denied, "the class is compatible, swap is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, known(c.change), expr(c.expr))
			require.Equal(t, c.verdict, r.Verdict, r.Text())
			if c.says == "" {
				require.Empty(t, r.Keeps())
				return
			}
			require.Contains(t, r.Keeps()[0].Need.String(), c.says)
		})
	}
}

func TestInstants(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		return parsed
	}
	young := known(func(f *Facts) { f.Previous.Soaked = 130 * time.Minute })
	r := ask(t, young, expr(`previous.soaked >= duration("24h")`))
	assert.Equal(t, at("2026-11-23T04:10:00Z"), r.From)
	assert.Equal(t, r.From, r.Next)
	assert.Equal(t, []string{"previous"}, r.Waiting)

	r = ask(t, young, expr(`previous.soaked >= duration("24h")`), estate.PolicyRule{ID: "w", Expr: `!(now.getDayOfWeek("Europe/Berlin") in [0, 1])`})
	assert.Equal(t, at("2026-11-23T04:10:00Z"), r.Next, "the first that may change anything")
	assert.Equal(t, at("2026-11-23T23:00:00Z"), r.From, "Tuesday in Berlin, when both hold")

	r = ask(t, known(nil), expr(`now.getHours("Asia/Kolkata") >= 20`)) // half an hour off the full one; now it is 11:50 there
	assert.Equal(t, at("2026-11-22T14:30:00Z"), r.From)

	r = ask(t, known(nil), expr(`approvals.size() >= 2`))
	assert.Zero(t, r.From)
	assert.Zero(t, r.Next, "time alone changes nothing")
	assert.Equal(t, []string{"approvals"}, r.Waiting)

	r = ask(t, known(nil), expr(`previous.soaked > duration("26h") && previous.soaked < duration("27h") || now > timestamp("2027-01-01T00:00:00Z")`))
	assert.WithinDuration(t, now.Add(time.Hour), r.From, time.Second)

	r = ask(t, known(func(f *Facts) { f.Calendar = Calendar{Next: now.Add(time.Hour), Reason: "closed"} }), expr(`calendar.open`), estate.PolicyRule{ID: "a", Expr: `approvals.size() > 1`})
	assert.Equal(t, now.Add(time.Hour), r.Next)
	assert.Zero(t, r.From, "an approval is needed too")
}

func TestVerdicts(t *testing.T) {
	failing, holding := `approvals.size() > 9`, `release.signed`
	exception := estate.PolicyException{Tenant: "acme", Reason: "pilot", Expires: "2026-12-31"}
	for name, c := range map[string]struct {
		rule    estate.PolicyRule
		change  func(*Facts)
		verdict Verdict // of the gate
		rules   Verdict // of the rule
	}{
		"deny":                      {estate.PolicyRule{Expr: failing}, nil, Waits, Waits},
		"warn":                      {estate.PolicyRule{Expr: failing, Severity: Warn}, nil, Allowed, Warned},
		"holds":                     {estate.PolicyRule{Expr: holding}, nil, Allowed, Allowed},
		"exception":                 {estate.PolicyRule{Expr: failing, Exceptions: []estate.PolicyException{exception}}, nil, Allowed, Excepted},
		"exception of another":      {estate.PolicyRule{Expr: failing, Exceptions: []estate.PolicyException{exception}}, func(f *Facts) { f.Tenant.Name = "other" }, Waits, Waits},
		"exception on its last day": {estate.PolicyRule{Expr: failing, Exceptions: []estate.PolicyException{exception}}, func(f *Facts) { f.Now = time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC) }, Allowed, Excepted},
		"exception expired":         {estate.PolicyRule{Expr: failing, Exceptions: []estate.PolicyException{exception}}, func(f *Facts) { f.Now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }, Waits, Waits},
		"emergency skips":           {estate.PolicyRule{Expr: failing, Emergency: "skip"}, func(f *Facts) { f.Promotion.Emergency = true }, Allowed, Skipped},
		"emergency keeps":           {estate.PolicyRule{Expr: failing}, func(f *Facts) { f.Promotion.Emergency = true }, Waits, Waits},
		"no emergency":              {estate.PolicyRule{Expr: failing, Emergency: "skip"}, nil, Waits, Waits},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule.ID = "r"
			r := ask(t, known(c.change), c.rule)
			assert.Equal(t, c.verdict, r.Verdict)
			assert.Equal(t, c.rules, r.Rules[0].Verdict)
		})
	}
	r := ask(t, known(nil), estate.PolicyRule{ID: "a", Expr: failing}, estate.PolicyRule{ID: "b", Expr: `promotion.class == "swap"`})
	assert.Equal(t, Denied, r.Verdict, "what can never hold counts more than what may")
	r = ask(t, known(nil), estate.PolicyRule{ID: "b", Expr: `promotion.class == "swap"`}, estate.PolicyRule{ID: "a", Expr: failing})
	assert.Equal(t, Denied, r.Verdict)
}

func TestSelectors(t *testing.T) {
	base := estate.Policy{Name: "p", Rules: []estate.PolicyRule{expr(`approvals.size() > 9`)}}
	for name, c := range map[string]struct {
		change func(*estate.Policy)
		asked  int
	}{
		"all":                 {func(*estate.Policy) {}, 1},
		"environment":         {func(p *estate.Policy) { p.Environments = []string{"uat", "production"} }, 1},
		"another environment": {func(p *estate.Policy) { p.Environments = []string{"uat"} }, 0},
		"label":               {func(p *estate.Policy) { p.Tenants = map[string]string{"country": "de"} }, 1},
		"another label":       {func(p *estate.Policy) { p.Tenants = map[string]string{"country": "ch"} }, 0},
		"ring":                {func(p *estate.Policy) { p.Rings = []string{"first"} }, 1},
		"another ring":        {func(p *estate.Policy) { p.Rings = []string{"last"} }, 0},
		"class":               {func(p *estate.Policy) { p.Classes = []string{"breaking", "compatible"} }, 1},
		"another class":       {func(p *estate.Policy) { p.Classes = []string{"breaking"} }, 0},
	} {
		p := base
		c.change(&p)
		set, err := Compile([]estate.Policy{p})
		require.NoError(t, err)
		assert.Len(t, set.Evaluate(known(nil)).Rules, c.asked, name)
	}
	unsure := base
	unsure.Classes = []string{"breaking"}
	set, err := Compile([]estate.Policy{unsure})
	require.NoError(t, err)
	assert.Len(t, set.Evaluate(known(func(f *Facts) { f.Promotion.Class = "" })).Rules, 1, "a class that is not known is asked everything")
}

// TestUnknownNeverAllows: whatever is not known, a rule that holds for no value that it could have does not hold.
func TestUnknownNeverAllows(t *testing.T) {
	for _, f := range catalogue() {
		source := map[string]string{
			"string": f.Name + ` == "x"`, "bool": f.Name, "int": f.Name + ` >= 0`, "google.protobuf.Duration": f.Name + ` >= duration("0s")`,
			"google.protobuf.Timestamp": f.Name + ` >= timestamp("1970-01-01T00:00:00Z")`,
		}[f.celType.String()]
		if source == "" {
			source = f.Name + `.size() >= 0`
		}
		if f.Of != nil {
			source = f.Name + ` in ["` + strings.Join(f.Of, `", "`) + `"]`
		}
		facts := known(func(k *Facts) { k.Unknown[f.Name] = "nobody knows" })
		r := ask(t, facts, expr(source))
		assert.NotEqual(t, Allowed, r.Verdict, source)
		assert.Contains(t, r.Text(), "nobody knows", source)
		assert.Equal(t, []string{f.Name}, r.Rules[0].Need.Unknown, source)
	}
}
