"""Deliver two pieces of an own product to an own customer, who sends one back."""
from . import stock

REQUIRES = ("stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item, customer = stock.product(run), stock.partner(run)
    source = house.lot_stock_id
    run.env["stock.quant"]._update_available_quantity(item, source, 2)

    run.stage("deliver")
    away = customer.property_stock_customer
    out = stock.picking(run, house.out_type_id, item, 2, source, away, partner_id=customer.id)
    stock.follow(run, lambda: out)
    left = stock.quantity(run, item, house.view_location_id)
    run.expect(left == 0, "2 of 2 were delivered, %s are left", left)

    run.stage("return")
    wizards = run.env["stock.return.picking"].with_context(active_id=out.id, active_ids=out.ids, active_model=out._name)
    wizard = wizards.create({"picking_id": out.id})
    wizard.product_return_moves.quantity = 1
    action = wizard.action_create_returns() if hasattr(wizard, "action_create_returns") else wizard.create_returns()
    run.expect(isinstance(action, dict) and action.get("res_id"), "the return made no picking")
    back = run.env["stock.picking"].browse(action["res_id"])
    stock.follow(run, lambda: back, [out])

    run.stage("check")
    there = stock.quantity(run, item, house.view_location_id)
    run.expect(there == 1, "1 was sent back, %s are in the warehouse", there)
