{
    "name": "Acme: company settings",
    "summary": "The cut-off hour after which an order ships the next day",
    "version": "19.0.1.0.0",
    "category": "Inventory",
    "author": "Acme Warehousing",
    "license": "LGPL-3",
    "depends": ["sale_stock", "purchase_stock", "stock_delivery"],
    "data": ["views/res_config_settings_views.xml", "views/sale_order_views.xml"],
    "installable": True,
}
