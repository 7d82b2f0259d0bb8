"""Move two of five pieces of an own product from stock to an own shelf."""
from . import stock

REQUIRES = ("stock",)


def run(run):
    run.stage("setup")
    house = stock.warehouse(run)
    item = stock.product(run)
    source = house.lot_stock_id
    shelf = run.env["stock.location"].create({"name": run.marker, "usage": "internal", "location_id": source.id})
    run.env["stock.quant"]._update_available_quantity(item, source, 5)

    run.stage("plan")
    picking = stock.picking(run, house.int_type_id, item, 2, source, shelf)
    stock.follow(run, lambda: picking)

    run.stage("check")
    there = stock.quantity(run, item, shelf)
    run.expect(there == 2, "2 should be on the shelf, there are %s", there)
    total = stock.quantity(run, item, source)
    run.expect(total == 5, "5 should be in stock as before, there are %s", total)
