package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const productionPolicy = `kind: Policy
name: gate
environments: [production]
rules:
  - use: soak
    with: {for: 24h}
  - id: small
    expr: release.modules.size() <= 10
    message: it must be small
    why: what is small is understood
    severity: warn
`

// The verbs need the folder alone.
func TestPolicy(t *testing.T) {
	dir := estateWith(t, "policies.yaml", productionPolicy)
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
		return path
	}
	on := func(args ...string) (string, string, int) {
		return said(t, append([]string{"policy"}, append(args, "--estate", dir, "--data", t.TempDir())...)...)
	}
	out, errs, code := on("list")
	require.Equal(t, exitDone, code, errs)
	require.Equal(t, `POLICY  HOLDS FOR   RULE   SEVERITY  CONDITION
gate    production  soak   deny      use: soak for=24h
                    small  warn      release.modules.size() <= 10
`, out)
	out, _, _ = on("show", "gate")
	require.Contains(t, out, `previous.soaked >= duration("24h")`)
	require.Contains(t, out, "at: policies.yaml:5")
	out, _, code = on("list", "--library")
	require.Equal(t, exitDone, code)
	require.Contains(t, out, "four-eyes-for-breaking")
	_, errs, code = on("show", "gat")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `did you mean gate?`)
	out, errs, code = on("lint")
	require.Equal(t, exitDone, code, errs+out)
	require.Equal(t, "1 policy, nothing to warn of\n", out)

	_, errs, code = on("test")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "has none that ends in _test.yaml")
	write("policies_test.yaml", `facts:
  environment: {name: production}
  previous: {environment: uat}
  release: {modules: [a]}
cases:
- {name: soaked, facts: {previous: {soaked: 25h}}, expect: allow}
- name: fresh
  facts: {now: "2026-11-22T06:20:00Z", previous: {soaked: 2h10m}}
  expect: wait
  failing: [gate/soak]
`)
	out, errs, code = on("test")
	require.Equal(t, exitDone, code, errs)
	require.Equal(t, `policies_test.yaml
  ok    soaked: allow
  ok    fresh: wait
2 cases, 0 failed
no case makes these rules fail: gate/small
`, out)
	wrong := write("wrong_test.yaml", `cases:
- {name: fresh, facts: {environment: {name: production}, previous: {soaked: 1h}}, expect: allow}
`)
	out, _, code = on("test", wrong)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "  FAIL  fresh\n        expected allow, got wait\n        waits; if nothing else changes, until 2026-01-06 11:00 UTC\n")
	facts := write("facts_test.yaml", `environment: {name: production}
previous: {environment: uat, soaked: 2h10m}
release: {modules: [a, b, c, d, e, f, g, h, i, j, k]}
now: "2026-11-22T06:20:00Z"
`)
	out, errs, code = on("explain", facts)
	require.Equal(t, exitWaiting, code, errs)
	require.Equal(t, `waits; if nothing else changes, until 2026-11-23 04:10 UTC
  wait     gate/soak: it must have run long enough in the environment before: soaked 2 h 10 min of 24 h in uat: from 2026-11-23 04:10 UTC
           why: what nobody has used for a while is not known to work
  warn     gate/small: it must be small: release.modules.size() is 11, at most 10 is allowed
           why: what is small is understood
`, out)

	write("policies.yaml", "kind: Policy\nname: gate\nenvironments: [production]\nrules:\n- {id: r, why: w, expr: 'promotion.class != \"braking\"'}\n")
	_, errs, code = on("list")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `policies.yaml:5:45: rules[0].expr: promotion.class is never "braking" (did you mean "breaking"?)`)
	write("policies.yaml", "kind: Policy\nname: gate\nrules:\n- {id: r, why: w, expr: 'release.signed || true'}\n")
	out, _, code = on("lint")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "never keeps anything out")
}
