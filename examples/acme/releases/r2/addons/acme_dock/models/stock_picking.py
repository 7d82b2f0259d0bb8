from odoo import api, fields, models


class StockPicking(models.Model):
    _inherit = "stock.picking"

    dock_id = fields.Many2one("acme.dock", string="Dock", index=True, tracking=True)
    dock_slot = fields.Char(
        compute="_compute_dock_slot",
        store=True,
        index=True,
        help="Dock and hour (UTC) at which the lorry is loaded, for example D2 14:00.",
    )

    @api.depends("dock_id.number", "scheduled_date")
    def _compute_dock_slot(self):
        for picking in self:
            if picking.dock_id and picking.scheduled_date:
                picking.dock_slot = "D%d %02d:00" % (picking.dock_id.number, picking.scheduled_date.hour)
            else:
                picking.dock_slot = False
