"""What the flows share: records of their own, and walking a chain of pickings."""
from .. import compat

_CHAIN = 12  # pickings of one flow; the longest stock route of Odoo has four

# Questions that Odoo asks a person on validation, and the answer of the flow.
_ANSWERS = {
    "stock.backorder.confirmation": "process",
    "stock.immediate.transfer": "process",
    "confirm.stock.sms": "dont_send_sms",
    "expiry.picking.confirmation": "process",
}


def warehouse(run):
    """The first warehouse of the company; flows do not change its configuration."""
    company = run.env.company
    found = run.env["stock.warehouse"].search([("company_id", "=", company.id)], limit=1)
    run.expect(found, "company %s has no warehouse", company.display_name)
    return found


def product(run):
    values = {"name": run.marker, "list_price": 10.0, "standard_price": 4.0, "sale_ok": True, "purchase_ok": True}
    model = run.env["product.product"]
    return model.create({k: v for k, v in compat.storable(values).items() if k in model._fields})


def partner(run):
    return run.env["res.partner"].create({"name": run.marker, "email": "flow@waybill.invalid"})


def quantity(run, item, location):
    """Quantity of the product in a location and everything below it."""
    quants = run.env["stock.quant"].search([("product_id", "=", item.id), ("location_id", "child_of", location.id)])
    return sum(quants.mapped("quantity"))


def answer(run, result, what):
    """Deals with what a button returned: a wizard is answered, a report or a message is let go."""
    for _ in range(5):
        if not isinstance(result, dict) or result.get("type") != "ir.actions.act_window":
            return
        model = result.get("res_model")
        if result.get("target") != "new" and model not in _ANSWERS:
            return
        run.expect(model in _ANSWERS, "%s asks something that the flow has no answer to: %s", what, model)
        wizards = run.env[model].with_context(**(result.get("context") or {}))
        wizard = wizards.browse(result["res_id"]) if result.get("res_id") else wizards.create({})
        result = getattr(wizard, _ANSWERS[model])()


def follow(run, pickings):
    """Validates pickings and whatever follows from them, to the end of the chain.

    ``pickings`` is a function, called again after each step: push rules create the next one late.
    """
    seen = 0
    while True:
        found = _chain(pickings())
        run.expect(found, "no picking came of it")
        open_ones = found.filtered(lambda p: p.state not in ("done", "cancel"))
        if not open_ones:
            return found
        seen += 1
        run.expect(seen <= _CHAIN, "the chain of pickings has no end: %s", _states(found))
        open_ones.filtered(lambda p: p.state == "draft").action_confirm()
        run.stage("reserve")
        waiting = open_ones.filtered(lambda p: p.state != "assigned")
        if waiting:
            waiting.action_assign()
        ready = open_ones.filtered(lambda p: p.state == "assigned")
        run.expect(ready, "nothing could be reserved: %s", _states(found))
        for picking in ready:
            run.stage("validate " + picking.picking_type_id.name)
            compat.mark_done(picking.move_ids)
            answer(run, picking.button_validate(), "validation of %s" % picking.picking_type_id.name)
            run.expect(
                picking.state == "done", "%s is %s after its validation", picking.picking_type_id.name, picking.state
            )


def _chain(pickings):
    """The pickings and those that their moves lead to or come from."""
    known = pickings
    while True:
        moves = known.move_ids
        more = (moves.move_dest_ids | moves.move_orig_ids).picking_id - known
        if not more:
            return known
        known |= more


def _states(pickings):
    return ", ".join("%s %s" % (p.picking_type_id.name, p.state) for p in pickings)
