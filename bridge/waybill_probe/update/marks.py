"""Marks in the database server's log, from which a rehearsal learns what a statement belongs to."""
import json
import logging

import psycopg2

_logger = logging.getLogger(__name__)

PREFIX = "waybill-mark "


class Marks:
    """Writes a mark on the connection that holds the update's lock.

    That one is in autocommit and never inside the update's transaction: a mark is there whatever
    becomes of the update, and it comes into the log before the next statement does.
    """

    def __init__(self, lock):
        self._lock = lock
        self._failed = False

    def set(self, event, **fields):
        if self._failed:
            return
        text = PREFIX + json.dumps(dict(fields, event=event), sort_keys=True)
        try:
            self._lock.log(text)
        except psycopg2.Error:
            self._failed = True  # marks are for evidence only, and no reason to fail
            _logger.warning("marks for the rehearsal cannot be set any more", exc_info=True)
