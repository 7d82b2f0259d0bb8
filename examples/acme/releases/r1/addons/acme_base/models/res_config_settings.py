from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    cutoff_hour = fields.Integer(related="company_id.cutoff_hour", readonly=False)
