"""Open a session of an own point of sale, sync an order that was paid in cash, twice, and close it.

The point of sale is a copy of the tenant's first one, with its settings, in journals of its own.
"""
import datetime
import uuid

from .. import compat
from . import books, stock

REQUIRES = ("point_of_sale",)
TAKES_TURNS = True

# Not copied: who else shares the orders, devices, and amounts that the flow would have to round.
_NOT_COPIED = {
    "trusted_config_ids": [(5,)],
    "printer_ids": [(5,)],
    "is_order_printer": False,
    "cash_rounding": False,
    "use_presets": False,
    "fast_payment_method_ids": [(5,)],
    "use_fast_payment": False,
}


def run(run):
    run.stage("setup")
    company = books.company(run)
    if not company.account_fiscal_country_id:
        run.skip("company %s has no fiscal country", company.display_name)
    stock.warehouse(run)
    config = _config(run, company)
    if "company_has_template" in config._fields and not config.company_has_template:
        run.skip("company %s has no chart of accounts", company.display_name)
    cash = config.payment_method_ids
    item = stock.product(run, available_in_pos=True)

    run.stage("open")
    session = run.env["pos.session"].create({"config_id": config.id, "user_id": run.env.uid})
    compat.open_pos_session(session)
    run.expect(session.state == "opened", "the session is %s after it was opened", session.state)

    run.stage("sync")
    order = _order(run, config, session, item, cash)
    orders = run.env["pos.order"]
    compat.sync_pos_orders(orders, [order])
    found = orders.search([("session_id", "=", session.id)])
    run.expect(len(found) == 1, "one order was synced, the session has %s", len(found))
    run.expect(found.state == "paid", "the order is %s after it was synced", found.state)
    run.expect(len(found.lines) == 1, "the order was synced with one line, it has %s", len(found.lines))

    run.stage("sync again")  # a till does, when the answer got lost
    compat.sync_pos_orders(orders, [_order(run, config, session, item, cash, order["uuid"])])
    found = orders.search([("session_id", "=", session.id)])
    run.expect(len(found) == 1, "an order that was synced twice is there %s times", len(found))
    paid = sum(found.payment_ids.mapped("amount"))
    run.expect(config.currency_id.compare_amounts(paid, found.amount_total) == 0, "%s of %s is paid", paid, found.amount_total)

    run.stage("close")
    if config.cash_control:
        session.post_closing_cash_details(session.cash_register_balance_end)
    session.update_closing_control_state_session("")
    answer = session.close_session_from_ui()
    run.expect(isinstance(answer, dict) and answer.get("successful"), "the session does not close: %s", answer)
    run.expect(session.state == "closed", "the session is %s after it was closed", session.state)

    run.stage("check")
    run.expect(found.state in ("done", "invoiced"), "the order is %s after its session was closed", found.state)
    run.expect(session.move_id.state == "posted", "the session's entry is %s", session.move_id.state or "not there")


def _config(run, company):
    model = run.env["pos.config"]
    tenants = model.search([("company_id", "=", company.id)], limit=1)
    currency = tenants.journal_id.currency_id
    more = {"currency_id": currency.id} if currency else {}
    journal = books.journal(run, "cash", "C", **more)
    method = run.env["pos.payment.method"].create(
        {"name": run.marker, "journal_id": journal.id, "company_id": company.id}
    )
    values = {
        "name": run.marker,
        "company_id": company.id,
        "journal_id": books.journal(run, "general", "P", **more).id,
        "invoice_journal_id": books.journal(run, "sale", "I", **more).id,
        "payment_method_ids": [(6, 0, method.ids)],
    }
    if not tenants:
        return model.create(values)
    values.update({name: value for name, value in _NOT_COPIED.items() if name in model._fields})
    return tenants.copy(values)


def _order(run, config, session, item, cash, known=None):
    """What a till sends of one piece of the product."""
    taxes = item.taxes_id.filtered(lambda tax: tax.company_id in config.company_id.parent_ids)
    taxes = config.default_fiscal_position_id.map_tax(taxes) if config.default_fiscal_position_id else taxes
    price = item.lst_price
    sums = taxes.compute_all(price, config.currency_id, 1, product=item)
    total = sums["total_included"]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    line = {
        "product_id": item.id,
        "qty": 1,
        "price_unit": price,
        "discount": 0,
        "price_subtotal": sums["total_excluded"],
        "price_subtotal_incl": total,
        "tax_ids": [(6, 0, taxes.ids)],
        "pack_lot_ids": [],
        "full_product_name": run.marker,
        "uuid": str(uuid.uuid4()),
    }
    payment = {"amount": total, "name": now, "payment_method_id": cash.id, "uuid": str(uuid.uuid4())}
    known = known or str(uuid.uuid4())
    return {
        "uuid": known,
        "access_token": str(uuid.uuid4()),
        "name": run.marker,
        "state": "paid",
        "session_id": session.id,
        "user_id": run.env.uid,
        "partner_id": False,
        "pricelist_id": config.pricelist_id.id,
        "fiscal_position_id": config.default_fiscal_position_id.id,
        "date_order": now,
        "amount_total": total,
        "amount_tax": total - sums["total_excluded"],
        "amount_paid": total,
        "amount_return": 0,
        "to_invoice": False,
        "last_order_preparation_change": "{}",
        "lines": [(0, 0, line)],
        "payment_ids": [(0, 0, payment)],
    }
