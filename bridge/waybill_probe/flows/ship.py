"""Sell, reserve, pick and ship two pieces of an own product to an own customer, from the tenant's warehouse."""
from . import stock

REQUIRES = ("sale_stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item, customer = stock.product(run), stock.partner(run)
    run.env["stock.quant"]._update_available_quantity(item, house.lot_stock_id, 5)
    sell(run, house, item, customer)

    run.stage("check")
    left = stock.quantity(run, item, house.view_location_id)
    run.expect(left == 3, "3 should be left in the warehouse, there are %s", left)


def sell(run, house, item, customer):
    """Sells two pieces and takes them all the way to the customer."""
    run.stage("sell")
    order = run.env["sale.order"].create(
        {
            "partner_id": customer.id,
            "warehouse_id": house.id,
            "client_order_ref": run.marker,
            "order_line": [(0, 0, {"product_id": item.id, "product_uom_qty": 2, "price_unit": 10.0})],
        }
    )
    stock.answer(run, order.action_confirm(), "confirmation of a sale")
    run.expect(order.state in ("sale", "done"), "the sale is %s after its confirmation", order.state)
    stock.follow(run, lambda: order.picking_ids)
    shipped = sum(order.order_line.mapped("qty_delivered"))
    run.expect(shipped == 2, "2 were ordered, %s delivered", shipped)
