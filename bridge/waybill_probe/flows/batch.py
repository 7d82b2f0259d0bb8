"""Pick two deliveries of an own product in one batch."""
from .. import compat
from . import stock

REQUIRES = ("stock_picking_batch",)
TAKES_TURNS = True


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item, customer = stock.product(run), stock.partner(run)
    source, kind = house.lot_stock_id, house.out_type_id
    run.env["stock.quant"]._update_available_quantity(item, source, 5)

    run.stage("plan")
    pickings = run.env["stock.picking"]
    for count in (1, 2):
        pickings |= stock.picking(
            run, kind, item, count, source, customer.property_stock_customer, partner_id=customer.id
        )
    pickings.batch_id = False  # the tenant's settings may have put them into one already
    batch = run.env["stock.picking.batch"].create(
        {"picking_type_id": kind.id, "company_id": run.env.company.id, "picking_ids": [(6, 0, pickings.ids)]}
    )
    batch.action_confirm()
    run.expect(batch.picking_ids == pickings, "the batch has other pickings than it was given")

    run.stage("reserve")
    batch.action_assign()
    states = set(pickings.mapped("state"))
    run.expect(states == {"assigned"}, "nothing could be reserved: %s", ", ".join(sorted(states)))

    run.stage("validate")
    compat.mark_done(pickings.move_ids)
    stock.answer(run, batch.action_done(), "validation of a batch")
    states = set(pickings.mapped("state"))
    run.expect(states == {"done"}, "pickings of the batch are %s after its validation", ", ".join(sorted(states)))
    run.expect(batch.state == "done", "the batch is %s after its validation", batch.state)

    run.stage("check")
    left = stock.quantity(run, item, source)
    run.expect(left == 2, "2 should be left in stock, there are %s", left)
