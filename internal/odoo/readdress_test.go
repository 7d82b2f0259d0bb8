package odoo

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

func TestReaddress(t *testing.T) {
	long.Test(t)
	ctx := t.Context()
	db, err := pgx.Connect(ctx, postgrestest.Shared(postgres.Options{})(t).URL("postgres"))
	require.NoError(t, err)
	defer db.Close(ctx)
	_, err = db.Exec(ctx, `DROP TABLE IF EXISTS ir_config_parameter; CREATE TABLE ir_config_parameter (key varchar, value text); CREATE TABLE orm_signaling_stable (id serial); CREATE TABLE orm_signaling_assets (id serial);
		CREATE SEQUENCE base_cache_signaling; INSERT INTO ir_config_parameter VALUES ('web.base.url', 'https://old.example/'), ('other', 'https://old.example')`)
	require.NoError(t, err)
	for _, step := range []struct {
		from, to string
		changed  bool
		url      string
		told     int
	}{
		{"https://old.example", "https://new.example", true, "https://new.example", 1},
		{"https://old.example", "https://new.example", true, "https://new.example", 1}, // done before a kill
		{"https://old.example", "https://third.example", false, "https://new.example", 1},
	} {
		changed, err := Readdress(ctx, db, step.from, step.to)
		require.NoError(t, err)
		require.Equal(t, step.changed, changed)
		var url, other string
		var told, assets int
		require.NoError(t, db.QueryRow(ctx, `SELECT (SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'), (SELECT value FROM ir_config_parameter WHERE key = 'other'),
			(SELECT count(*) FROM orm_signaling_stable), (SELECT count(*) FROM orm_signaling_assets)`).Scan(&url, &other, &told, &assets))
		require.Equal(t, step.url, url)
		require.Equal(t, "https://old.example", other)
		require.Equal(t, step.told, told)
		require.Zero(t, assets)
	}
	var sequence int
	require.NoError(t, db.QueryRow(ctx, "SELECT last_value FROM base_cache_signaling WHERE is_called").Scan(&sequence))
	require.Equal(t, 1, sequence)
}
