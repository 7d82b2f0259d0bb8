import logging

from odoo import SUPERUSER_ID, api

_logger = logging.getLogger(__name__)


def migrate(cr, version):
    """Open deliveries from before the docks get one now, so that each of them has a slot."""
    env = api.Environment(cr, SUPERUSER_ID, {})
    pickings = env["stock.picking"].search(
        [
            ("picking_type_code", "=", "outgoing"),
            ("dock_id", "=", False),
            ("state", "not in", ("done", "cancel")),
        ]
    )
    for picking in pickings:
        picking.dock_id = env["acme.dock"]._for_order(picking.sale_id)
    _logger.info("%d open deliveries have got a dock", len(pickings))
