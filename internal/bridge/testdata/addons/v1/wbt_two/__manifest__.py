{
    "name": "Waybill test two",
    "version": "19.0.1.0.0",
    "license": "LGPL-3",
    "depends": ["wbt_one"],
}
