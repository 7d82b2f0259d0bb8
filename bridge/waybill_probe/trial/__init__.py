"""Whether this image's release works on a database as it is: the command ``odoo waybill_try``."""
