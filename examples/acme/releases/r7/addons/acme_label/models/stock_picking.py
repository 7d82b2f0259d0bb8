from odoo import fields, models

from .spooler import hand_over


class StockPicking(models.Model):
    _inherit = "stock.picking"

    label_code = fields.Char(copy=False, readonly=True)
    label_printed_at = fields.Datetime(string="Label printed", copy=False, readonly=True)
    label_format = fields.Selection([("zpl", "ZPL"), ("pdf", "PDF")], required=True, default="zpl")

    def _label(self):
        """What the label says: dock, delivery and, so that a mistyped one is noticed, a check digit."""
        digits = [int(c) for c in self.name if c.isdigit()] or [0]
        check = sum(d * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10
        return "D%d-%s-%dZ" % (self.dock_id.number, self.name.replace("/", ""), check)

    def button_validate(self):
        result = super().button_validate()
        for picking in self:
            if picking.state == "done" and picking.picking_type_code == "outgoing" and not picking.label_code:
                picking.label_code = picking._label()
                if hand_over(self.env, picking.label_code):
                    picking.label_printed_at = fields.Datetime.now()
        return result
