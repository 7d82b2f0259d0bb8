//go:build odoo

package acme_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBrowser opens the form of a delivery in Chromium: with a view that the server knows all
// fields of, and with one that it does not, which no status code tells.
func TestBrowser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p := odoo(t)
	require.NoError(t, p.copyDatabase(ctx, "before_production", "browser"))
	site, stop, err := p.serve(ctx, "r1", "browser", 0)
	require.NoError(t, err)
	defer stop()
	site.Patience = 3 * time.Minute
	pictures := t.ArtifactDir()
	browser, err := site.OpenBrowser(ctx, 99, pictures)
	require.NoError(t, err)
	defer browser.Close()
	require.NoError(t, browser.Login(ctx, "clerk", clerkPassword))
	bucket, err := browser.Cookie(ctx, "waybill_bucket")
	require.NoError(t, err)
	require.Equal(t, "99", bucket)

	delivery, err := p.query(ctx, "browser", `SELECT min(id) FROM stock_picking WHERE dock_id IS NOT NULL`)
	require.NoError(t, err)
	id := int(delivery[0] - '0')
	form, err := browser.OpenDelivery(ctx, id)
	require.NoError(t, err)
	t.Logf("form %q shows %v", form.Title, form.Fields)
	require.True(t, form.Has("dock_id"))
	require.False(t, form.Has("dock_slot"))
	form, err = browser.Revisit(ctx)
	require.NoError(t, err)
	require.True(t, form.Has("dock_id"))
	require.NoError(t, browser.Picture(ctx, "r1"))

	// r2's update under the running r1: nobody prunes the view here, so the browser must notice.
	log, err := p.job(ctx, "r2", "browser", "-u", modules)
	require.NoError(t, err, log)
	_, err = browser.Reload(ctx)
	require.Error(t, err, "a view with a field that the server does not know must be noticed")
	t.Log(err)
	stop()
}
