package odoo

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Use is what is being done in a tenant's database, what people have made in it by hand, and what its files take, as
// Odoo's tables tell. A nil part does not apply: the database has no such table.
type Use struct {
	Tills   *int64 `json:"tills,omitempty"`   // sessions of the point of sale that are not closed
	Imports *int64 `json:"imports,omitempty"` // files that somebody has been importing within ImportsWithin
	Jobs    *int64 `json:"jobs,omitempty"`    // of OCA's queue_job, that run or are about to

	Fields int64 `json:"fields"` // made by hand (ir_model_fields, state "manual")
	Models int64 `json:"models"` // likewise
	Views  int64 `json:"views"`  // without an external identifier: no module has brought them

	Files     int64 `json:"files"`      // that attachments name in the filestore
	FileBytes int64 `json:"file_bytes"` // of these, each counted once
}

// Customised says in words what people have made by hand; empty: nothing.
func (u Use) Customised() string {
	text := ""
	for _, part := range []struct {
		n         int64
		one, many string
	}{{u.Fields, "field", "fields"}, {u.Models, "model", "models"}, {u.Views, "view", "views"}} {
		word := part.many
		if part.n == 1 {
			word = part.one
		}
		if part.n > 0 && text != "" {
			text += ", "
		}
		if part.n > 0 {
			text += fmt.Sprintf("%d %s", part.n, word)
		}
	}
	if text != "" {
		text += " made by hand"
	}
	return text
}

// ImportsWithin is how young an import is that still counts as being under way: base_import.import is a wizard's
// record, which Odoo keeps for hours after its end, so more than "a moment ago" cannot be told.
const ImportsWithin = "1 hour"

// ReadUse reads a tenant's database in one read-only transaction. It asks Odoo's tables, and none that this database
// has not.
func ReadUse(ctx context.Context, db *pgx.Conn) (Use, error) {
	var u Use
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		for _, part := range []struct {
			table, sql string
			into       **int64
		}{
			{"pos_session", "SELECT count(*) FROM pos_session WHERE state <> 'closed'", &u.Tills},
			{"base_import_import", "SELECT count(*) FROM base_import_import WHERE coalesce(write_date, create_date) > (now() AT TIME ZONE 'utc') - interval '" + ImportsWithin + "'", &u.Imports},
			{"queue_job", "SELECT count(*) FROM queue_job WHERE state IN ('enqueued', 'started')", &u.Jobs},
		} {
			var there bool
			if err := tx.QueryRow(ctx, "SELECT to_regclass('public.' || $1) IS NOT NULL", part.table).Scan(&there); err != nil {
				return err
			}
			if !there {
				continue
			}
			*part.into = new(int64)
			if err := tx.QueryRow(ctx, part.sql).Scan(*part.into); err != nil {
				return fmt.Errorf("%s: %w", part.table, err)
			}
		}
		return tx.QueryRow(ctx, `SELECT
			(SELECT count(*) FROM ir_model_fields WHERE state = 'manual'),
			(SELECT count(*) FROM ir_model WHERE state = 'manual'),
			(SELECT count(*) FROM ir_ui_view v WHERE NOT EXISTS (SELECT FROM ir_model_data d WHERE d.model = 'ir.ui.view' AND d.res_id = v.id)),
			(SELECT count(*) FROM (SELECT DISTINCT store_fname FROM ir_attachment WHERE store_fname IS NOT NULL) f),
			(SELECT coalesce(sum(bytes), 0)::bigint FROM (SELECT max(file_size)::bigint AS bytes FROM ir_attachment WHERE store_fname IS NOT NULL GROUP BY store_fname) f)`).
			Scan(&u.Fields, &u.Models, &u.Views, &u.Files, &u.FileBytes)
	})
	if err != nil {
		return u, fmt.Errorf("reading what is being done in database %q: %w", db.Config().Database, err)
	}
	return u, nil
}
