{
    "name": "Acme: loading docks",
    "summary": "Every delivery leaves through a dock",
    "version": "19.0.2.0.0",
    "category": "Inventory",
    "author": "Acme Warehousing",
    "license": "LGPL-3",
    "depends": ["acme_base"],
    "data": [
        "security/ir.model.access.csv",
        "data/acme_dock_data.xml",
        "views/acme_dock_views.xml",
        "views/stock_picking_views.xml",
    ],
    "installable": True,
}
