//go:build odoo

// Package emergency breaks the glass on a real Odoo: a release goes into a frozen production that asks for an approval, by the
// word of two people, with its checkpoint, and is looked at before the next ordinary one.
package emergency

import (
	"context"
	"errors"
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
	"github.com/waybill-dev/waybill/internal/api"
	"github.com/waybill-dev/waybill/internal/store"
)

// Who may confirm, and when production is frozen.
const (
	access = `kind: Access
users:
  - name: bert
    roles: [{role: operator, environments: [production]}]
`
	frozen = `kind: Calendar
name: warehouse
timezone: Europe/Berlin
freezes:
  - name: stop
    from: 2026-01-01
    reason: Christmas trade
`
)

type people struct {
	*stage.Stage
	t *testing.T
}

func TestEmergency(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	options, err := stage.Here(ctx, "emergency")
	require.NoError(t, err)
	options.Log, options.Releases = t.Logf, []string{"r1", "r2", "r3"}
	opened, err := stage.Open(ctx, options)
	require.NoError(t, err)
	p := people{Stage: opened, t: t}
	t.Cleanup(func() {
		assert.NoError(t, p.Close(context.Background()))
		_ = os.Remove(options.Binary)
	})
	calendar := filepath.Join(p.Folder, "estate", "calendar.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(p.Folder, "estate", "people.yaml"), []byte(access), 0o644))
	require.NoError(t, os.WriteFile(calendar, []byte(frozen), 0o644))
	require.NoError(t, p.Declare(ctx, "approvals: {}\nemergency: {confirm: 10m}\n"))
	bert := filepath.Join(p.Folder, "bert.token")
	p.ask(ctx, 0, nil, "token", "create", "bert", "--out", bert)

	ledger, err := client.OpenLedger(filepath.Join(t.TempDir(), "orders.jsonl"))
	require.NoError(t, err)
	crew := &client.Crew{Site: p.Site, Login: stage.Clerk, Password: p.Initial.Clerk, People: 2, Pace: 2 * time.Second, Goods: p.Initial.Goods, Ledger: ledger, Tally: client.NewTally(), Prefix: "URGENT"}
	require.NoError(t, crew.Start(t.Context()))
	t.Cleanup(func() { _ = crew.Stop() })

	// Ordinarily it would wait until the freeze is over, and for an approval.
	p.ask(ctx, 3, nil, "promote", "r2", stage.Environment, "--no-wait")
	ordinary := p.newest(ctx)
	require.Contains(t, ordinary.Rollouts[0].WaitsFor, "Christmas trade")
	p.ask(ctx, 0, nil, "reject", ordinary.ID, "--reason", "it cannot wait", "--token-file", bert)

	p.ask(ctx, 2, nil, "promote", "r2", stage.Environment, "--emergency", "nobody can ship")
	p.ask(ctx, 3, nil, "promote", "r2", stage.Environment, "--no-wait", "--emergency", "nobody can ship", "--second", "bert")
	asked := p.newest(ctx)
	require.NotEqual(t, ordinary.ID, asked.ID)
	require.NotNil(t, asked.Emergency)
	require.ElementsMatch(t, []string{"environment/approvals", "environment/window"}, asked.Emergency.Skipped)
	p.ask(ctx, 1, nil, "confirm", asked.ID) // who asked for it
	require.Nil(t, p.promotion(ctx, asked.ID).Emergency.ConfirmedAt)
	p.ask(ctx, 0, nil, "confirm", asked.ID, "--token-file", bert)
	p.ask(ctx, 0, nil, "promotion", "watch", asked.ID)
	done := p.promotion(ctx, asked.ID)
	require.Equal(t, "promoted", done.Outcome, done.Rollouts[0].Reason)
	require.NotEmpty(t, done.Rollouts[0].Checkpoint, "never without one")
	require.Equal(t, "r2", p.serving(ctx))

	// The next ordinary one waits for the review as well, although production is open again.
	require.NoError(t, os.Remove(calendar))
	require.NoError(t, p.Declare(ctx, "emergency: {confirm: 10m}\n"))
	p.ask(ctx, 3, nil, "promote", "r3", stage.Environment, "--no-wait")
	next := p.newest(ctx)
	require.Contains(t, next.Rollouts[0].WaitsFor, "review")
	require.NotContains(t, next.Rollouts[0].WaitsFor, "Christmas")
	p.ask(ctx, 1, nil, "review", "close", asked.ID, "--note", "by who broke the glass")
	var closed store.Emergency
	p.ask(ctx, 0, &closed, "review", "close", asked.ID, "--note", "the carrier had told of it; we read those mails now", "--token-file", bert)
	require.Equal(t, "bert", closed.ReviewedBy)
	require.Eventually(t, func() bool { // the gates are asked anew at once, though not before the answer
		return !strings.Contains(p.promotion(ctx, next.ID).Rollouts[0].WaitsFor, "review")
	}, time.Minute, 100*time.Millisecond, "the closed review lets the next one through")
	p.ask(ctx, 1, nil, "promotion", "watch", next.ID) // r3 cannot take one of Acme's orders, and goes back by itself
	next = p.promotion(ctx, next.ID)
	require.Equal(t, "rolled_back", next.Outcome)
	require.Contains(t, next.Rollouts[0].Reason, "update", "it got through its gates")
	require.Equal(t, "r2", p.serving(ctx))
	p.ask(ctx, 0, nil, "ledger", "verify")

	require.NoError(t, crew.Stop())
	url, err := p.DatabaseURL(stage.TenantsServer, stage.Database)
	require.NoError(t, err)
	found, err := ledger.Audit(ctx, url)
	require.NoError(t, err)
	require.NoError(t, found.Err())
	require.NoError(t, ledger.Close())
	count := crew.Tally.Since(0)
	t.Logf("%d orders looked for, %d lost; %d requests, %d failed", found.Checked, found.Missing(), count.Requests, count.Failed)
	require.Zero(t, count.Failed, count.Failures)
}

func (p people) ask(ctx context.Context, code int, into any, args ...string) {
	p.t.Helper()
	err := p.Ask(ctx, into, args...)
	var refused *waybill.Refused
	if errors.As(err, &refused) {
		require.Equal(p.t, code, refused.Code, refused.Error())
		return
	}
	require.NoError(p.t, err, p.LogTail())
	require.Zero(p.t, code, args)
}

func (p people) newest(ctx context.Context) api.Promotion {
	p.t.Helper()
	found, err := p.Newest(ctx)
	require.NoError(p.t, err)
	return found
}

func (p people) promotion(ctx context.Context, id string) api.Promotion {
	p.t.Helper()
	found, err := p.Promotion(ctx, id)
	require.NoError(p.t, err)
	return found
}

func (p people) serving(ctx context.Context) string {
	p.t.Helper()
	var said api.Status
	p.ask(ctx, 0, &said, "status")
	return said.Environments[0].Tenants[0].Serving
}
