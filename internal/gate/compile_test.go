package gate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

// TestRefused: what is wrong with an expression is said when it is loaded, with its place and a way out.
func TestRefused(t *testing.T) {
	for source, says := range map[string]string{
		`previous.soakd >= duration("24h")`:                 `1:1 there is no fact previous.soakd (did you mean previous.soaked?)`,
		`prevous.soaked >= duration("24h")`:                 `1:1 there is no fact prevous.soaked (did you mean previous.soaked?)`,
		`release.signed && previous.soked > duration("1h")`: `1:19 there is no fact previous.soked (did you mean previous.soaked?)`,
		`previous == "uat"`:                                 `1:1 previous is a group of facts, not a fact (one of previous.environment`,
		`approvals.exists(a, "security" in a.rols)`:         `undefined field 'rols'`,
		`approvals.exists(a, "security" in b.roles)`:        `there is no fact b.roles (the facts are in groups: now, promotion`,
		`has(previous.soaked)`:                              `has() is not needed`,
		`previous.soaked >= 24`:                             `found no matching overload for '_>=_' applied to '(duration, int)'`,
		`previous.soaked`:                                   `1:1 gives a google.protobuf.Duration; true or false expected`,
		`previous.soaked >= duration("1 day")`:              `1:29 invalid duration argument`,
		`now > timestamp("tomorrow")`:                       `invalid timestamp argument`,
		`release.name.matches("(")`:                         `invalid matches argument`,
		`promotion.class != "braking"`:                      `1:20 promotion.class is never "braking" (did you mean "breaking"?)`,
		`promotion.class in ["swap", "compatibel"]`:         `1:29 promotion.class is never "compatibel" (did you mean "compatible"?)`,
		`"Swap" == promotion.class`:                         `1:1 promotion.class is never "Swap" (did you mean "swap"?)`,
		`previous.same &&`:                                  `Syntax error`,
		`release.signed &&` + "\n" + `  chekcs.errors == 0`: `2:3 there is no fact chekcs.errors (did you mean checks.errors?)`,
		`gate.Approval{by: "me"}.by == "me"`:                `an expression makes no objects`,
		`env("HOME") == "x"`:                                `undeclared reference to 'env'`,
		`read("/etc/passwd") != ""`:                         `undeclared reference to 'read'`,
		`approvals.all(a, approvals.all(b, approvals.all(c, approvals.all(d, a.by == b.by))))`: `may take too much to evaluate`,
		strings.Repeat("(", 100) + "release.signed" + strings.Repeat(")", 100):                 `expression recursion limit exceeded`,
	} {
		_, mistakes := compile(source)
		var all []string
		for _, m := range mistakes {
			p := (&estate.Policy{}).Problem("", 0, 0, m.message, m.hint)
			all = append(all, place(m)+p.Error())
		}
		assert.Contains(t, strings.Join(all, "\n"), says, source)
	}
}

func place(m mistake) string { return itoa(m.line) + ":" + itoa(m.column) + " " }

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// TestCostWhileItRuns: what was estimated low and grows with the facts is stopped while it runs, and allows nothing.
func TestCostWhileItRuns(t *testing.T) {
	x, mistakes := compile(`approvals.all(a, a.by + "y" != "x")`)
	require.Empty(t, mistakes)
	f := known(func(f *Facts) {
		f.Approvals = nil
		for range 20_000 {
			f.Approvals = append(f.Approvals, Approval{By: "somebody"})
		}
	})
	assert.Equal(t, unknown, x.holds(f.values()))
	r := ask(t, f, expr(x.source))
	assert.Equal(t, Waits, r.Verdict)
	assert.Contains(t, r.Text(), "cannot be evaluated")
}

const product = `kind: Product
name: acme
series: "19.0"
environments: [uat, production]
---
kind: Environment
name: uat
runtime: {docker: {http: "127.0.0.1:1"}}
---
kind: Environment
name: production
runtime: {docker: {http: "127.0.0.1:2"}}
---
kind: Tenant
name: acme
environment: production
hosts: [a.example]
ring: first
labels: {country: de}
---
`

func load(t *testing.T, text string) *estate.Estate {
	t.Helper()
	e, err := estate.Parse(map[string][]byte{"base.yaml": []byte(product), "policies.yaml": []byte(text)})
	require.NoError(t, err)
	return e
}

// TestPlaces: a mistake within an expression has its place in the file, however the text was written down.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct{ yaml, at string }{
		"plain":         {"kind: Policy\nname: p\nrules:\n- id: r\n  why: w\n  expr: release.signed && checks.eror == 0\n", "policies.yaml:6:27: rules[0].expr: there is no fact checks.eror"},
		"double quotes": {"kind: Policy\nname: p\nrules:\n- id: r\n  why: w\n  expr: \"release.signed && checks.eror == 0\"\n", "policies.yaml:6:28: "},
		"single quotes": {"kind: Policy\nname: p\nrules:\n- {id: r, why: w, expr: 'checks.eror == 0'}\n", "policies.yaml:4:26: "},
		"block":         {"kind: Policy\nname: p\nrules:\n- id: r\n  why: w\n  expr: |\n    release.signed &&\n      checks.eror == 0\n", "policies.yaml:8:7: "},
		"later block":   {"kind: Policy\nname: p\nrules:\n- id: q\n  why: w\n  expr: |-\n    release.signed\n- id: r\n  expr: |-\n     checks.eror == 0\n  why: w\n", "policies.yaml:10:6: "},
		"second":        {"kind: Policy\nname: p\nrules:\n- use: signed\n- id: r\n  why: w\n  expr: checks.eror == 0\n", "policies.yaml:7:9: rules[1].expr"},
		"ready rule":    {"kind: Policy\nname: p\nrules:\n- use: soak\n  with: {for: a day}\n", `policies.yaml:5:15: rules[0].with.for: "a day" is no duration`},
		"ready name":    {"kind: Policy\nname: p\nrules:\n- use: soack\n", `policies.yaml:4:8: rules[0].use: there is no ready rule "soack" (did you mean "soak"?)`},
		"parameter":     {"kind: Policy\nname: p\nrules:\n- use: soak\n  with: {hours: 3}\n", `rules[0].with.hours: soak has no parameter "hours" (it has for)`},
		"lacks one":     {"kind: Policy\nname: p\nrules:\n- use: signed-by\n", `rules[0].with: lacks keys: names of keys`},
	} {
		_, err := Compile(load(t, c.yaml).Policies)
		if assert.Error(t, err, name) {
			assert.Contains(t, err.Error(), c.at, name)
			assert.Len(t, estate.Problems(err), 1, name)
		}
	}
}

// TestLibrary: every ready rule can be used as it is, or with the parameter it needs, and can hold and fail.
func TestLibrary(t *testing.T) {
	for _, ready := range Library() {
		r := estate.PolicyRule{ID: ready.Name, Use: ready.Name, With: map[string]string{}}
		for _, p := range ready.Parameters {
			if p.Default == "" {
				r.With[p.Name] = "ci"
			}
		}
		set, err := Compile(policyOf(r))
		require.NoError(t, err, ready.Name)
		assert.Empty(t, lintRule(set.rules[0].x, World{}), ready.Name)
		assert.NotEmpty(t, set.rules[0].message, ready.Name)
		assert.NotEmpty(t, set.rules[0].why, ready.Name)
	}
	for kind, bad := range map[string]string{"duration": `1h") || true || duration("1h`, "number": `1 || true`, "weekdays": `friday] || true || 1 in [1`} {
		_, err := literalOf(kind, bad)
		assert.Error(t, err, kind)
	}
	words, err := literalOf("words", `a"] || true || "a" in ["a`)
	require.NoError(t, err)
	assert.Equal(t, `["a\"] || true || \"a\" in [\"a"]`, words, "a word stays a word")
}

func TestLint(t *testing.T) {
	rule := func(expr string) string {
		return "kind: Policy\nname: p\nrules:\n- {id: r, why: w, expr: '" + expr + "'}\n"
	}
	for name, c := range map[string]struct {
		yaml  string
		finds []string
	}{
		"fine":                  {rule(`previous.soaked >= duration("24h")`), nil},
		"fine with a rare word": {rule(`approvals.exists(a, "dpo" in a.roles && a.by == "eva")`), nil},
		"fine with many":        {rule(`approvals.size() >= 4`), nil},
		"fine with labels":      {rule(`tenant.labels["country"] == "de" || environment.name == "uat"`), nil},
		"fine with days":        {rule(`!(now.getDayOfWeek("Europe/Berlin") in [5, 6])`), nil},
		"fine with both sides":  {rule(`previous.soaked >= duration("1h") && previous.soaked <= duration("100h")`), nil},
		"constant":              {rule(`true`), []string{"reads no fact"}},
		"constant comparison":   {rule(`1 < 2 || 2 < 1`), []string{"reads no fact"}},
		"vacuous or":            {rule(`previous.soaked >= duration("24h") || previous.soaked < duration("48h")`), []string{"never keeps anything out"}},
		"or true":               {rule(`release.signed || true`), []string{"never keeps anything out", "the part true reads no fact"}},
		"two unequals":          {rule(`promotion.class != "breaking" || promotion.class != "swap"`), []string{"never keeps anything out"}},
		"always":                {rule(`checks.errors >= 0`), []string{"never keeps anything out"}},
		"never":                 {rule(`promotion.class == "breaking" && promotion.class == "swap"`), []string{"can never hold"}},
		"no effect":             {rule(`release.signed && checks.errors >= 0`), []string{"policies.yaml:4:44: rules[0].expr: the part checks.errors >= 0 always holds"}},
		"all of its words":      {rule(`promotion.class in ["swap", "compatible", "breaking"]`), []string{"never keeps anything out"}},
		"environment":           {rule(`environment.name != "prodution" || release.signed`), []string{`policies.yaml:4:46: rules[0].expr: the estate has no environment "prodution" (did you mean "production"?)`}},
		"ring":                  {rule(`tenant.ring == "fist" || release.signed`), []string{`the estate has no ring "fist" (did you mean "first"?)`}},
		"label":                 {rule(`"contry" in tenant.labels || release.signed`), []string{`no tenant has a label "contry" (did you mean "country"?)`}},
		"selector": {"kind: Policy\nname: p\ntenants: {country: fr}\nrings: [second]\nrules:\n- use: signed\n",
			[]string{"tenants.country: no tenant's label country is fr", "rings[0]: no tenant is in ring second"}},
		"nobody": {"kind: Policy\nname: p\nenvironments: [uat]\nrules:\n- use: signed\n", []string{"the policy holds for no tenant"}},
	} {
		found, err := Lint(load(t, c.yaml))
		require.NoError(t, err, name)
		var all []string
		for _, p := range found {
			all = append(all, p.Error())
		}
		assert.Len(t, found, len(c.finds), "%s: %s", name, strings.Join(all, "\n"))
		for _, says := range c.finds {
			assert.Contains(t, strings.Join(all, "\n"), says, name)
		}
	}
}

func TestCases(t *testing.T) {
	set, err := Compile(load(t, `kind: Policy
name: production
environments: [production]
rules:
- use: soak
- use: four-eyes-for-breaking
- {id: small, severity: warn, why: w, expr: release.modules.size() < 3}
`).Policies)
	require.NoError(t, err)
	read := func(text string) []CaseResult {
		file, err := ReadCases([]byte(text))
		require.NoError(t, err)
		return set.Run(file)
	}
	const shared = `facts:
  environment: {name: production}
  promotion: {class: swap, author: ann}
  release: {modules: [a]}
  previous: {environment: uat}
cases:
`
	good := read(shared + `
- name: soaked
  facts: {previous: {soaked: 25h}}
  expect: allow
- name: fresh
  facts: {now: "2026-11-22T06:20:00Z", previous: {soaked: 2h10m}}
  expect: wait
  failing: [soak]
  says: "soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC"
- name: one pair of eyes, and many modules
  facts:
    promotion: {class: breaking}
    previous: {soaked: 25h}
    release: {modules: [a, b, c]}
    approvals: [{by: bob, roles: [approver]}, {by: ann, roles: [approver]}]
  expect: wait
  failing: [production/four-eyes-for-breaking]
  warning: [small]
`)
	for _, r := range good {
		assert.True(t, r.Passed, "%s: %v\n%s", r.Case.Name, r.Problems, r.Result.Text())
	}
	assert.Empty(t, set.Untested(good))
	assert.Equal(t, []string{"production/four-eyes-for-breaking", "production/small"}, set.Untested(good[:2]))

	for name, c := range map[string]struct{ text, problem string }{
		"other verdict": {"- {name: n, facts: {previous: {soaked: 1h}}, expect: allow}", "expected allow, got wait"},
		"other rule":    {"- {name: n, facts: {previous: {soaked: 1h}, approvals: []}, expect: wait, failing: [four-eyes-for-breaking]}", "rule production/soak does not hold either"},
		"no rule":       {"- {name: n, facts: {previous: {soaked: 1h}}, expect: wait, failing: [sok]}", "there is no rule sok"},
		"other words":   {"- {name: n, facts: {previous: {soaked: 1h}}, expect: wait, says: never}", `the explanation does not say "never"`},
		"no fact":       {"- {name: n, facts: {previous: {soakd: 1h}}, expect: wait}", "there is no fact previous.soakd (did you mean previous.soaked?)"},
		"no group":      {"- {name: n, facts: {previos: 1h}, expect: wait}", "facts previos: a group of facts expected"},
		"no duration":   {"- {name: n, facts: {previous: {soaked: 1}}, expect: wait}", "1 is no duration"},
		"no verdict":    {"- {name: n, facts: {}, expect: maybe}", "allow, wait or deny expected"},
		"no role":       {"- {name: n, facts: {approvals: [{rol: x}]}, expect: wait}", "there is no rol"},
	} {
		r := read(shared + c.text)
		assert.False(t, r[0].Passed, name)
		assert.Contains(t, strings.Join(r[0].Problems, "\n"), c.problem, name)
	}
	for name, text := range map[string]string{
		"no environment": "cases: [{name: n, facts: {promotion: {class: swap}}, expect: allow}]",
	} {
		assert.Contains(t, strings.Join(read(text)[0].Problems, "\n"), "environment.name", name)
	}
	for text, says := range map[string]string{"": "no cases", "cases: 3": "", "cases: [{nam: x}]": "nam", "a: !!binary x": "tags", strings.Repeat("[", 200): "nested"} {
		_, err := ReadCases([]byte(text))
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), says)
		}
	}
}
