{
    "name": "Waybill probe",
    "summary": "What Waybill asks of a running Odoo: readiness, flows, the one-transaction update",
    "version": "19.0.1.0.0",
    "category": "Technical",
    "author": "Waybill",
    "license": "LGPL-3",
    "depends": ["base", "web"],
    "installable": True,
    "auto_install": False,
}
