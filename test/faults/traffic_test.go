//go:build odoo

package faults

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/waybill-dev/waybill/examples/acme/client"
	"github.com/waybill-dev/waybill/examples/acme/stage"
)

const people = 4

// shop is what people work with.
type shop struct {
	*stage.Stage
	carriers  []int
	delivery  map[string]any // how a delivery is made
	confirmed atomic.Int64
	validated atomic.Int64
	failed    atomic.Int64
}

// furnish makes two carriers, gives some customers a gate, has mails sent every minute, and fills a table that one fault reads.
func (s *shop) furnish(ctx context.Context, p *client.Person) error {
	var parcel []int
	if err := p.Call(ctx, "product.product", "create", []any{[]any{map[string]any{"name": "Parcel", "type": "service"}}}, nil, &parcel); err != nil {
		return err
	}
	var carriers []any
	for _, name := range []string{"North Parcel", "South Parcel"} {
		carriers = append(carriers, map[string]any{"name": name, "delivery_type": "fixed", "product_id": parcel[0]})
	}
	if err := p.Call(ctx, "delivery.carrier", "create", []any{carriers}, nil, &s.carriers); err != nil {
		return err
	}
	var gated []any // customers who have a gate
	for i, id := range s.Initial.Goods.Customers {
		if i%4 > 1 {
			gated = append(gated, id)
		}
	}
	if err := p.Call(ctx, "res.partner", "write", []any{gated, map[string]any{"street2": "Gate 3"}}, nil, nil); err != nil {
		return err
	}
	url, err := s.DatabaseURL(stage.TenantsServer, stage.Database)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `UPDATE ir_cron SET interval_number = 1, interval_type = 'minutes', nextcall = now() AT TIME ZONE 'UTC', active = true
		WHERE ir_actions_server_id IN (SELECT id FROM ir_act_server WHERE code LIKE '%process_email_queue%');
		CREATE TABLE acme_rate AS SELECT 'C' || lpad(n::text, 6, '0') AS code, n::float8 AS rate FROM generate_series(1, 600000) n;
		GRANT SELECT ON acme_rate TO public`); err != nil {
		return err
	}
	var types []struct {
		ID   int   `json:"id"`
		From []any `json:"default_location_src_id"`
		To   []any `json:"default_location_dest_id"`
	}
	if err := p.Call(ctx, "stock.picking.type", "search_read", nil, map[string]any{"domain": []any{[]any{"code", "=", "outgoing"}},
		"fields": []string{"default_location_src_id", "default_location_dest_id"}, "limit": 1}, &types); err != nil {
		return err
	}
	if len(types) != 1 || len(s.carriers) != 2 || len(types[0].From) == 0 || len(types[0].To) == 0 {
		return fmt.Errorf("%d kinds of deliveries and %d carriers", len(types), len(s.carriers))
	}
	s.delivery = map[string]any{"picking_type_id": types[0].ID, "location_id": types[0].From[0], "location_dest_id": types[0].To[0]}
	return nil
}

// work lets people work until the test ends or stop is called.
func (s *shop) work(t *testing.T, traffic string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(stop)
	for n := range people {
		p, err := s.Site.Person("admin", "admin", n*100/people, client.NewTally())
		require.NoError(t, err)
		require.NoError(t, p.Login(ctx))
		group.Go(func() {
			defer p.Close()
			for round := 0; ctx.Err() == nil; round++ {
				var err error
				if traffic == "orders" || traffic == "all" && (round+n)%2 == 0 {
					err = s.orders(ctx, p, n)
				} else {
					err = s.deliveries(ctx, p, n)
				}
				if err != nil && ctx.Err() == nil {
					s.failed.Add(1)
				}
			}
		})
	}
	return stop
}

const batch = 10

// orders are placed all at once and confirmed one by one.
func (s *shop) orders(ctx context.Context, p *client.Person, n int) error {
	var records []any
	for i := range batch {
		records = append(records, map[string]any{"partner_id": s.Initial.Goods.Customers[(n+i)%len(s.Initial.Goods.Customers)],
			"order_line": []any{[]any{0, 0, map[string]any{"product_id": s.Initial.Goods.Products[(n+i)%len(s.Initial.Goods.Products)], "product_uom_qty": 1}}}})
	}
	var ids []int
	if err := p.Call(ctx, "sale.order", "create", []any{records}, nil, &ids); err != nil {
		return err
	}
	for _, id := range ids {
		if err := p.Confirm(ctx, id); err != nil {
			return err
		}
		s.confirmed.Add(1)
	}
	return nil
}

// deliveries are made all at once, by both carriers in turn, and validated one by one. One that cannot
// be validated is left alone.
func (s *shop) deliveries(ctx context.Context, p *client.Person, n int) error {
	var records []any
	for i := range batch {
		values := map[string]any{"partner_id": s.Initial.Goods.Customers[(n+i)%len(s.Initial.Goods.Customers)], "carrier_id": s.carriers[i%2],
			"move_ids": []any{[]any{0, 0, map[string]any{"product_id": s.Initial.Goods.Products[(n+i)%len(s.Initial.Goods.Products)], "product_uom_qty": 1,
				"location_id": s.delivery["location_id"], "location_dest_id": s.delivery["location_dest_id"]}}}}
		for key, value := range s.delivery {
			values[key] = value
		}
		records = append(records, values)
	}
	var ids []int
	if err := p.Call(ctx, "stock.picking", "create", []any{records}, nil, &ids); err != nil {
		return err
	}
	for _, method := range []string{"action_confirm", "action_assign"} {
		if err := p.Call(ctx, "stock.picking", method, []any{ids}, nil, nil); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := p.Call(ctx, "stock.picking", "button_validate", []any{[]int{id}}, map[string]any{"context": map[string]any{"skip_sms": true}}, nil); err != nil {
			if ctx.Err() != nil {
				return err
			}
			s.failed.Add(1)
			continue
		}
		s.validated.Add(1)
	}
	return nil
}
