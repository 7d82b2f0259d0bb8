package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schema is everything that a database's tables are made of: definition by kind and name.
type schema map[[2]string]string

// schemaQuery leaves out what belongs to extensions and to the trace itself.
const schemaQuery = `
WITH rel AS (
	SELECT c.oid, c.relkind, (CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END) || c.relname AS name
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'waybill_trace') AND c.relkind IN ('r', 'p', 'v', 'm')
	   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT CASE relkind WHEN 'v' THEN 'database view' WHEN 'm' THEN 'materialized view' ELSE 'table' END, name,
       CASE WHEN relkind IN ('v', 'm') THEN md5(pg_get_viewdef(oid)) ELSE 'table' END FROM rel
UNION ALL
SELECT 'column', rel.name || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'index', rel.name || ': ' || i.relname, pg_get_indexdef(x.indexrelid) || CASE WHEN x.indisvalid THEN '' ELSE ' (invalid)' END
  FROM rel JOIN pg_index x ON x.indrelid = rel.oid JOIN pg_class i ON i.oid = x.indexrelid
 WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'constraint', rel.name || ': ' || k.conname, pg_get_constraintdef(k.oid)
  FROM rel JOIN pg_constraint k ON k.conrelid = rel.oid WHERE k.contype <> 'n'`

func readSchema(ctx context.Context, conn *pgx.Conn) (schema, error) {
	rows, err := conn.Query(ctx, schemaQuery)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", conn.Config().Database, err)
	}
	found := schema{}
	var kind, name, definition string
	_, err = pgx.ForEachRow(rows, []any{&kind, &name, &definition}, func() error {
		found[[2]string{kind, name}] = definition
		return nil
	})
	return found, err
}

// compareSchemas lists what differs. What goes or comes with its whole table is told by the table alone.
func compareSchemas(before, after schema) []Change {
	changes := differences(before, after)
	whole := map[string]bool{}
	for _, c := range changes {
		if c.Kind == "table" {
			whole[c.Name] = true
		}
	}
	changes = slices.DeleteFunc(changes, func(c Change) bool {
		table, _, _ := strings.Cut(c.Name, ": ")
		if c.Kind == "column" {
			table = c.Name[:strings.LastIndexByte(c.Name, '.')]
		}
		return c.Kind != "table" && whole[table]
	})
	return changes
}

func differences(before, after map[[2]string]string) []Change {
	changes := []Change{}
	for key, was := range before {
		if is, ok := after[key]; !ok {
			changes = append(changes, Change{Kind: key[0], Name: key[1], Before: was})
		} else if is != was {
			changes = append(changes, Change{Kind: key[0], Name: key[1], Before: was, After: is})
		}
	}
	for key, is := range after {
		if _, ok := before[key]; !ok {
			changes = append(changes, Change{Kind: key[0], Name: key[1], After: is})
		}
	}
	order := []string{"table", "column", "constraint", "index"}
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), strings.Compare(a.Name, b.Name))
	})
	return changes
}
