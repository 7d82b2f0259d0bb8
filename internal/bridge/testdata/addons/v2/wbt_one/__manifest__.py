{
    "name": "Waybill test one",
    "version": "19.0.1.1.0",
    "license": "LGPL-3",
    "depends": ["sale_stock", "purchase_stock"],
    "data": ["views/lane.xml", "views/order.xml"],
}
