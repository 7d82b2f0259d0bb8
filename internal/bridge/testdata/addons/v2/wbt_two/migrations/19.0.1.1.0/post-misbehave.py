"""Misbehaves as the parameter wbt.script says."""
import logging
import time

import psycopg2

_logger = logging.getLogger(__name__)


def migrate(cr, version):
    cr.execute("SELECT value FROM ir_config_parameter WHERE key = 'wbt.script'")
    row = cr.fetchone()
    mode = row[0] if row else ""
    if mode == "raise":
        raise ValueError("order S00042 has no lane")
    if mode == "commit":
        cr.commit()
    if mode == "sql":
        cr.execute("/* batch */ COMMIT")
    if mode == "raw":
        cr.connection.commit()
    if mode == "connect":
        psycopg2.connect(dbname=cr.dbname, host="/run/waybill/pg", user="odoo")
    if mode == "swallow":
        try:
            cr.commit()
        except Exception:
            _logger.info("no matter")
    if mode == "log":
        _logger.error("something went wrong, going on")
    if mode == "delete":
        cr.execute("DELETE FROM res_partner WHERE name = 'wbt victim'")
    if mode == "sleep":
        time.sleep(600)
    if mode == "query":
        cr.execute("SELECT pg_sleep(600)")
    if mode == "exit":
        raise SystemExit(0)
    if mode in ("file", "file swallowed"):
        from odoo import api

        try:
            api.Environment(cr, 1, {})["ir.attachment"].create({"name": "wbt", "raw": b"of an update", "public": True})
        except Exception:
            if mode == "file":
                raise
            _logger.info("no matter")
    if mode == "hold":
        # For the test of two updates at once: waits until the test lets go.
        cr.execute("SELECT pg_advisory_xact_lock(42)")
