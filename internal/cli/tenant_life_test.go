package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/api"
)

func TestTenantDeleteAsks(t *testing.T) {
	var asked map[string]any
	var path string
	data := fake(t, func(r *http.Request) (int, any) {
		path = r.URL.Path
		asked = nil
		_ = json.NewDecoder(r.Body).Decode(&asked) // undelete says nothing
		return 422, map[string]any{"title": "Unprocessable Entity", "detail": "enough"}
	})
	_, _, code := said(t, "tenant", "delete", "a/b", "--grace", "2d", "--message", "It has moved.", "--data", data)
	require.Equal(t, exitUsage, code)
	require.Equal(t, "/api/v1/tenants/a/b/delete", path)
	require.Equal(t, map[string]any{"grace_hours": 48.0, "message": "It has moved."}, asked)
	_, _, _ = said(t, "tenant", "delete", "a/b", "--data", data)
	require.Equal(t, 720.0, asked["grace_hours"])
	_, _, _ = said(t, "tenant", "undelete", "a/b", "--data", data)
	require.Equal(t, "/api/v1/tenants/a/b/undelete", path)
}

func TestLeavingIsShown(t *testing.T) {
	until := time.Date(2026, 12, 22, 12, 0, 0, 0, time.Local)
	var out strings.Builder
	showStatus(&out, api.Status{Environments: []api.Environment{{Name: "production", Tenants: []api.Tenant{{Name: "acme", Mode: "leaving", LeavingUntil: &until, Hosts: []string{"acme.example"}}}}}})
	require.Contains(t, out.String(), "leaving until 2026-12-22 12:00:00")
}
