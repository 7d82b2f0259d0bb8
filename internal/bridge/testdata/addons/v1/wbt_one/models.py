from odoo import fields, models


class SaleOrder(models.Model):
    _inherit = "sale.order"

    wbt_note = fields.Char()
