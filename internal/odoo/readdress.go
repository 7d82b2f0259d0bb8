package odoo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Readdress lets links in mails lead to another address, where they lead to the one before: web.base.url that somebody has set to
// something else stays. Running workers are told to forget what they remember of it (orm_signaling_*, sequences before 19.0).
func Readdress(ctx context.Context, db *pgx.Conn, from, to string) (changed bool, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE ir_config_parameter SET value = $2 WHERE key = 'web.base.url' AND rtrim(value, '/') = $1", from, to)
		if err != nil {
			return err
		}
		if changed = tag.RowsAffected() > 0; !changed {
			return tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ir_config_parameter WHERE key = 'web.base.url' AND value = $1)", to).Scan(&changed)
		}
		rows, _ := tx.Query(ctx, `SELECT CASE relkind WHEN 'S' THEN format('SELECT nextval(%L)', oid::regclass) ELSE format('INSERT INTO %s DEFAULT VALUES', oid::regclass) END
			FROM pg_class WHERE relnamespace = 'public'::regnamespace
			  AND (relkind = 'r' AND relname IN ('orm_signaling_stable', 'orm_signaling_default') OR relkind = 'S' AND relname ~ '^base_cache_signaling(_default|_stable)?$')`)
		signals, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, signal := range signals {
			if err == nil {
				_, err = tx.Exec(ctx, signal)
			}
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("set the address that links of database %q lead to: %w", db.Config().Database, err)
	}
	return changed, nil
}
