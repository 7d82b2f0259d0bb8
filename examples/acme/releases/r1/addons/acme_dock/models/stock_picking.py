from odoo import fields, models


class StockPicking(models.Model):
    _inherit = "stock.picking"

    dock_id = fields.Many2one("acme.dock", string="Dock", index=True, tracking=True)
