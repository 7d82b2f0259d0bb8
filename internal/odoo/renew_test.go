package odoo

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

func TestRenew(t *testing.T) {
	long.Test(t)
	ctx := t.Context()
	db, err := pgx.Connect(ctx, postgrestest.Shared(postgres.Options{})(t).URL("postgres"))
	require.NoError(t, err)
	defer db.Close(ctx)
	_, err = db.Exec(ctx, `CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL UNIQUE, value text);
		CREATE TABLE res_users (login varchar, password varchar); CREATE TABLE res_users_apikeys (id serial);
		INSERT INTO ir_config_parameter (key, value) VALUES ('database.secret', 's'), ('web.base.url', 'http://model.example'), ('mail.catchall', 'stays');
		INSERT INTO res_users VALUES ('clerk', 'hers'); INSERT INTO res_users_apikeys DEFAULT VALUES`)
	require.NoError(t, err)
	require.NoError(t, Renew(ctx, db, Identity{URL: "https://shop.example"}))
	values := map[string]string{}
	rows, _ := db.Query(ctx, "SELECT key, value FROM ir_config_parameter")
	var key, value string
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error { values[key] = value; return nil })
	require.NoError(t, err)
	require.Len(t, values["database.secret"], 36)
	require.Len(t, values["database.uuid"], 36)
	require.NotEqual(t, values["database.secret"], values["database.uuid"])
	require.Equal(t, "https://shop.example", values["web.base.url"])
	require.Equal(t, "stays", values["mail.catchall"])
	var left int
	require.NoError(t, db.QueryRow(ctx, "SELECT count(*) FROM res_users_apikeys").Scan(&left))
	require.Zero(t, left)

	err = Renew(ctx, db, Identity{URL: "https://shop.example", AdminPassword: "x"})
	require.ErrorIs(t, err, ErrNoAdmin)
	_, err = db.Exec(ctx, "INSERT INTO res_users VALUES ('admin', 'admin')")
	require.NoError(t, err)
	require.NoError(t, Renew(ctx, db, Identity{URL: "https://shop.example", AdminPassword: "x"}))
	var password, hers string
	require.NoError(t, db.QueryRow(ctx, "SELECT (SELECT password FROM res_users WHERE login = 'admin'), (SELECT password FROM res_users WHERE login = 'clerk')").Scan(&password, &hers))
	parts := strings.Split(password, "$") // $pbkdf2-sha512$ROUNDS$SALT$CHECKSUM
	require.Equal(t, []string{"", "pbkdf2-sha512", "600000"}, parts[:3])
	require.Len(t, parts[3], 22)
	require.Len(t, parts[4], 86)
	require.Equal(t, "hers", hers)
}
