package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// State is how far an order has come, as Odoo acknowledged it.
type State string

// The states of an order, in their order.
const (
	Placed    State = "placed"    // it has an id
	Confirmed State = "confirmed" // it is a sale
	Shipped   State = "shipped"   // its delivery is done
)

// Line is what is ordered.
type Line struct {
	Product  int // id of a product.product
	Quantity int
}

// Order is what a customer wants.
type Order struct {
	Reference string // the customer's own; unique
	Customer  int    // id of a res.partner
	Lines     []Line
}

// Place creates the order and returns its id.
func (p *Person) Place(ctx context.Context, order Order) (int, error) {
	lines := make([]any, 0, len(order.Lines))
	for _, l := range order.Lines {
		lines = append(lines, []any{0, 0, map[string]any{"product_id": l.Product, "product_uom_qty": l.Quantity}})
	}
	var id int
	err := p.Call(ctx, "sale.order", "create", []any{map[string]any{
		"partner_id": order.Customer, "client_order_ref": order.Reference, "order_line": lines,
	}}, nil, &id)
	if err != nil {
		return 0, fmt.Errorf("placing order %s: %w", order.Reference, err)
	}
	return id, nil
}

// Confirm makes the order a sale.
func (p *Person) Confirm(ctx context.Context, id int) error {
	if err := p.Call(ctx, "sale.order", "action_confirm", []any{[]int{id}}, nil, nil); err != nil {
		return fmt.Errorf("confirming order %d: %w", id, err)
	}
	return nil
}

// Deliveries returns the ids of the order's deliveries.
func (p *Person) Deliveries(ctx context.Context, id int) ([]int, error) {
	var orders []struct {
		Pickings []int `json:"picking_ids"`
	}
	if err := p.Call(ctx, "sale.order", "read", []any{[]int{id}, []string{"picking_ids"}}, nil, &orders); err != nil {
		return nil, fmt.Errorf("reading the deliveries of order %d: %w", id, err)
	}
	if len(orders) != 1 || len(orders[0].Pickings) == 0 {
		return nil, fmt.Errorf("order %d has no delivery, though it is confirmed", id)
	}
	return orders[0].Pickings, nil
}

// Ship reserves, picks and validates the order's deliveries, and returns once Odoo says that
// they are done.
func (p *Person) Ship(ctx context.Context, id int) error {
	pickings, err := p.Deliveries(ctx, id)
	if err != nil {
		return err
	}
	if err := p.Call(ctx, "stock.picking", "action_assign", []any{pickings}, nil, nil); err != nil {
		return fmt.Errorf("reserving for order %d: %w", id, err)
	}
	var moves []struct {
		ID     int     `json:"id"`
		Demand float64 `json:"product_uom_qty"`
	}
	err = p.Call(ctx, "stock.move", "search_read", nil, map[string]any{
		"domain": []any{[]any{"picking_id", "in", pickings}, []any{"state", "not in", []string{"done", "cancel"}}},
		"fields": []string{"product_uom_qty"},
	}, &moves)
	if err != nil {
		return fmt.Errorf("reading what order %d needs: %w", id, err)
	}
	for _, m := range moves {
		values := map[string]any{"quantity": m.Demand, "picked": true}
		if err := p.Call(ctx, "stock.move", "write", []any{[]int{m.ID}, values}, nil, nil); err != nil {
			return fmt.Errorf("picking for order %d: %w", id, err)
		}
	}
	if err := p.validate(ctx, pickings); err != nil {
		return fmt.Errorf("validating the delivery of order %d: %w", id, err)
	}
	return nil
}

// buttons are what a clerk presses in the dialogs that may follow "Validate".
var buttons = map[string]string{
	"stock.backorder.confirmation": "process",
	"confirm.stock.sms":            "dont_send_sms",
	"expiry.picking.confirmation":  "process",
}

// validate presses "Validate" and answers the dialogs that follow, until the pickings are done.
func (p *Person) validate(ctx context.Context, pickings []int) error {
	var answer json.RawMessage
	if err := p.Call(ctx, "stock.picking", "button_validate", []any{pickings}, nil, &answer); err != nil {
		return err
	}
	for dialogs := 0; ; dialogs++ {
		var action struct {
			Type    string         `json:"type"`
			Model   string         `json:"res_model"`
			Context map[string]any `json:"context"`
		}
		if json.Unmarshal(answer, &action) != nil || action.Type != "ir.actions.act_window" || buttons[action.Model] == "" {
			break // true, or something to print
		}
		if dialogs == 5 {
			return fmt.Errorf("the dialog %s comes again and again", action.Model)
		}
		var wizard int
		with := map[string]any{"context": action.Context}
		if err := p.Call(ctx, action.Model, "create", []any{map[string]any{}}, with, &wizard); err != nil {
			return err
		}
		if err := p.Call(ctx, action.Model, buttons[action.Model], []any{[]int{wizard}}, with, &answer); err != nil {
			return err
		}
	}
	var states []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	}
	if err := p.Call(ctx, "stock.picking", "read", []any{pickings, []string{"name", "state"}}, nil, &states); err != nil {
		return err
	}
	var open []error
	for _, s := range states {
		if s.State != "done" {
			open = append(open, fmt.Errorf("%s is still %q", s.Name, s.State))
		}
	}
	return errors.Join(open...)
}
