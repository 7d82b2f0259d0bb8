"""Waybill's bridge: loaded server-wide, installed in no database, without any model.

Pure parts (signature, pool, prune, bucket) import without Odoo and are tested that way as the
plain package ``waybill_probe``; only as an Odoo addon does it take hold of the process.
"""

if __name__.startswith("odoo.addons."):
    from . import hooks

    hooks.install()
