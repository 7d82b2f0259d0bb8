import logging
import re

_logger = logging.getLogger(__name__)

DOCK = re.compile(r"DOCK(\d+)\b")


def migrate(cr, version):
    """Read the dock out of the references that customers gave: DOCK2 is dock 2.

    The old order form let people type "DOCK?" when they did not know; such an order has no dock.
    """
    cr.execute("SELECT id, client_order_ref FROM sale_order WHERE client_order_ref LIKE 'DOCK%' ORDER BY id")
    for order, reference in cr.fetchall():
        found = DOCK.match(reference)
        if not found:
            _logger.info("order %d: %r names no dock", order, reference)
            continue
        cr.execute("UPDATE sale_order SET label_dock = %s WHERE id = %s", [int(found[1]), order])
