"""Buy three pieces of an own product from an own vendor, receive them and put them away on an own shelf."""
from . import stock

REQUIRES = ("purchase_stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item, vendor = stock.product(run), stock.partner(run)
    buy(run, house, item, vendor, shelf(run, house, item))


def shelf(run, house, item):
    """A shelf in stock, and the rule that the product is put away there."""
    place = run.env["stock.location"].create(
        {"name": run.marker, "usage": "internal", "location_id": house.lot_stock_id.id}
    )
    run.env["stock.putaway.rule"].create(
        {
            "product_id": item.id,
            "location_in_id": house.lot_stock_id.id,
            "location_out_id": place.id,
            "company_id": house.company_id.id,
        }
    )
    return place


def buy(run, house, item, vendor, place):
    """Buys three pieces and takes them all the way to their place."""
    before = stock.quantity(run, item, place)
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
    there = stock.quantity(run, item, place) - before
    run.expect(there == 3, "3 should be put away on %s, there are %s", place.display_name, there)
