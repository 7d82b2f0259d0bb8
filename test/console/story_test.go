//go:build browser && odoo

package console_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
	"github.com/waybill-dev/waybill/examples/acme/waybill"
)

// Who follows the story in the browser, and what production asks of a release there: an approval, and traffic by weight,
// with a look at how long deliveries take.
const (
	storyPeople = `kind: Access
users:
  - name: anna
    roles: [{role: operator, environments: [production]}]
  - name: bert
    roles: [{role: approver, environments: [production]}]
  - name: olga
    roles: [{role: admin}]
`
	storyWeights = "  steps: [25, 50]\n  step_deadline: 6m\n  signals:\n    - {signal: picking_validate.seconds, role: trigger, tolerance: 300%, required: true}\n"
)

// TestStory is the demo's story in the browser, on a real Odoo, while people work there: r2 waits, is approved by another person, gets
// its traffic by weight and stays; r4 updates the database, is broken in production, and goes back by itself.
func TestStory(t *testing.T) {
	options, err := stage.Here(interrupted, "console")
	require.NoError(t, err)
	options.Log, options.Releases = t.Logf, []string{"r1", "r2", "r4"}
	s, err := stage.Open(interrupted, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.LogTail())
		}
		assert.NoError(t, s.Close(context.Background()))
		_ = os.Remove(options.Binary)
	})
	x := &server{t: t, folder: s.Folder, cli: waybill.CLI{Binary: s.Binary, Data: s.Data()}, url: "http://" + s.Address, passwords: map[string]string{}, digests: s.Digests}
	require.NoError(t, os.WriteFile(x.path("estate/people.yaml"), []byte(storyPeople), 0o644))
	require.NoError(t, s.Declare(interrupted, "approvals: {}\n"))
	file := x.path("estate/production.yaml")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	const before = "  steps: [50]\n  requests: 5\n  step_deadline: 3m\n"
	require.Equal(t, 1, strings.Count(string(content), before), "%s", content)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(content), before, storyWeights+"  requests: 40\n", 1)), 0o644))
	x.commit("estate", "Acme IT <it@acme.example>", "production asks for an approval, and looks at the deliveries")
	x.givePasswords("anna", "bert", "olga")

	ledger, err := client.OpenLedger(filepath.Join(t.TempDir(), "orders.jsonl"))
	require.NoError(t, err)
	crew := &client.Crew{Site: s.Site, Login: stage.Clerk, Password: s.Initial.Clerk, People: 6, Pace: 2 * time.Second, Goods: s.Initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "CONSOLE"}
	require.NoError(t, crew.Start(interrupted))
	home := false
	t.Cleanup(func() {
		if !home {
			_ = crew.Stop()
		}
	})
	play(t, x, map[string]string{}, "story", "story")

	home = true
	require.NoError(t, crew.Stop())
	url, err := s.DatabaseURL(stage.TenantsServer, stage.Database)
	require.NoError(t, err)
	found, err := ledger.Audit(interrupted, url)
	require.NoError(t, err)
	require.NoError(t, found.Err())
	require.NoError(t, ledger.Close())
	count := crew.Tally.Since(0)
	t.Logf("%d orders looked for, %d lost; %d requests, %d failed", found.Checked, found.Missing(), count.Requests, count.Failed)
	require.Zero(t, count.Failed, "requests of people who worked meanwhile")
	require.NotZero(t, found.Checked)
}
