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
    if not found:
        run.skip("company %s has no warehouse", company.display_name)
    return found


def own_warehouse(run):
    """A warehouse of the flow's own, in one step each way."""
    env = run.env
    # A second warehouse makes Odoo show warehouses to every user, by way of its settings, which takes
    # long and touches much: the groups alone do.
    user = env.ref("base.group_user")
    groups = [env.ref("stock.group_stock_multi_locations"), env.ref("stock.group_stock_multi_warehouses")]
    missing = [(4, group.id) for group in groups if group not in user.implied_ids]
    if missing:
        user.write({"implied_ids": missing})
    return env["stock.warehouse"].create(
        {"name": run.marker, "code": code(run), "company_id": env.company.id, "partner_id": env.company.partner_id.id}
    )


def code(run):
    """Five characters that are the flow's own, where Odoo asks for a short code."""
    return "W" + run.marker[-7:-3]


# Said though it is the default: a tenant may have another one.
_OWN_DEFAULTS = {"tracking": "none", "use_expiration_date": False, "purchase_method": "receive", "invoice_policy": "order"}


def product(run, **more):
    values = {"name": run.marker, "list_price": 10.0, "standard_price": 4.0, "sale_ok": True, "purchase_ok": True}
    values.update(_OWN_DEFAULTS)
    values.update(weight=1.0, volume=0.001)
    unit = run.env.ref("uom.product_uom_unit", raise_if_not_found=False)
    if unit and unit.active:
        values.update(uom_id=unit.id, uom_po_id=unit.id)
    values = compat.storable(values)
    values.update(more)
    model = run.env["product.product"]
    return model.create({k: v for k, v in values.items() if k in model._fields})


def partner(run, **more):
    return run.env["res.partner"].create(dict({"name": run.marker, "email": "flow@waybill.invalid"}, **more))


def move(run, item, count, source, destination):
    """Values of a move of the product, for a picking's own."""
    values = {
        "product_id": item.id,
        "product_uom_qty": count,
        "product_uom": item.uom_id.id,
        "location_id": source.id,
        "location_dest_id": destination.id,
    }
    name = run.env["stock.move"]._fields.get("name")
    if name is not None and name.required:
        values["name"] = run.marker
    return values


def picking(run, kind, item, count, source, destination, **more):
    """A confirmed picking of the product."""
    created = run.env["stock.picking"].create(
        dict(
            {
                "picking_type_id": kind.id,
                "location_id": source.id,
                "location_dest_id": destination.id,
                "origin": run.marker,
                "move_ids": [(0, 0, move(run, item, count, source, destination))],
            },
            **more,
        )
    )
    created.action_confirm()
    return created


def validated(run):
    """How many pickings the flow has validated so far."""
    return sum(stage["name"].startswith("validate ") for stage in run.stages) + (run.current or "").startswith("validate ")


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


def follow(run, pickings, but=()):
    """Validates pickings and whatever follows from them, to the end of the chain.

    ``pickings`` is a function, called again after each step: push rules create the next one late.
    ``but`` are pickings of another chain that this one hangs on.
    """
    seen = 0
    while True:
        found = chain(pickings())
        for other in but:
            found -= other
        run.expect(found, "no picking came of it")
        open_ones = found.filtered(lambda p: p.state not in ("done", "cancel"))
        if not open_ones:
            return found
        seen += 1
        run.expect(seen <= _CHAIN, "the chain of pickings has no end: %s", states(found))
        step(run, open_ones, found)


def step(run, open_ones, found):
    """Reserves and validates those of the pickings that can be; ``found`` is the whole chain."""
    open_ones.filtered(lambda p: p.state == "draft").action_confirm()
    run.stage("reserve")
    waiting = open_ones.filtered(lambda p: p.state != "assigned")
    if waiting:
        waiting.action_assign()
    ready = open_ones.filtered(lambda p: p.state == "assigned")
    run.expect(ready, "nothing could be reserved: %s", states(found))
    for picking in ready:
        name = picking.picking_type_id.name
        run.stage("validate " + name)
        compat.mark_done(picking.move_ids)
        answer(run, picking.button_validate(), "validation of %s" % name)
        run.expect(picking.state == "done", "%s is %s after its validation", name, picking.state)


def chain(pickings):
    """The pickings and those that their moves lead to or come from."""
    known = pickings
    while True:
        moves = known.move_ids
        more = (moves.move_dest_ids | moves.move_orig_ids).picking_id - known
        if not more:
            return known
        known |= more


def states(pickings):
    return ", ".join("%s %s" % (p.picking_type_id.name, p.state) for p in pickings)
