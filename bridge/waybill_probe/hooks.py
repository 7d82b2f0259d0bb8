"""Takes hold of the process once, according to its role."""
import logging

from . import filestore, guard, paths, pool

_logger = logging.getLogger(__name__)
_installed = False


def install():
    global _installed
    if _installed:
        return
    _installed = True
    guard.install()
    # Also in an update, which writes attachments. Before peace.py, which keeps files from being collected.
    filestore.install()
    if paths.ROLE == "update":
        return
    if not paths.ROLE and pool.current() is None:
        _logger.info("no %s and no WAYBILL_ROLE: the Waybill bridge stays out of the way", paths.POOL_FILE)
        return
    # With a role but without pool.json nothing is served: better closed than open.
    from . import api, peace, processes, sessions, signals, tenancy

    tenancy.install()
    sessions.install()
    api.install()
    processes.install()
    peace.install()
    signals.install()
    _logger.info("Waybill bridge, protocol %d, role %s", paths.PROTOCOL, paths.ROLE or "any")
