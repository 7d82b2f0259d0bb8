package odoo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Content is what a database holds of things that an update changes beside tables: by name, a text that differs
// where they differ. It holds no value of the tenant's.
type Content struct {
	Views      map[string]string
	Crons      map[string]string
	Parameters map[string]string // of ir_config_parameter, but for those that every update writes
	Modules    map[string]string // state and version, of those that are not uninstalled
}

// Stamps are columns that say who wrote a row when: that they differ is no difference.
var Stamps = []string{"write_date", "write_uid"}

// bookkeeping is what every update writes, whatever it changes: by table, the rows that do not count.
var bookkeeping = map[string]string{
	"orm_signaling_registry": "true", "base_registry_signaling": "true", "base_cache_signaling": "true",
	"orm_signaling_default": "true", "orm_signaling_assets": "true", "orm_signaling_templates": "true", "orm_signaling_routing": "true",
	"orm_signaling_groups": "true", "orm_signaling_stable": "true",
	"bus_bus": "true", "ir_logging": "true", "ir_cron_trigger": "true", "ir_cron_progress": "true",
	// Every update reads the manifests of all modules anew, also of those that are not installed. What counts of
	// them, state and version, is Content.Modules.
	"ir_module_module": "true", "ir_module_module_dependency": "true", "ir_module_module_exclusion": "true", "ir_module_category": "true",
	"ir_config_parameter": "key IN ('waybill.update', 'module_auto_update.installed_checksums', 'base.partially_updated_database')",
	"ir_attachment":       "url LIKE '/web/assets/%'",
}

// Bookkeeping is an SQL condition for the rows of a table (without its schema) that say nothing about what an
// update changed; "false" where every row counts.
func Bookkeeping(table string) string {
	if condition, ok := bookkeeping[table]; ok {
		return condition
	}
	return "false"
}

// xmlid names a record as its module does, or else by its number.
const xmlid = `coalesce((SELECT min(d.module || '.' || d.name) FROM ir_model_data d WHERE d.model = '%[1]s' AND d.res_id = t.id), '%[1]s ' || t.id)`

// ReadContent reads views, crons, parameters and modules.
func ReadContent(ctx context.Context, db *pgx.Conn) (Content, error) {
	var c Content
	for _, part := range []struct {
		to    *map[string]string
		query string
	}{
		{&c.Views, `SELECT ` + fmt.Sprintf(xmlid, "ir.ui.view") + `, coalesce(t.type, '') || coalesce(' of ' || t.model, '') || CASE WHEN t.active THEN '' ELSE ', inactive' END
			|| ' #' || left(md5(coalesce(t.arch_db::text, '') || t.mode || t.priority || coalesce(t.inherit_id::text, '')), 8) FROM ir_ui_view t`},
		{&c.Crons, `SELECT ` + fmt.Sprintf(xmlid, "ir.cron") + `, 'every ' || t.interval_number || ' ' || t.interval_type || CASE WHEN t.active THEN '' ELSE ', inactive' END FROM ir_cron t`},
		{&c.Parameters, `SELECT t.key, '#' || left(md5(coalesce(t.value, '')), 8) FROM ir_config_parameter t WHERE NOT (` + Bookkeeping("ir_config_parameter") + `)`},
		{&c.Modules, `SELECT t.name, t.state || coalesce(' ' || t.latest_version, '') FROM ir_module_module t WHERE t.state NOT IN ('uninstalled', 'uninstallable')`},
	} {
		rows, err := db.Query(ctx, part.query)
		if err != nil {
			return c, fmt.Errorf("read the content of database %q: %w", db.Config().Database, err)
		}
		found := map[string]string{}
		var name, text string
		if _, err := pgx.ForEachRow(rows, []any{&name, &text}, func() error { found[name] = text; return nil }); err != nil {
			return c, fmt.Errorf("read the content of database %q: %w", db.Config().Database, err)
		}
		*part.to = found
	}
	return c, nil
}

// SelectionValue is a value that a selection field may have.
type SelectionValue struct{ Model, Field, Value string }

// ReadSelections reads the values of all stored selection fields.
func ReadSelections(ctx context.Context, db *pgx.Conn) (map[SelectionValue]bool, error) {
	rows, err := db.Query(ctx, `SELECT f.model, f.name, s.value FROM ir_model_fields_selection s JOIN ir_model_fields f ON f.id = s.field_id WHERE f.store`)
	if err != nil {
		return nil, fmt.Errorf("read the selection fields of database %q: %w", db.Config().Database, err)
	}
	found := map[SelectionValue]bool{}
	var v SelectionValue
	_, err = pgx.ForEachRow(rows, []any{&v.Model, &v.Field, &v.Value}, func() error { found[v] = true; return nil })
	return found, err
}

// CountSelection counts the rows that have a value. A field without a column of its own has none.
func CountSelection(ctx context.Context, db *pgx.Conn, v SelectionValue) (int64, error) {
	var table string
	err := db.QueryRow(ctx, `SELECT coalesce((SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relname = replace($1, '.', '_') AND c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
		  AND a.attname = $2 AND NOT a.attisdropped AND a.atttypid IN ('varchar'::regtype, 'text'::regtype)), '')`, v.Model, v.Field).Scan(&table)
	if err != nil || table == "" {
		return 0, err
	}
	var n int64
	err = db.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()+" WHERE "+pgx.Identifier{v.Field}.Sanitize()+" = $1", v.Value).Scan(&n)
	return n, err
}
