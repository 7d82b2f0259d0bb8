from odoo import fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    cutoff_hour = fields.Integer(
        default=16,
        help="Orders that come in at this hour (UTC) or later ship the next day.",
    )
