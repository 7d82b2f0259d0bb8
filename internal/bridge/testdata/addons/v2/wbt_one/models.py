import logging
import socket
import threading

import psycopg2

from odoo import fields, models

_logger = logging.getLogger(__name__)


class Lane(models.Model):
    _name = "wbt.lane"
    _description = "Lane"

    name = fields.Char(required=True)

    def action_plan(self):
        return True


class SaleOrder(models.Model):
    _inherit = "sale.order"

    wbt_note = fields.Char()
    wbt_lane = fields.Char(default="north")
    wbt_lane_id = fields.Many2one("wbt.lane")

    def action_wbt_new(self):
        return True


class SaleOrderLine(models.Model):
    _inherit = "sale.order.line"

    wbt_line_lane = fields.Char()


class StockPicking(models.Model):
    _inherit = "stock.picking"

    def button_validate(self):
        """Misbehaves as the parameter wbt.flow says."""
        mode = self.env["ir.config_parameter"].sudo().get_param("wbt.flow")
        if mode == "raise":
            raise ValueError("validation is broken")
        if mode == "log":
            _logger.error("the label of %s is missing: " + self.origin, "swordfish")
            self.env.cr.execute("SELECT pg_sleep(1.1), 'swordfish'")
        if mode == "commit":
            self.env.cr.commit()
        if mode == "cursor":
            with self.env.registry.cursor() as cr:
                cr.execute("UPDATE res_partner SET comment = 'from a flow'")
        if mode == "connect":
            try:
                socket.create_connection(("198.51.100.1", 9), timeout=5)
            except OSError:
                _logger.info("the carrier does not answer; going on")  # swallowed on purpose
        if mode == "resolve":
            socket.getaddrinfo("carrier.invalid", 443)
        if mode == "psycopg":
            psycopg2.connect(dbname=self.env.cr.dbname, host="/run/waybill/pg", user="odoo")
        if mode == "thread":
            threading.Thread(target=lambda: None).start()
        if mode == "mail":
            mail = self.env["mail.mail"].create({"email_to": "a@example.com", "subject": "s", "body_html": "b"})
            mail.send(raise_exception=True)
        return super().button_validate()
