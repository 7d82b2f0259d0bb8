//go:build odoo

package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// builtIn are the flows that come with the bridge, in their order.
var builtIn = []string{
	"count", "barcode", "transfer", "receive", "ship", "return", "batch", "carrier", "invoice", "pos", "receive_steps", "ship_steps",
}

// brief are those that run in an update.
var brief = builtIn[:6]

const fullTemplate = "wbt_full"

var full struct {
	sync.Once
	err error
}

// fullDatabase is a copy of the template with everything installed that a flow is for, and books.
func (b *bundle) fullDatabase(t *testing.T) string {
	t.Helper()
	full.Do(func() { full.err = b.startFull() })
	require.NoError(t, full.err)
	return b.copyOf(t, fullTemplate)
}

func (b *bundle) startFull() error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cache, err := b.cacheFile()
	if err != nil {
		return err
	}
	cache = strings.TrimSuffix(cache, ".dump") + "-full.dump"
	if _, err := os.Stat(cache); err == nil {
		if err := b.exec(ctx, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER odoo TEMPLATE template0", fullTemplate)); err != nil {
			return err
		}
		return b.restore(ctx, fullTemplate, cache)
	}
	if err := b.exec(ctx, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER odoo TEMPLATE %s", fullTemplate, template)); err != nil {
		return err
	}
	job := b.job(fullTemplate)
	job.Promotion, job.SkipFlows = "full template", true
	job.Install = []string{"point_of_sale", "stock_picking_batch", "stock_delivery", "account"}
	if result, code, log := b.run(ctx, "v1", job); code != ExitCommitted {
		return fmt.Errorf("the full template was not made: exit %d, %s\n%s", code, result.Error, tail(log))
	}
	return b.keep(ctx, fullTemplate, cache)
}

// TestFlows: all flows pass on a bare database, and leave nothing, in the database or in the filestore.
func TestFlows(t *testing.T) {
	b := setup(t)
	db := b.fullDatabase(t)
	addons := b.addonsWith(t, map[string]string{
		"wbt_one/carriers.py": carriers,
		"wbt_one/__init__.py": "from . import carriers, models\n",
		"wbt_one/__manifest__.py": `{"name": "Waybill test one", "version": "19.0.1.0.0", "license": "LGPL-3",
			"depends": ["sale_stock", "purchase_stock", "stock_delivery"], "data": ["views/order.xml"]}`,
	})
	p := b.pool(t, addons, "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	require.True(t, p.ready(t, db).Ready)
	files := b.filestore(t, db)
	before := b.digest(t, db)
	ran := p.flowList(t, FlowsRequest{Database: db})
	require.Equal(t, builtIn, flowNames(ran))
	for _, flow := range ran {
		assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s\n%s", flow.Name, flow.Error, flow.Trace)
		assert.NotEmpty(t, flow.Stages, flow.Name)
		t.Logf("%-14s %.3f s", flow.Name, flow.Seconds)
	}
	assert.Equal(t, before, b.digest(t, db), "flows left something")
	assert.Equal(t, files, b.filestore(t, db), "flows left files")

	var turns []string
	for round := 1; round <= 2; round++ {
		names := flowNames(p.flowList(t, FlowsRequest{Database: db, Round: round}))
		assert.Equal(t, []string{"count", "barcode", "transfer", "receive", "ship", "return"}, names[:6])
		turns = append(turns, names[6:]...)
	}
	assert.Equal(t, []string{"carrier", "invoice"}, turns, "of those that cost more, one each time")

	session := p.login(t, "a.example", db)
	t.Run("settings of a tenant", func(t *testing.T) {
		settings(t, p, session)
		before := b.digest(t, db)
		for _, flow := range p.flowList(t, FlowsRequest{Database: db}) {
			assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s\n%s", flow.Name, flow.Error, flow.Trace)
		}
		assert.Equal(t, before, b.digest(t, db))
	})
	t.Run("while people work", func(t *testing.T) { underTraffic(t, b, p, db, session) })
	t.Run("a carrier that is broken", func(t *testing.T) { brokenCarrier(t, b, p, db, session) })
}

func flowNames(flows []Flow) []string {
	var all []string
	for _, flow := range flows {
		all = append(all, flow.Name)
	}
	return all
}

func (p *pool) flowList(t *testing.T, request FlowsRequest) []Flow {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	answer, err := p.client.Flows(ctx, request)
	require.NoError(t, err)
	return answer
}

// filestore lists the files of a database.
func (b *bundle) filestore(t *testing.T, db string) string {
	t.Helper()
	out, err := exec.Command("find", filepath.Join(b.dir, "data"), "-path", "*/filestore/"+db+"/*", "-type", "f").Output()
	require.NoError(t, err)
	return string(out)
}

// settings makes the tenant one that flows must not stumble over.
func settings(t *testing.T, p *pool, session string) {
	t.Helper()
	const host = "a.example"
	p.call(t, host, session, "res.company", "create", []any{map[string]any{"name": "Second company"}}, nil)
	p.call(t, host, session, "stock.warehouse", "write", []any{[]int{1}, map[string]any{
		"reception_steps": "three_steps", "delivery_steps": "pick_pack_ship",
	}}, nil)
	p.call(t, host, session, "ir.default", "set", []any{"product.template", "tracking", "lot"}, nil)
	p.call(t, host, session, "ir.default", "set", []any{"product.template", "invoice_policy", "delivery"}, nil)
	p.call(t, host, session, "res.company", "write", []any{[]int{1}, map[string]any{
		"po_double_validation": "two_step", "po_double_validation_amount": 0,
		"point_of_sale_update_stock_quantities": "closing",
	}}, nil)
	p.call(t, host, session, "delivery.carrier", "create", []any{map[string]any{
		"name": "Only to Fiji", "product_id": firstID(t, p, session, "product.product"), "country_ids": []any{[]any{6, 0, []int{firstID(t, p, session, "res.country", []any{"code", "=", "FJ"})}}},
	}}, nil)
	p.call(t, host, session, "pos.config", "create", []any{map[string]any{"name": "Till", "payment_method_ids": []any{[]any{5}}}}, nil)
}

func firstID(t *testing.T, p *pool, session, model string, domain ...[]any) int {
	t.Helper()
	wanted := []any{}
	for _, d := range domain {
		wanted = append(wanted, d)
	}
	var ids []int
	require.NoError(t, json.Unmarshal(p.call(t, "a.example", session, model, "search", []any{wanted}, map[string]any{"limit": 1}), &ids))
	require.NotEmpty(t, ids, model)
	return ids[0]
}

// underTraffic: clients sell and ship while flows run in a loop. No acknowledged order is lost, and no
// row of a flow is anywhere.
func underTraffic(t *testing.T, b *bundle, p *pool, db, session string) {
	const host, clients = "a.example", 3
	p.call(t, host, session, "stock.warehouse", "write", []any{[]int{1}, map[string]any{"delivery_steps": "ship_only", "reception_steps": "one_step"}}, nil)
	var product []int
	require.NoError(t, json.Unmarshal(p.call(t, host, session, "product.product", "create", []any{[]any{map[string]any{
		"name": "Sold by people", "type": "consu", "is_storable": true, "tracking": "none"}}}, nil), &product))
	customer := firstID(t, p, session, "res.partner")
	orders := b.text(t, db, "SELECT count(*) FROM sale_order")

	stop := make(chan struct{})
	var work sync.WaitGroup
	sold := make([][]int, clients)
	for i := range clients {
		own := p.login(t, host, db)
		work.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id, err := sellOne(p, host, own, product[0], customer)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				sold[i] = append(sold[i], id)
			}
		})
	}
	passed := 0
	for began, round := time.Now(), 2; round == 2 || time.Since(began) < 12*time.Second; round++ {
		for _, flow := range p.flowList(t, FlowsRequest{Database: db, Round: round}) {
			assert.Equal(t, FlowPassed, flow.Outcome, "%s: %s\n%s", flow.Name, flow.Error, flow.Trace)
			passed++
		}
	}
	close(stop)
	work.Wait()

	count := 0
	for _, ids := range sold {
		count += len(ids)
		for _, id := range ids {
			state := b.text(t, db, "SELECT o.state || ' ' || p.state FROM sale_order o JOIN stock_picking p ON p.sale_id = o.id WHERE o.id = $1", id)
			assert.Equal(t, "sale done", state, "order %d", id)
		}
	}
	t.Logf("%d flows, %d orders meanwhile", passed, count)
	require.Positive(t, count)
	assert.Equal(t, fmt.Sprint(count), b.text(t, db, "SELECT count(*) - $1::int FROM sale_order", orders), "orders that nobody made")
	b.bearsNoMarker(t, db)
}

// bearsNoMarker looks through every row of every table.
func (b *bundle) bearsNoMarker(t *testing.T, db string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(pgBin, "pg_dump"), "-h", filepath.Join(b.dir, "pg"), "-U", "postgres", "--data-only", db).Output()
	require.NoError(t, err)
	for _, mark := range []string{"WAYBILL FLOW", fmt.Sprintf("%x", "WAYBILL FLOW")} { // bytea is dumped in hexadecimal
		at := strings.Index(string(out), mark)
		if at >= 0 {
			t.Errorf("a row bears the marker: …%.200s…", string(out)[max(0, at-100):])
		}
	}
}

// sellOne sells one piece and ships it, as a person's browser would ask for it.
func sellOne(p *pool, host, session string, product, customer int) (int, error) {
	var order int
	steps := []struct {
		model, method string
		args          func() []any
		into          any
	}{
		{"sale.order", "create", func() []any {
			return []any{map[string]any{"partner_id": customer, "order_line": []any{[]any{0, 0, map[string]any{"product_id": product, "product_uom_qty": 1, "price_unit": 1}}}}}
		}, &order},
		{"sale.order", "action_confirm", func() []any { return []any{[]int{order}} }, nil},
	}
	for _, s := range steps {
		if err := p.ask(host, session, s.model, s.method, s.args(), s.into); err != nil {
			return 0, err
		}
	}
	var pickings []int
	if err := p.ask(host, session, "stock.picking", "search", []any{[]any{[]any{"sale_id", "=", order}}}, &pickings); err != nil {
		return 0, err
	}
	var moves []int
	if err := p.ask(host, session, "stock.move", "search", []any{[]any{[]any{"picking_id", "in", pickings}}}, &moves); err != nil {
		return 0, err
	}
	if err := p.ask(host, session, "stock.move", "write", []any{moves, map[string]any{"quantity": 1, "picked": true}}, nil); err != nil {
		return 0, err
	}
	return order, p.ask(host, session, "stock.picking", "button_validate", []any{pickings}, nil)
}

// carriers are what TestFlows adds to the test module: each goes wrong in its own way, and only that one.
const carriers = `import socket

from odoo import models
from odoo.exceptions import UserError


class Carrier(models.Model):
    _inherit = "delivery.carrier"

    def fixed_rate_shipment(self, order):
        if self.name == "Far away":
            return {"success": False, "price": 0.0, "error_message": "too far", "warning_message": False}
        if self.name == "Priceless":
            return {"success": True, "price": 1 / 0, "error_message": False, "warning_message": False}
        return super().fixed_rate_shipment(order)

    def fixed_send_shipping(self, pickings):
        if self.name == "Without label":
            raise UserError("the label could not be made")
        if self.name == "Parcel service":
            self.env["res.partner"].search([], limit=1).comment = "announced"
            socket.create_connection(("parcels.invalid", 443), timeout=5)
        return super().fixed_send_shipping(pickings)
`

// brokenCarrier: one carrier of several is broken, and is named; those that work, that call out or that do
// not take the order are not.
func brokenCarrier(t *testing.T, b *bundle, p *pool, db, session string) {
	item := firstID(t, p, session, "product.product")
	add := func(name string) {
		p.call(t, "a.example", session, "delivery.carrier", "create", []any{map[string]any{
			"name": name, "product_id": item, "delivery_type": "fixed", "fixed_price": 3, "integration_level": "rate_and_ship",
		}}, nil)
	}
	for _, name := range []string{"Good one", "Far away", "Parcel service"} {
		add(name)
	}
	before := b.digest(t, db)
	flow := p.flows(t, db, "carrier")["carrier"]
	assert.Equal(t, FlowPassed, flow.Outcome, "%s\n%s", flow.Error, flow.Trace)
	stages := fmt.Sprint(flow.Stages)
	assert.Contains(t, stages, "carrier Good one")
	assert.Contains(t, stages, "carrier Far away: not for this order")
	assert.Contains(t, stages, "carrier Only to Fiji")
	assert.Equal(t, before, b.digest(t, db))

	add("Without label")
	add("Priceless")
	flow = p.flows(t, db, "carrier")["carrier"]
	assert.Equal(t, FlowFailed, flow.Outcome)
	assert.Contains(t, flow.Error, "carrier Without label: UserError: the label could not be made")
	assert.Contains(t, flow.Error, "carrier Priceless: ZeroDivisionError")
	assert.NotContains(t, flow.Error, "Good one")
	assert.NotContains(t, flow.Error, "Parcel service")
}

// addons returns a copy of v1 with these files in it, as container() wants it named.
func (b *bundle) addonsWith(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := filepath.Join(b.dir, b.name("addons"))
	require.NoError(t, os.CopyFS(folder, os.DirFS(filepath.Join(b.addons, "v1"))))
	for name, content := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	relative, err := filepath.Rel(b.addons, folder)
	require.NoError(t, err)
	return relative
}

// ask calls a model's method in a session, from any goroutine; the result goes into where that is not nil.
func (p *pool) ask(host, session, model, method string, args []any, into any) error {
	body, err := json.Marshal(rpc{"2.0", "call", map[string]any{"model": model, "method": method, "args": args, "kwargs": map[string]any{}}})
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, "http://"+p.addr+"/web/dataset/call_kw/"+model+"/"+method, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Host = host
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Cookie", "session_id="+session)
	response, err := (&http.Client{Timeout: 2 * time.Minute}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct{ Result, Error json.RawMessage }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s.%s: %s: %w", model, method, response.Status, err)
	}
	if len(answer.Error) > 0 {
		return fmt.Errorf("%s.%s: %.2000s", model, method, answer.Error)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer.Result, into)
}
