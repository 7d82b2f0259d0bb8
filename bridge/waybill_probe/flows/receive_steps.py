"""Buy, receive and put away in a warehouse of the flow's own: in one step, then in two, then in three."""
from . import receive, stock

REQUIRES = ("purchase_stock",)
HEAVY = True

STEPS = {1: "one_step", 2: "two_steps", 3: "three_steps"}


def run(run):
    run.stage("warehouse")
    house = stock.own_warehouse(run)
    item, vendor = stock.product(run), stock.partner(run)
    place = receive.shelf(run, house, item)
    for count, steps in STEPS.items():
        run.stage("%d steps" % count)
        house.write({"reception_steps": steps})
        before = stock.validated(run)
        receive.buy(run, house, item, vendor, place)
        done = stock.validated(run) - before
        run.expect(done == count, "a receipt in %d steps took %d pickings", count, done)
