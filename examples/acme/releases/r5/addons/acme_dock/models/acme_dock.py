import re

from odoo import api, fields, models

WANTED = re.compile(r"\bDOCK(\d+)\b")


class AcmeDock(models.Model):
    _name = "acme.dock"
    _description = "Loading dock"
    _order = "number"

    name = fields.Char(required=True)
    number = fields.Integer(required=True)
    capacity = fields.Float(default=8.0, digits=(6, 1), help="Pallets that fit beside the dock; half ones count.")
    active = fields.Boolean(default=True)

    _number_unique = models.Constraint("unique (number)", "Two docks cannot have the same number.")

    @api.model
    def _for_order(self, order):
        """The dock that the customer asks for ("DOCK2" in the reference), else the quietest one."""
        docks = self.search([])
        wanted = WANTED.search(order.client_order_ref or "")
        if wanted:
            named = docks.filtered(lambda dock: dock.number == int(wanted[1]))
            if named:
                return named[0]
        waiting = dict(
            self.env["stock.picking"]._read_group(
                [("dock_id", "in", docks.ids), ("state", "not in", ("done", "cancel"))],
                ["dock_id"],
                ["__count"],
            )
        )
        return min(docks, key=lambda dock: (waiting.get(dock, 0), dock.number), default=docks)
