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
    move = {
        "product_id": item.id,
        "product_uom_qty": 2,
        "product_uom": item.uom_id.id,
        "location_id": source.id,
        "location_dest_id": shelf.id,
    }
    if "name" in run.env["stock.move"]._fields and run.env["stock.move"]._fields["name"].required:
        move["name"] = run.marker
    picking = run.env["stock.picking"].create(
        {
            "picking_type_id": house.int_type_id.id,
            "location_id": source.id,
            "location_dest_id": shelf.id,
            "origin": run.marker,
            "move_ids": [(0, 0, move)],
        }
    )
    picking.action_confirm()
    stock.follow(run, lambda: picking)

    run.stage("check")
    there = stock.quantity(run, item, shelf)
    run.expect(there == 2, "2 should be on the shelf, there are %s", there)
    total = stock.quantity(run, item, source)
    run.expect(total == 5, "5 should be in stock as before, there are %s", total)
