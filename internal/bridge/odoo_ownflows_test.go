//go:build odoo

package bridge

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A flow of an addon, and how it must end. Whatever it does, the database is as before.
var ownFlows = []struct {
	name, source string
	outcome      FlowOutcome
	says         string
}{
	{"good", `
"""Sell one piece of an own product."""
from ..models import SaleOrder  # as everywhere in an addon

REQUIRES = ("sale_stock",)


def run(run):
    run.stage("setup")
    customer = run.env["res.partner"].create({"name": run.marker})
    item = run.env["product.product"].create({"name": run.marker, "type": "consu"})
    run.stage("sell")
    order = run.env["sale.order"].create(
        {"partner_id": customer.id, "order_line": [(0, 0, {"product_id": item.id, "product_uom_qty": 1})]}
    )
    order.action_confirm()
    run.expect(order.state == "sale", "the order is %s", order.state)
`, FlowPassed, ""},
	{"raises", write + `    raise ValueError("no such shelf")`, FlowFailed, "ValueError: no such shelf"},
	{"expects", write + `    run.expect(1 > 2, "%s pieces should be there", 3)`, FlowFailed, "3 pieces should be there"},
	{"rubbish", write + `    return {"outcome": "passed"}`, FlowFailed, "it returned dict"},
	{"no_run", `RUN = 1`, FlowFailed, "it has no function run(run)"},
	{"bad_requires", "REQUIRES = 'stock'\ndef run(run): pass", FlowFailed, "REQUIRES is a tuple"},
	{"bad_stage", "def run(run): run.stage(7)", FlowFailed, "the name of a stage is a text"},
	{"import_fails", "import wbt_no_such_thing", FlowFailed, "it cannot be imported: ModuleNotFoundError"},
	{"syntax", "def run(run:\n    pass", FlowFailed, "it cannot be imported: SyntaxError"},
	{"absent", "REQUIRES = ('wbt_absent',)\ndef run(run): pass", FlowNotApplicable, "not installed: wbt_absent"},
	{"skips", write + `    run.skip("company %s sells nothing", "A")`, FlowNotApplicable, "company A sells nothing"},
	{"commits", write + swallowed("run.env.cr.commit()"), FlowFailed, "commit in wbt_one/waybill_flows/commits.py:"},
	{"commits_sql", write + swallowed("run.env.cr.execute('/* all is well */ COMMIT')"), FlowFailed, "SQL that ends the transaction"},
	{"commits_raw", write + swallowed("run.env.cr._cnx.commit()"), FlowFailed, "commit on the raw connection"},
	{"commits_beside", write + swallowed("with run.env.registry.cursor() as cr: cr.execute(\"UPDATE res_partner SET comment = 'x'\")"), FlowFailed, "commit in"},
	{"autocommits", write + swallowed("run.env.cr._cnx.autocommit = True"), FlowFailed, "autocommit"},
	{"rolls_back", write + swallowed("run.env.cr.rollback()"), FlowFailed, "rollback in"},
	{"rolls_back_behind", `
import psycopg2.extensions

def run(run):
    run.env["res.partner"].create({"name": "left behind"})
    run.env.flush_all()
    psycopg2.extensions.cursor(run.env.cr._cnx).execute("ROLLBACK; BEGIN")
`, FlowFailed, "its transaction was ended from inside"},
	{"cursor_broken", write + swallowed("run.env.cr.execute('SELECT wbt_no_such_column')"), FlowFailed, "InFailedSqlTransaction"},
	{"cursor_closed", write + "    run.env.cr._cnx.close()", FlowFailed, "InterfaceError"},
	{"calls", write + swallowed("__import__('socket').create_connection(('198.51.100.1', 9), timeout=5)"), FlowFailed, "outgoing connection to 198.51.100.1:9"},
	{"calls_at_import", "import socket\ntry:\n    socket.getaddrinfo('carrier.invalid', 443)\nexcept OSError:\n    pass\ndef run(run): pass", FlowFailed, "outgoing connection to carrier.invalid:443"},
	{"sends", `
import socket

def run(run):
    with socket.socket(fileno=run.env.cr._cnx.fileno()) as kept:  # one that is open already
        try:
            kept.send(b"x")
        except OSError:
            pass
        kept.detach()
`, FlowFailed, "data sent over an open connection"},
	{"starts_program", write + swallowed("__import__('subprocess').run(['touch', '/tmp/secret'])"), FlowFailed, "start of the program touch in"},
	{"system", write + swallowed("__import__('os').system('touch /tmp/secret')"), FlowFailed, "start of the program touch"},
	{"forks", write + swallowed("__import__('os').fork()"), FlowFailed, "a process of its own"},
	{"thread", write + swallowed("__import__('threading').Thread(target=print).start()"), FlowFailed, "start of thread"},
	{"leaves", write + "    raise SystemExit(3)", FlowFailed, "SystemExit: 3"},
	{"exits", write + swallowed("__import__('os')._exit(0)"), FlowFailed, "os._exit"},
	{"kills", write + swallowed("__import__('os').kill(1, 9)"), FlowFailed, "os.kill"},
	{"mails", `
def run(run):
    mail = run.env["mail.mail"].create({"email_to": "a@example.com", "subject": "s", "body_html": "b"})
    mail.send(raise_exception=True)
    run.env["ir.attachment"].create({"name": run.marker, "raw": b"kept in the database"})
`, FlowPassed, ""},
	{"prints", `
def run(run):
    page = run.env["ir.actions.report"]._run_wkhtmltopdf(["<p>a label</p>"])
    run.expect(page.startswith(b"%PDF"), "no page")
`, FlowPassed, ""},
	{"loops", write + `
    run.stage("count")
    while True:
        try:
            sum(range(1000))
        except Exception:
            pass`, FlowFailed, "it did not end within 2 s at stage count"},
	{"loops_bare", write + `
    end = __import__("time").monotonic() + 4
    while __import__("time").monotonic() < end:
        try:
            while True:
                sum(range(1000))
        except:
            pass`, FlowFailed, "it did not end within 2 s"},
	{"sleeps", write + `    __import__("time").sleep(3600)`, FlowFailed, "it did not end within 2 s"},
	{"queries", write + `    run.env.cr.execute("SELECT pg_sleep(3600)")`, FlowFailed, "it did not end within 2 s"},
}

// write leaves something that must not stay, and is flushed.
const write = `
def run(run):
    run.stage("write")
    run.env["res.partner"].create({"name": run.marker})
    run.env.flush_all()
`

func swallowed(statement string) string {
	return "    try:\n        " + statement + "\n    except Exception:\n        pass\n"
}

// TestOwnFlows: what users write runs under the same guarantee, whatever they write.
func TestOwnFlows(t *testing.T) {
	b := setup(t)
	db := b.database(t)
	files := map[string]string{
		"wbt_absent/__manifest__.py":        `{"name": "Not installed", "license": "LGPL-3"}`,
		"wbt_absent/waybill_flows/never.py": "raise SystemExit",
		"wbt_one/waybill_flows/_shared.py":  "raise SystemExit  # not a flow",
		"wbt_one/waybill_flows/hangs.py":    "import threading\n" + write + "    lock = threading.Lock()\n    lock.acquire()\n    run.stage('wait')\n    lock.acquire()\n",
		"wbt_one/waybill_flows/commits_behind.py": "import psycopg2.extensions\n" + write +
			"    psycopg2.extensions.cursor(run.env.cr._cnx).execute('COMMIT; BEGIN')\n",
	}
	for _, flow := range ownFlows {
		files["wbt_one/waybill_flows/"+flow.name+".py"] = flow.source
	}
	p := b.pool(t, b.addonsWith(t, files), "web", PoolConfig{Generation: 1, Tenants: []PoolTenant{tenant(db, "a.example")}})
	require.True(t, p.ready(t, db).Ready)

	listed := p.flows(t, db, "no_such_flow")["no_such_flow"].Error
	assert.Contains(t, listed, "wbt_one.good")
	assert.NotContains(t, listed, "wbt_absent")
	assert.NotContains(t, listed, "_shared")
	before := b.digest(t, db)
	for _, c := range ownFlows {
		t.Run(c.name, func(t *testing.T) {
			request := FlowsRequest{Database: db, Flows: []string{"wbt_one." + c.name}}
			if strings.Contains(c.says, "within 2 s") {
				request.Limit = 2
			}
			ran := p.flowList(t, request)
			require.Len(t, ran, 1)
			flow := ran[0]
			assert.Equal(t, c.outcome, flow.Outcome, "%s\n%s", flow.Error, flow.Trace)
			assert.Contains(t, flow.Error, c.says)
			if strings.Contains(c.source, "run.stage(\"write\")") {
				assert.NotEmpty(t, flow.Stages)
			}
		})
	}
	assert.Equal(t, before, b.digest(t, db), "flows left something")

	t.Run("hangs for good", func(t *testing.T) {
		flow := p.flowList(t, FlowsRequest{Database: db, Flows: []string{"wbt_one.hangs"}, Limit: 2})[0]
		assert.Equal(t, FlowFailed, flow.Outcome)
		assert.Contains(t, flow.Error, "it did not end within 2 s at stage wait, nor when it was told to")
		assert.Less(t, flow.Seconds, 12.0)
		eventually(t, 10*time.Second, "its transaction is gone", func() bool {
			return b.text(t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in transaction%'", db) == "0"
		})
		assert.Equal(t, before, b.digest(t, db))
		again := p.flowList(t, FlowsRequest{Database: db, Flows: []string{"wbt_one.hangs"}})[0]
		assert.Contains(t, again.Error, "not run: it did not end before")
		assert.Less(t, again.Seconds, 1.0)
		assert.Equal(t, FlowPassed, p.flows(t, db, "wbt_one.good")["wbt_one.good"].Outcome, "the pool serves on")
	})

	t.Run("commits past the guard", func(t *testing.T) { // through the C library itself: not prevented, but never passed
		flow := p.flows(t, db, "wbt_one.commits_behind")["wbt_one.commits_behind"]
		assert.Equal(t, FlowFailed, flow.Outcome)
		assert.Contains(t, flow.Error, "was committed behind the guard's back")
		assert.Equal(t, "1", b.text(t, db, "SELECT count(*) FROM res_partner WHERE name LIKE 'WAYBILL FLOW wbt_one.commits_behind%'"))
	})
}
