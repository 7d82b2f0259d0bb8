from odoo import models


class StockMove(models.Model):
    _inherit = "stock.move"

    def _get_new_picking_values(self):
        values = super()._get_new_picking_values()
        if self.picking_type_id.code == "outgoing":
            values["dock_id"] = self.env["acme.dock"]._for_order(self.sale_line_id.order_id[:1]).id
        return values
