package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/gate"
	"github.com/waybill-dev/waybill/internal/long"
)

const asksMuch = `kind: Product
name: acme
series: "19.0"
environments: [production]
---
kind: Environment
name: production
runtime: {docker: {http: "127.0.0.1:8069"}}
approvals: {}
emergency: {confirm: 2h}
---
kind: Tenant
name: acme
environment: production
hosts: [acme.localhost]
---
kind: Calendar
name: warehouse
timezone: Etc/UTC
windows:
  - name: stocktaking
    from: OPENS
    duration: 4h
---
kind: Access
users:
  - name: anna
    roles: [{role: operator}]
  - name: bert
    roles: [{role: approver, environments: [production]}]
  - name: carl
    emails: [carl@example.com]
    roles: [{role: admin}]
  - name: vera
    roles: [{role: viewer}]
`

// What waits says for what and from when, and keeps nobody who does not want to wait; a closed window stops no emergency, which
// somebody else confirms.
func TestWaitingAtTheGatesAndTheEmergencyPath(t *testing.T) {
	long.Test(t)
	opens := time.Now().UTC().AddDate(0, 2, 0).Truncate(24 * time.Hour).Add(22 * time.Hour)
	data := serving(t, strings.Replace(asksMuch, "OPENS", opens.Format("2006-01-02T15:04"), 1))
	ship(t, data)
	as := people(t, data, "anna", "bert", "carl", "vera")
	last := func(out string) string {
		words := strings.Fields(out)
		return words[len(words)-1]
	}

	out, problem, code := as("anna", "promote", "r1", "production", "--no-wait")
	require.Equal(t, exitWaiting, code, out+problem)
	require.Contains(t, out, "production waits: 1 approval of approver or admin\n")
	require.Contains(t, out, "production waits: environment/window: ")
	require.Contains(t, out, "from "+opens.Format("2006-01-02 15:04 UTC"))
	require.Contains(t, out, "agree: waybill approve ")
	id := last(out)

	out, problem, code = as("bert", "approve", id)
	require.Equal(t, exitDone, code, out+problem)
	require.Eventually(t, func() bool {
		out, problem, code = as("anna", "promotion", "watch", id, "--no-wait")
		return code == exitWaiting && !strings.Contains(out, "production waits: 1 approval") // the step's own line is of when it began to wait
	}, 60*time.Second, 50*time.Millisecond, "%s %s", out, problem)
	require.Contains(t, out, "production waits: environment/window: ")
	require.Contains(t, out, "it goes on by itself once nothing is missing: waybill promotion watch "+id)
	out, _, code = as("anna", "promotion", "watch", id, "--no-wait", "-o", "json")
	require.Equal(t, exitWaiting, code)
	var waits struct {
		ID    string
		Gates []api.Gate
	}
	require.NoError(t, json.Unmarshal([]byte(out), &waits), out)
	require.Equal(t, id, waits.ID)
	require.Equal(t, gate.Waits, waits.Gates[0].Answer.Verdict)
	require.True(t, waits.Gates[0].Standing && !waits.Gates[0].People)
	require.True(t, opens.Equal(waits.Gates[0].Answer.From))
	out, _, _ = as("vera", "promotion", "show", id)
	require.Contains(t, out, "gates of production/acme, asked at ")
	require.Contains(t, out, "  wait    environment/window: ")

	// The emergency: who may not, what is in the way, and what it takes.
	for name, c := range map[string]struct {
		who   string
		args  []string
		code  int
		error string
	}{
		"a viewer":         {"vera", []string{"--emergency", "x", "--second", "bert"}, exitFailed, "vera may not ask for a promotion"},
		"no reason":        {"anna", []string{"--emergency", " ", "--second", "bert"}, exitUsage, "takes a reason"},
		"no second":        {"anna", []string{"--emergency", "x"}, exitUsage, "--second is missing"},
		"a second alone":   {"anna", []string{"--second", "bert"}, exitUsage, "--emergency REASON"},
		"oneself":          {"anna", []string{"--emergency", "x", "--second", "anna"}, exitUsage, "somebody else than who asks"},
		"who made it":      {"anna", []string{"--emergency", "x", "--second", "carl"}, exitUsage, "carl may not confirm"},
		"who may only see": {"anna", []string{"--emergency", "x", "--second", "vera"}, exitUsage, "vera may not confirm"},
		"another waits":    {"anna", []string{"--emergency", "x", "--second", "bert"}, exitFailed, "waybill reject " + id},
	} {
		_, problem, code = as(c.who, append([]string{"promote", "r1", "production"}, c.args...)...)
		require.Equal(t, c.code, code, "%s: %s", name, problem)
		require.Contains(t, problem, c.error, name)
	}
	_, problem, code = as("anna", "reject", id, "--reason", "an emergency comes first")
	require.Equal(t, exitDone, code, problem)
	_, _, code = as("anna", "promotion", "watch", id)
	require.Equal(t, exitFailed, code)

	out, problem, code = as("anna", "promote", "r1", "production", "--emergency", "nobody can ship", "--second", "bert")
	require.Equal(t, exitWaiting, code, out+problem)
	require.Contains(t, out, "emergency, asked by anna: nobody can ship\n  not asked: environment/approvals, environment/window\n  bert confirms until ")
	require.Contains(t, out, "production waits: environment/second: bert confirms until ")
	id = last(out)
	_, problem, code = as("anna", "confirm", id)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "their own")
	_, problem, code = as("bert", "approve", id)
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "asks nobody for an approval", "the second person confirms, which is another thing")
	out, problem, code = as("bert", "confirm", id)
	require.Equal(t, exitDone, code, problem)
	require.Contains(t, out, "asked by anna: nobody can ship")
	require.Contains(t, out, "confirmed. Follow it")
	require.Eventually(t, func() bool {
		out, _, _ = as("vera", "promotion", "show", id, "-o", "json")
		var p api.Promotion
		return json.Unmarshal([]byte(out), &p) == nil && slices.ContainsFunc(p.Rollouts[0].Steps, func(s api.Step) bool { return s.Name == "start pool" })
	}, 60*time.Second, 50*time.Millisecond, "it goes on at once: %s", out)
	out, _, _ = as("vera", "review", "list")
	require.Contains(t, out, "nobody can ship")
	_, problem, code = as("bert", "review", "close", id, "--note", "done")
	require.Equal(t, exitFailed, code)
	require.Contains(t, problem, "has not ended")
	_, _, code = as("bert", "review", "close", id)
	require.Equal(t, exitUsage, code)
	require.Eventually(t, func() bool {
		out, _, code = as("", "ledger", "list", "--promotion", id)
		return code == exitDone && strings.Contains(out, "emergency.asked") && strings.Contains(out, "emergency.confirmed") && strings.Contains(out, "emergency.refused")
	}, 60*time.Second, 100*time.Millisecond, "%s", out)
}
