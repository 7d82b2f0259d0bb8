package client

import (
	"context"
	"fmt"
)

// Seed says what a fresh database of Acme is filled with.
type Seed struct {
	Admin         string // login of the administrator; default "admin"
	AdminPassword string // default "admin", as Odoo sets it
	Clerk         string // login of the clerk who is made; default "clerk"
	ClerkPassword string
	Products      int     // default 20
	Customers     int     // default 10
	Stock         float64 // of each product; default 100000
	// OddOrder adds the order that only production has: a customer once wrote "DOCK?".
	OddOrder bool
}

// Goods are the ids of what a crew orders, and for whom.
type Goods struct {
	Products  []int `json:"products"`
	Customers []int `json:"customers"`
}

// OddReference is the customer's reference of the odd order.
const OddReference = "DOCK? ask the driver"

// Fill makes what the seed says, through the ORM and over HTTP, as an administrator would. It is
// meant for a fresh database; done twice, it finds what is there and adds only what is missing.
func (s Seed) Fill(ctx context.Context, site Site) (Goods, error) {
	s = s.withDefaults()
	admin, err := site.Person(s.Admin, s.AdminPassword, -1, nil)
	if err != nil {
		return Goods{}, err
	}
	defer admin.Close()
	if err := admin.Login(ctx); err != nil {
		return Goods{}, err
	}
	var goods Goods
	for _, step := range []func(context.Context, *Person, *Goods) error{s.clerk, s.products, s.customers, s.history} {
		if err := step(ctx, admin, &goods); err != nil {
			return Goods{}, fmt.Errorf("seeding %s: %w", site.Host, err)
		}
	}
	return goods, nil
}

func (s Seed) withDefaults() Seed {
	if s.Admin == "" {
		s.Admin = "admin"
	}
	if s.AdminPassword == "" {
		s.AdminPassword = "admin"
	}
	if s.Clerk == "" {
		s.Clerk = "clerk"
	}
	if s.Products == 0 {
		s.Products = 20
	}
	if s.Customers == 0 {
		s.Customers = 10
	}
	if s.Stock == 0 {
		s.Stock = 100_000
	}
	return s
}

// find returns the ids of the records of a model that a domain describes, by id.
func (p *Person) find(ctx context.Context, model string, domain ...any) ([]int, error) {
	var ids []int
	err := p.Call(ctx, model, "search", []any{domain}, map[string]any{"order": "id"}, &ids)
	return ids, err
}

// make creates records and returns their ids.
func (p *Person) make(ctx context.Context, model string, records []map[string]any) ([]int, error) {
	var ids []int
	err := p.Call(ctx, model, "create", []any{records}, nil, &ids)
	return ids, err
}

func (s Seed) clerk(ctx context.Context, admin *Person, _ *Goods) error {
	there, err := admin.find(ctx, "res.users", []any{"login", "=", s.Clerk})
	if err != nil {
		return err
	}
	var groups []int
	for _, group := range [][2]string{
		{"base", "group_user"}, {"sales_team", "group_sale_salesman_all_leads"}, {"stock", "group_stock_user"},
	} {
		var record []struct {
			ID int `json:"res_id"`
		}
		err := admin.Call(ctx, "ir.model.data", "search_read", nil, map[string]any{
			"domain": []any{[]any{"module", "=", group[0]}, []any{"name", "=", group[1]}},
			"fields": []string{"res_id"},
		}, &record)
		if err != nil {
			return err
		}
		if len(record) != 1 {
			return fmt.Errorf("the group %s.%s does not exist: are sale_stock and acme_dock installed?", group[0], group[1])
		}
		groups = append(groups, record[0].ID)
	}
	values := map[string]any{
		"name": "Warehouse clerk", "login": s.Clerk, "password": s.ClerkPassword,
		"group_ids": []any{[]any{6, 0, groups}},
	}
	if len(there) > 0 {
		return admin.Call(ctx, "res.users", "write", []any{there, values}, nil, nil)
	}
	_, err = admin.make(ctx, "res.users", []map[string]any{values})
	return err
}

func (s Seed) products(ctx context.Context, admin *Person, goods *Goods) error {
	there, err := admin.find(ctx, "product.product", []any{"default_code", "=like", "ACME-%"})
	if err != nil {
		return err
	}
	var records []map[string]any
	for i := len(there); i < s.Products; i++ {
		records = append(records, map[string]any{
			"name": fmt.Sprintf("Pallet of goods %d", i+1), "default_code": fmt.Sprintf("ACME-%03d", i+1),
			"type": "consu", "is_storable": true, "list_price": 10 + i,
		})
	}
	if len(records) > 0 {
		made, err := admin.make(ctx, "product.product", records)
		if err != nil {
			return err
		}
		if err := s.stock(ctx, admin, made); err != nil {
			return err
		}
		there = append(there, made...)
	}
	goods.Products = there
	return nil
}

// stock counts the products into the first warehouse, by an inventory adjustment.
func (s Seed) stock(ctx context.Context, admin *Person, products []int) error {
	var warehouses []struct {
		Location []any `json:"lot_stock_id"` // id, name
	}
	err := admin.Call(ctx, "stock.warehouse", "search_read", nil,
		map[string]any{"fields": []string{"lot_stock_id"}, "limit": 1, "order": "id"}, &warehouses)
	if err != nil {
		return err
	}
	if len(warehouses) == 0 || len(warehouses[0].Location) == 0 {
		return fmt.Errorf("there is no warehouse")
	}
	var records []map[string]any
	for _, product := range products {
		records = append(records, map[string]any{
			"product_id": product, "location_id": warehouses[0].Location[0], "inventory_quantity": s.Stock,
		})
	}
	var quants []int
	inventory := map[string]any{"context": map[string]any{"inventory_mode": true}}
	if err := admin.Call(ctx, "stock.quant", "create", []any{records}, inventory, &quants); err != nil {
		return err
	}
	return admin.Call(ctx, "stock.quant", "action_apply_inventory", []any{quants}, inventory, nil)
}

func (s Seed) customers(ctx context.Context, admin *Person, goods *Goods) error {
	there, err := admin.find(ctx, "res.partner", []any{"ref", "=like", "ACME-%"})
	if err != nil {
		return err
	}
	var records []map[string]any
	for i := len(there); i < s.Customers; i++ {
		records = append(records, map[string]any{
			"name": fmt.Sprintf("Customer %d", i+1), "ref": fmt.Sprintf("ACME-%03d", i+1), "city": "Rotterdam",
		})
	}
	if len(records) > 0 {
		made, err := admin.make(ctx, "res.partner", records)
		if err != nil {
			return err
		}
		there = append(there, made...)
	}
	goods.Customers = there
	return nil
}

// history is what was ordered before the story begins: confirmed orders that wait at their docks.
func (s Seed) history(ctx context.Context, admin *Person, goods *Goods) error {
	references := []string{"DOCK1 before noon", "DOCK2", "DOCK3 oversize"}
	if s.OddOrder {
		references = append(references, OddReference)
	}
	for i, reference := range references {
		there, err := admin.find(ctx, "sale.order", []any{"client_order_ref", "=", reference})
		if err != nil {
			return err
		}
		if len(there) > 0 {
			continue
		}
		id, err := admin.Place(ctx, Order{
			Reference: reference,
			Customer:  goods.Customers[i%len(goods.Customers)],
			Lines:     []Line{{Product: goods.Products[i%len(goods.Products)], Quantity: 2}},
		})
		if err != nil {
			return err
		}
		if err := admin.Confirm(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
