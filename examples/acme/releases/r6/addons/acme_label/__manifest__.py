{
    "name": "Acme: shipping labels",
    "summary": "A delivery gets its label when it is validated",
    "version": "19.0.1.3.1",
    "category": "Inventory",
    "author": "Acme Warehousing",
    "license": "LGPL-3",
    "depends": ["acme_dock"],
    "data": ["views/sale_order_views.xml", "views/stock_picking_views.xml"],
    "installable": True,
}
