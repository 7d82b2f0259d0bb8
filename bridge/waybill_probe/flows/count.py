"""Count an own product: seven found, then four."""
from . import stock

REQUIRES = ("stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item = stock.product(run)
    quants = run.env["stock.quant"].with_context(inventory_mode=True)

    for found in (7, 4):
        run.stage("count %d" % found)
        quant = quants.create(
            {"product_id": item.id, "location_id": house.lot_stock_id.id, "inventory_quantity": found}
        )
        stock.answer(run, quant.action_apply_inventory(), "inventory adjustment")
        there = stock.quantity(run, item, house.lot_stock_id)
        run.expect(there == found, "%s were counted, %s are there", found, there)
