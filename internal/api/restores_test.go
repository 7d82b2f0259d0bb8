package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/estate"
)

// What a restore cannot mean is said before anything is asked for.
func TestRestoreIsRefused(t *testing.T) {
	b := setup(t)
	b.declare(user("olga", estate.RoleOperator))
	token := b.token("olga")
	_, err := b.state.Pool.Exec(t.Context(), "delete from tenants where environment = 'production' and name = 'acme'") // that other tests may have made
	require.NoError(t, err)
	for says, more := range map[string]map[string]any{
		"name either a checkpoint or a time":  {},
		"either a checkpoint or a time (to_t": {"checkpoint": "c1", "to_time": time.Now().Add(-time.Hour)},
		"is in the future":                    {"to_time": time.Now().Add(time.Hour)},
		"there is no checkpoint at all":       {"to_time": time.Now().Add(-time.Hour)},
		"is not one of production/acme":       {"checkpoint": "production/bolt/c1"},
		"this restore is over it":             {"checkpoint": "c1", "host": "look.example"},
		"no database that Waybill knows":      {"checkpoint": "c1", "beside": true},
	} {
		body := map[string]any{"environment": "production", "tenant": "acme"}
		for k, v := range more {
			body[k] = v
		}
		said := b.ask(token, "POST", "/api/v1/restores", body)
		require.Equal(t, 422, said.status, said.text)
		require.Contains(t, said.text, says)
	}
	said := b.ask(token, "DELETE", "/api/v1/restores/production/acme/acme", nil)
	require.Equal(t, 422, said.status, "the living one cannot be named: "+said.text)
	var list []Beside
	b.ask(token, "GET", "/api/v1/restores/production/acme", nil).into(t, &list)
	require.Empty(t, list)
}
