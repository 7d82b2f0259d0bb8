"""Buy three pieces of an own product from an own vendor, and receive them into stock."""
from . import stock

REQUIRES = ("purchase_stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item, vendor = stock.product(run), stock.partner(run)

    run.stage("buy")
    order = run.env["purchase.order"].create(
        {
            "partner_id": vendor.id,
            "picking_type_id": house.in_type_id.id,
            "partner_ref": run.marker,
            "order_line": [(0, 0, {"product_id": item.id, "product_qty": 3, "price_unit": 4.0})],
        }
    )
    stock.answer(run, order.button_confirm(), "confirmation of a purchase")
    if order.state == "to approve":
        run.stage("approve")
        order.button_approve()
    run.expect(order.state in ("purchase", "done"), "the purchase is %s after its confirmation", order.state)
    stock.follow(run, lambda: order.picking_ids)

    run.stage("check")
    received = sum(order.order_line.mapped("qty_received"))
    run.expect(received == 3, "3 were bought, %s received", received)
    there = stock.quantity(run, item, house.lot_stock_id)
    run.expect(there == 3, "3 should be in %s, there are %s", house.lot_stock_id.display_name, there)
