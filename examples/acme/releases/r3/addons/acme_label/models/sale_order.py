from odoo import fields, models


class SaleOrder(models.Model):
    _inherit = "sale.order"

    label_dock = fields.Integer(
        string="Dock on the label",
        copy=False,
        help="The dock that the customer's reference asks for; 0 when it asks for none.",
    )
