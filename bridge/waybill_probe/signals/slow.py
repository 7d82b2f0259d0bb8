"""Queries that take long, by Odoo's own hook of a thread; it costs others a call and a comparison."""
import sys
import threading

from .. import guard
from . import wording

LIMIT = 1.0  # seconds

_told = None  # called with (where, text) of each slow query


def install(told):
    global _told
    _told = told


def watch():
    """Watches the queries of this thread, which serves requests."""
    thread = threading.current_thread()
    hooks = getattr(thread, "query_hooks", None)
    if hooks is None:
        thread.query_hooks = [_hook]
    elif _hook not in hooks:
        hooks.append(_hook)


def _hook(_cr, query, _params, _start, delay):
    if delay >= LIMIT and _told is not None and not guard.active():
        _told(_where(), wording.query(query))


def _where():
    """File and line of the code, outside Odoo's own plumbing, that asked."""
    frame = sys._getframe(2)
    first = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.endswith("/sql_db.py") and "/waybill_probe/" not in name:
            here = "%s:%d" % (wording.short(name), frame.f_lineno)
            if "/addons/" in name:
                return here
            first = first or here
        frame = frame.f_back
    return first
