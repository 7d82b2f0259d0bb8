"""Which database a thread serves: decided once per request, from its host, before Odoo looks at anything else of it."""
import contextlib
import threading

_local = threading.local()


@contextlib.contextmanager
def serving(database):
    """This thread serves ``database`` and no other meanwhile; None: no database at all."""
    before = getattr(_local, "database", _local)
    _local.database = database
    try:
        yield
    finally:
        if before is _local:
            del _local.database
        else:
            _local.database = before


def request_database():
    """(True, database) in a thread that serves a request, (False, None) elsewhere."""
    if hasattr(_local, "database"):
        return True, _local.database
    return False, None
