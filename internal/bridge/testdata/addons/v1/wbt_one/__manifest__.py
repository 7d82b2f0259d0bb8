{
    "name": "Waybill test one",
    "version": "19.0.1.0.0",
    "license": "LGPL-3",
    "depends": ["sale_stock", "purchase_stock"],
    "data": ["views/order.xml"],
}
