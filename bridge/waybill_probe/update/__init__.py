"""The update of one tenant's database, as the command ``odoo waybill_update``."""
