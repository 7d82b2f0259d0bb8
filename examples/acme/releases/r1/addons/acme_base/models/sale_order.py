from odoo import api, fields, models


class SaleOrder(models.Model):
    _inherit = "sale.order"

    ships = fields.Selection(
        [("today", "The same day"), ("next", "The next day")],
        compute="_compute_ships",
    )

    @api.depends("date_order", "company_id.cutoff_hour")
    def _compute_ships(self):
        for order in self:
            late = order.date_order and order.date_order.hour >= order.company_id.cutoff_hour
            order.ships = "next" if late else "today"
