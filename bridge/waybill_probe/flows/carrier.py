"""Rate an order and ship it with a label: by a neutral carrier of the flow's own, then by each of the tenant's.

A carrier of the tenant is taken up to the point where it would call its service: that call is refused,
and expected. One that does not deliver the flow's order (its rules say so) is passed over.
"""
import contextlib

from odoo.exceptions import UserError

from .. import compat, guard, neutral
from . import stock
from .run import FlowError

REQUIRES = ("delivery",)
TAKES_TURNS = True

_CARRIERS = 20  # of the tenant; they are taken in turn where there are more


class _Undo(Exception):
    """Ends a savepoint with everything that happened in it."""


def run(run):
    run.stage("setup")
    env = run.env
    house = stock.warehouse(run) if "stock.warehouse" in env else None
    item, customer = stock.product(run), stock.partner(run, **_address(run))
    own = _neutral(run)
    values = {
        "partner_id": customer.id,
        "client_order_ref": run.marker,
        "order_line": [(0, 0, {"product_id": item.id, "product_uom_qty": 2, "price_unit": 10.0})],
    }
    if house:
        values["warehouse_id"] = house.id
        env["stock.quant"]._update_available_quantity(item, house.lot_stock_id, 5)
    order = env["sale.order"].create(values)

    run.stage("rate")
    answer = own.rate_shipment(order)
    run.expect(answer.get("success"), "the neutral carrier does not rate the order: %s", answer.get("error_message"))
    run.expect(answer.get("price") is not None and answer["price"] > 0, "the neutral carrier's price is %s", answer.get("price"))
    order.set_delivery_line(own, answer["price"])
    run.expect(order.order_line.filtered("is_delivery"), "the order has no line for its delivery")
    picking = None
    if house and "carrier_id" in env["stock.picking"]._fields:
        picking = _ready(run, order)
        with _undone(env):
            run.stage("label")
            _ship(run, own, picking)
            _attach(run, own, picking)
    broken = [text for text in (_one(run, carrier, order, picking) for carrier in _tenants(run, own)) if text]
    run.expect(not broken, "%s", "; ".join(broken))


def _neutral(run):
    carriage = stock.product(run, type="service")
    values = {
        "name": run.marker,
        "product_id": carriage.id,
        "delivery_type": "fixed",
        "fixed_price": 5.0,
        "integration_level": "rate_and_ship",
        "company_id": run.env.company.id,
    }
    return run.env["delivery.carrier"].create(values)


def _address(run):
    company = run.env.company
    country = company.country_id or run.env.ref("base.us", raise_if_not_found=False)
    return {"street": run.marker, "city": "Waybill", "zip": company.zip or "1000", "country_id": country.id}


def _ready(run, order):
    """The last picking of the order's delivery, reserved; what comes before it is done."""
    run.stage("sell")
    stock.answer(run, order.action_confirm(), "confirmation of a sale")
    for _ in range(4):
        pickings = stock.chain(order.picking_ids)
        last = pickings.filtered(lambda p: p.picking_type_id.code == "outgoing")
        waiting = pickings - last
        todo = waiting.filtered(lambda p: p.state not in ("done", "cancel"))
        if last and not todo:
            break
        run.expect(todo, "the order has no delivery")
        stock.step(run, todo, pickings)
    run.expect(len(last) == 1, "the order has %s deliveries", len(last))
    last.action_assign()
    run.expect(last.state == "assigned", "nothing could be reserved: %s", stock.states(last))
    compat.mark_done(last.move_ids)
    return last


def _ship(run, carrier, picking):
    """Validates the picking with the carrier, as the warehouse does: it is then that the label is made."""
    picking.carrier_id = carrier
    stock.answer(run, picking.button_validate(), "validation of the delivery")
    run.expect(picking.state == "done", "the delivery is %s after its validation", picking.state)


def _attach(run, carrier, picking):
    """A label as carriers give it: a file on the picking's message, which must be there to be printed."""
    prefix = carrier._get_delivery_label_prefix() if hasattr(carrier, "_get_delivery_label_prefix") else "LabelShipping"
    label = neutral.page()
    picking.message_post(body=run.marker, attachments=[("%s-%s.pdf" % (prefix, run.marker), label)])
    found = run.env["ir.attachment"].search(
        [("res_model", "=", picking._name), ("res_id", "=", picking.id), ("name", "=like", prefix + "%")]
    )
    run.expect(len(found) == 1 and found.raw == label, "the label is not on the delivery (%s files)", len(found))


def _tenants(run, own):
    model = run.env["delivery.carrier"]
    found = model.search([*model._check_company_domain(run.env.company), ("id", "!=", own.id)], order="id")
    if len(found) > _CARRIERS:
        first = int(run.marker[-12:-9]) % len(found)  # seconds: another part of them each time
        found = (found[first:] + found[:first])[:_CARRIERS]
    return found


def _one(run, carrier, order, picking):
    """Takes one of the tenant's carriers as far as it goes; returns what is broken about it."""
    name = " ".join(carrier.name.split())[:60]
    run.stage("carrier %s" % name)
    try:
        with _undone(run.env), guard.expect_calls() as watch:
            before = len(watch.calls)
            try:
                _rate_and_ship(run, carrier, order, picking)
            except Exception:
                if len(watch.calls) == before:  # it did not come as far as its service
                    raise
    except _PassedOver:
        run.stage("carrier %s: not for this order" % name)
    except FlowError as caught:
        return "carrier %s: %s" % (name, caught)
    except Exception as caught:
        return "carrier %s: %s: %s" % (name, type(caught).__name__, " ".join(str(caught).split())[:300])
    return ""


class _PassedOver(Exception):
    """The carrier does not take the flow's order."""


def _rate_and_ship(run, carrier, order, picking):
    order.partner_shipping_id.write(_where(carrier))
    try:
        answer = carrier.rate_shipment(order)
    except UserError as caught:
        raise _PassedOver from caught
    run.expect(isinstance(answer, dict) and "success" in answer, "its rate is no answer: %r", answer)
    if not answer["success"]:
        raise _PassedOver
    run.expect(isinstance(answer.get("price"), (int, float)), "its price is %r", answer.get("price"))
    if picking is not None:
        _ship(run, carrier, picking)


def _where(carrier):
    """An address that the carrier delivers to, as far as it says."""
    values = {}
    if carrier.country_ids:
        values["country_id"] = carrier.country_ids[0].id
    if carrier.state_ids:
        values.update(state_id=carrier.state_ids[0].id, country_id=carrier.state_ids[0].country_id.id)
    prefixes = getattr(carrier, "zip_prefix_ids", None)
    if prefixes:
        values["zip"] = prefixes[0].name.rstrip("$")
    return values


@contextlib.contextmanager
def _undone(env):
    """Takes back what happens inside, without the flow's end."""
    try:
        with env.cr.savepoint():
            yield
            raise _Undo
    except _Undo:
        pass
