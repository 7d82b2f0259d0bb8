package odoo

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/long"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

// TestUse reads a real PostgreSQL with Odoo's tables as Odoo 19.0 makes them (the columns that are read).
func TestUse(t *testing.T) {
	long.Test(t)
	ctx := t.Context()
	server := postgrestest.Shared(postgres.Options{})(t)
	admin, err := pgx.Connect(ctx, server.URL("postgres"))
	require.NoError(t, err)
	defer admin.Close(ctx)
	_, err = admin.Exec(ctx, "CREATE DATABASE use_of_it")
	require.NoError(t, err)
	db, err := pgx.Connect(ctx, server.URL("use_of_it"))
	require.NoError(t, err)
	defer db.Close(ctx)

	_, err = ReadUse(ctx, db)
	require.ErrorContains(t, err, `database "use_of_it"`)

	_, err = db.Exec(ctx, `
		CREATE TABLE ir_model (id serial PRIMARY KEY, state varchar);
		CREATE TABLE ir_model_fields (id serial PRIMARY KEY, state varchar);
		CREATE TABLE ir_ui_view (id serial PRIMARY KEY, name varchar);
		CREATE TABLE ir_model_data (id serial PRIMARY KEY, model varchar, res_id integer);
		CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname varchar, file_size integer);
		INSERT INTO ir_model (state) VALUES ('base');
		INSERT INTO ir_model_fields (state) VALUES ('base');
		INSERT INTO ir_ui_view (name) VALUES ('of a module');
		INSERT INTO ir_model_data (model, res_id) VALUES ('ir.ui.view', 1), ('ir.ui.menu', 2);
		INSERT INTO ir_attachment (store_fname, file_size) VALUES (NULL, 7), ('aa/a', 10), ('aa/a', 10), ('bb/b', 2000000000), ('cc/c', 2000000000)`)
	require.NoError(t, err)
	use, err := ReadUse(ctx, db)
	require.NoError(t, err)
	require.Equal(t, Use{Files: 3, FileBytes: 4_000_000_010}, use, "a table that is not there is not applicable, which is not zero")
	require.Empty(t, use.Customised())

	_, err = db.Exec(ctx, `
		INSERT INTO ir_model (state) VALUES ('manual');
		INSERT INTO ir_model_fields (state) VALUES ('manual'), ('manual');
		INSERT INTO ir_ui_view (name) VALUES ('of a person');
		CREATE TABLE pos_session (id serial PRIMARY KEY, state varchar);
		INSERT INTO pos_session (state) VALUES ('opened'), ('closing_control'), ('closed');
		CREATE TABLE base_import_import (id serial PRIMARY KEY, create_date timestamp, write_date timestamp);
		INSERT INTO base_import_import (create_date, write_date) VALUES (now() AT TIME ZONE 'utc', NULL), (now() AT TIME ZONE 'utc' - interval '3 hours', now() AT TIME ZONE 'utc' - interval '2 hours');
		CREATE TABLE queue_job (id serial PRIMARY KEY, state varchar);
		INSERT INTO queue_job (state) VALUES ('done'), ('pending')`)
	require.NoError(t, err)
	use, err = ReadUse(ctx, db)
	require.NoError(t, err)
	n := func(n int64) *int64 { return &n }
	require.Equal(t, Use{Tills: n(2), Imports: n(1), Jobs: n(0), Fields: 2, Models: 1, Views: 1, Files: 3, FileBytes: 4_000_000_010}, use)
	require.Equal(t, "2 fields, 1 model, 1 view made by hand", use.Customised())
}
