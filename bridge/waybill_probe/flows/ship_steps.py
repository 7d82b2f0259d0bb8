"""Sell and ship from a warehouse of the flow's own: in one step, then in two, then in three."""
from . import ship, stock

REQUIRES = ("sale_stock",)
HEAVY = True

STEPS = {1: "ship_only", 2: "pick_ship", 3: "pick_pack_ship"}


def run(run):
    run.stage("warehouse")
    house = stock.own_warehouse(run)
    item, customer = stock.product(run), stock.partner(run)
    run.env["stock.quant"]._update_available_quantity(item, house.lot_stock_id, 10)
    for count, steps in STEPS.items():
        run.stage("%d steps" % count)
        house.write({"delivery_steps": steps})
        before = stock.validated(run)
        ship.sell(run, house, item, customer)
        done = stock.validated(run) - before
        run.expect(done == count, "a delivery in %d steps took %d pickings", count, done)
    left = stock.quantity(run, item, house.view_location_id)
    run.expect(left == 4, "4 should be left in the warehouse, there are %s", left)
