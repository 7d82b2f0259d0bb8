package odoo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/internal/bridge"
)

// ErrNoOdoo is returned for a database in which no Odoo was ever initialised.
var ErrNoOdoo = errors.New("there is no Odoo in this database")

// States of a module in ir_module_module.
const (
	StateInstalled = "installed"
	StateToUpgrade = "to upgrade"
	StateToInstall = "to install"
	StateToRemove  = "to remove"
)

// InstalledModule is a row of ir_module_module, of whatever state but "uninstalled" and "uninstallable".
type InstalledModule struct {
	Name    string
	Version string // latest_version: what the database was last updated to
	State   string
}

// Facts is what a tenant's database says about itself.
type Facts struct {
	Modules          []InstalledModule // sorted by name
	Checksums        map[string]string // stored by the last update; empty: none were stored
	Exclude          []string          // module_auto_update.exclude_patterns; nil: not set
	Languages        []string          // codes of the active languages, sorted
	Marker           *bridge.Marker    // of the last update by Waybill; nil: there was none
	PartiallyUpdated bool              // Odoo 19 and later: an update was interrupted, and would be resumed
}

// Rule is the rule by which click-odoo-update computes checksums for this database.
func (f Facts) Rule() ChecksumRule {
	return ChecksumRule{Exclude: f.Exclude, Languages: f.Languages}
}

// Versions returns the stored version of each module in state "installed".
func (f Facts) Versions() map[string]string {
	versions := map[string]string{}
	for _, m := range f.Modules {
		if m.State == StateInstalled {
			versions[m.Name] = m.Version
		}
	}
	return versions
}

// HasOdoo says whether an Odoo was initialised in the database, and nothing about its health.
func HasOdoo(ctx context.Context, db *pgx.Conn) (bool, error) {
	var there bool
	err := db.QueryRow(ctx, `SELECT to_regclass('public.ir_module_module') IS NOT NULL AND to_regclass('public.ir_config_parameter') IS NOT NULL`).Scan(&there)
	if err != nil {
		return false, fmt.Errorf("looking for Odoo in database %q: %w", db.Config().Database, err)
	}
	if !there {
		return false, nil
	}
	if err := db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM ir_module_module WHERE name = 'base' AND state IN ('installed', 'to upgrade'))`).Scan(&there); err != nil {
		return false, fmt.Errorf("looking for Odoo in database %q: %w", db.Config().Database, err)
	}
	return there, nil
}

// ReadFacts reads a tenant's database in one read-only snapshot. It returns ErrNoOdoo, wrapped,
// where there is none.
func ReadFacts(ctx context.Context, db *pgx.Conn) (Facts, error) {
	there, err := HasOdoo(ctx, db)
	if err != nil {
		return Facts{}, err
	}
	name := db.Config().Database
	if !there {
		return Facts{}, fmt.Errorf("database %q: %w", name, ErrNoOdoo)
	}
	var facts Facts
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		facts, err = readFacts(ctx, tx)
		return err
	})
	if err != nil {
		return Facts{}, fmt.Errorf("reading what database %q says of its modules: %w", name, err)
	}
	return facts, nil
}

func readFacts(ctx context.Context, tx pgx.Tx) (Facts, error) {
	facts := Facts{Checksums: map[string]string{}}
	rows, err := tx.Query(ctx, `SELECT name, coalesce(latest_version, ''), state FROM ir_module_module
		WHERE state NOT IN ('uninstalled', 'uninstallable') ORDER BY name COLLATE "C"`)
	if err != nil {
		return Facts{}, err
	}
	facts.Modules, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m InstalledModule, err error) {
		return m, row.Scan(&m.Name, &m.Version, &m.State)
	})
	if err != nil {
		return Facts{}, err
	}

	var partially string
	var checksums, exclude, marker *string
	err = tx.QueryRow(ctx, `SELECT
		(SELECT value FROM ir_config_parameter WHERE key = $1),
		(SELECT value FROM ir_config_parameter WHERE key = $2),
		(SELECT value FROM ir_config_parameter WHERE key = $3),
		coalesce((SELECT value FROM ir_config_parameter WHERE key = 'base.partially_updated_database'), '')`,
		ChecksumsParameter, ExcludeParameter, bridge.MarkerParameter).Scan(&checksums, &exclude, &marker, &partially)
	if err != nil {
		return Facts{}, err
	}
	facts.PartiallyUpdated = partially != "" && partially != "False"
	if checksums != nil && *checksums != "" {
		// A module whose folder was not found has false in place of a checksum.
		var stored map[string]any
		if err := json.Unmarshal([]byte(*checksums), &stored); err != nil {
			return Facts{}, fmt.Errorf("parameter %s holds no JSON object (%w); delete it, and the next promotion updates every module", ChecksumsParameter, err)
		}
		for module, sum := range stored {
			if s, ok := sum.(string); ok {
				facts.Checksums[module] = s
			}
		}
	}
	if exclude != nil {
		facts.Exclude = []string{}
		for _, pattern := range strings.Split(*exclude, ",") {
			facts.Exclude = append(facts.Exclude, strings.TrimSpace(pattern))
		}
	}
	if marker != nil {
		facts.Marker = new(bridge.Marker)
		if err := json.Unmarshal([]byte(*marker), facts.Marker); err != nil {
			return Facts{}, fmt.Errorf("parameter %s is not as Waybill writes it: %w", bridge.MarkerParameter, err)
		}
	}

	rows, err = tx.Query(ctx, `SELECT code FROM res_lang WHERE active ORDER BY code COLLATE "C"`)
	if err != nil {
		return Facts{}, err
	}
	facts.Languages, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return facts, err
}

// Neutralised says whether Odoo's own neutralisation has run in the database: it sets this parameter in the transaction that
// switches crons and mail servers off (odoo/addons/base/data/neutralize.sql).
func Neutralised(ctx context.Context, db *pgx.Conn) (bool, error) {
	var done bool
	err := db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ir_config_parameter WHERE key = 'database.is_neutralized' AND lower(value) IN ('true', 't', '1'))").Scan(&done)
	if err != nil {
		return false, fmt.Errorf("look whether database %q is neutralised: %w", db.Config().Database, err)
	}
	return done, nil
}
