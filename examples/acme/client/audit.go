package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Audit is the comparison of a ledger with a database. Each list holds references.
type Audit struct {
	Checked int      `json:"checked"`
	Lost    []string `json:"lost"`    // acknowledged, and not there
	Behind  []string `json:"behind"`  // there, and not as far as acknowledged: lost work
	Doubled []string `json:"doubled"` // there more than once
}

// Missing is how many acknowledged orders are not, or not wholly, in the database.
func (a Audit) Missing() int { return len(a.Lost) + len(a.Behind) }

// Err is nil when everything acknowledged is there exactly once.
func (a Audit) Err() error {
	if a.Missing() == 0 && len(a.Doubled) == 0 {
		return nil
	}
	return fmt.Errorf("of %d acknowledged orders %d are lost %v, %d are behind what was acknowledged %v, %d are doubled %v",
		a.Checked, len(a.Lost), some(a.Lost), len(a.Behind), some(a.Behind), len(a.Doubled), some(a.Doubled))
}

// Audit looks for every acknowledged order in the database behind the connection URL. Orders
// that are acknowledged while it runs are not looked for.
func (l *Ledger) Audit(ctx context.Context, databaseURL string) (Audit, error) {
	entries := l.Entries() // before the database: what is acknowledged by now must be there
	connection, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) {
			return Audit{}, errors.New("auditing the orders: the database's URL cannot be read") // it may hold a password
		}
		return Audit{}, fmt.Errorf("auditing the orders: %w", err)
	}
	defer connection.Close(context.WithoutCancel(ctx))

	references := make([]string, len(entries))
	for i, e := range entries {
		references[i] = e.Reference
	}
	rows, err := connection.Query(ctx, `
		SELECT o.client_order_ref, count(*), min(o.id),
		       bool_and(o.state IN ('sale', 'done')),
		       bool_and(coalesce(m.shipped, false))
		  FROM sale_order o
		  LEFT JOIN LATERAL (
		       SELECT bool_and(p.state IN ('done', 'cancel')) AND bool_or(p.state = 'done')
		              AND NOT EXISTS (SELECT FROM sale_order_line l
		                               WHERE l.order_id = o.id AND l.qty_delivered <> l.product_uom_qty) AS shipped
		         FROM stock_picking p
		        WHERE p.sale_id = o.id) m ON true
		 WHERE o.client_order_ref = ANY($1)
		 GROUP BY o.client_order_ref`, references)
	if err != nil {
		return Audit{}, fmt.Errorf("auditing the orders: %w", err)
	}
	type found struct {
		times, id       int
		sold, delivered bool
	}
	present := map[string]found{}
	var reference string
	var row found
	_, err = pgx.ForEachRow(rows, []any{&reference, &row.times, &row.id, &row.sold, &row.delivered}, func() error {
		present[reference] = row
		return nil
	})
	if err != nil {
		return Audit{}, fmt.Errorf("auditing the orders: %w", err)
	}

	audit := Audit{Checked: len(entries)}
	for _, e := range entries {
		row, ok := present[e.Reference]
		switch {
		case !ok:
			audit.Lost = append(audit.Lost, e.Reference)
		case row.times > 1:
			audit.Doubled = append(audit.Doubled, e.Reference)
		case row.id != e.ID:
			audit.Lost = append(audit.Lost, e.Reference) // another order under its name
		case e.State != Placed && !row.sold, e.State == Shipped && !row.delivered:
			audit.Behind = append(audit.Behind, e.Reference)
		}
	}
	slices.Sort(audit.Lost)
	slices.Sort(audit.Behind)
	slices.Sort(audit.Doubled)
	return audit, nil
}

func some(list []string) []string { return list[:min(len(list), 5)] }
