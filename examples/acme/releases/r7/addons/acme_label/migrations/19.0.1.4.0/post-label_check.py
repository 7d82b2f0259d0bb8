import logging

_logger = logging.getLogger(__name__)

BATCH = 50


def migrate(cr, version):
    """The carrier's new scanners want labels to end in a Z.

    In batches that are committed one by one, so that nobody waits long for a delivery.
    """
    done = BATCH
    while done == BATCH:
        cr.execute(
            """
            UPDATE stock_picking SET label_code = label_code || 'Z'
             WHERE id IN (SELECT id FROM stock_picking WHERE label_code NOT LIKE '%%Z' ORDER BY id LIMIT %s)
            """,
            [BATCH],
        )
        done = cr.rowcount
        cr.commit()
        _logger.info("%d labels rewritten", done)
