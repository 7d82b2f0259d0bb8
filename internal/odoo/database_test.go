package odoo

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/internal/bridge"
	"github.com/waybill-dev/waybill/internal/postgres"
	"github.com/waybill-dev/waybill/internal/postgres/postgrestest"
)

// TestFacts reads a real PostgreSQL with Odoo's tables as Odoo 19.0 makes them (the columns that
// are read). The bridge's tests update real databases and read the result.
func TestFacts(t *testing.T) {
	ctx := t.Context()
	db, err := pgx.Connect(ctx, postgrestest.Shared(postgres.Options{})(t).URL("postgres"))
	require.NoError(t, err)
	defer db.Close(ctx)

	_, err = ReadFacts(ctx, db)
	require.ErrorIs(t, err, ErrNoOdoo)
	require.ErrorContains(t, err, `database "postgres"`)

	_, err = db.Exec(ctx, `
		CREATE TABLE ir_module_module (id serial PRIMARY KEY, name varchar NOT NULL, latest_version varchar, state varchar);
		CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar NOT NULL, value text);
		CREATE TABLE res_lang (id serial PRIMARY KEY, code varchar NOT NULL, active boolean);
		INSERT INTO ir_module_module (name, state) VALUES ('base', 'uninstalled')`)
	require.NoError(t, err)
	there, err := HasOdoo(ctx, db)
	require.NoError(t, err)
	require.False(t, there, "tables alone are what an initialisation that failed leaves")

	_, err = db.Exec(ctx, `
		UPDATE ir_module_module SET state = 'installed', latest_version = '19.0.1.3';
		INSERT INTO ir_module_module (name, latest_version, state) VALUES
			('stock', '19.0.1.1', 'installed'), ('acme_lane', '19.0.1.0', 'to upgrade'), ('acme_new', NULL, 'to install'),
			('sale', NULL, 'uninstalled'), ('iot', NULL, 'uninstallable');
		INSERT INTO res_lang (code, active) VALUES ('fr_BE', true), ('de_DE', false), ('en_US', true)`)
	require.NoError(t, err)
	facts, err := ReadFacts(ctx, db)
	require.NoError(t, err)
	require.Equal(t, Facts{
		Modules: []InstalledModule{
			{"acme_lane", "19.0.1.0", StateToUpgrade}, {"acme_new", "", StateToInstall},
			{"base", "19.0.1.3", StateInstalled}, {"stock", "19.0.1.1", StateInstalled},
		},
		Checksums: map[string]string{}, Languages: []string{"en_US", "fr_BE"},
	}, facts)
	require.Equal(t, map[string]string{"base": "19.0.1.3", "stock": "19.0.1.1"}, facts.Versions())

	_, err = db.Exec(ctx, `INSERT INTO ir_config_parameter (key, value) VALUES
		('module_auto_update.installed_checksums', '{"base": "abc", "gone": false}'),
		('module_auto_update.exclude_patterns', '*.pyc, static/*'),
		('base.partially_updated_database', 'True'),
		('waybill.update', '{"promotion": "p1", "release": "sha256:1", "state": "done", "at": 1.5}')`)
	require.NoError(t, err)
	facts, err = ReadFacts(ctx, db)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"base": "abc"}, facts.Checksums)
	require.Equal(t, ChecksumRule{Exclude: []string{"*.pyc", "static/*"}, Languages: []string{"en_US", "fr_BE"}}, facts.Rule())
	require.Equal(t, &bridge.Marker{Promotion: "p1", Release: "sha256:1", State: "done", At: 1.5}, facts.Marker)
	require.True(t, facts.PartiallyUpdated)

	_, err = db.Exec(ctx, `UPDATE ir_config_parameter SET value = '[' WHERE key = 'module_auto_update.installed_checksums'`)
	require.NoError(t, err)
	_, err = ReadFacts(ctx, db)
	require.ErrorContains(t, err, "holds no JSON object")
}
