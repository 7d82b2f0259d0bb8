"""Tells the server which database Odoo opened for a request, where the server asks: it tries others' hosts and names.

The question is a signature over the method and the path, which the ingress takes out of whatever comes from outside. The
answer is what Odoo itself says of the thread that served the request, not what the bridge meant it to do.
"""
import threading

from . import paths, pool, signature

HEADER = "X-Waybill-Served"
_PREFIX = "/waybill/v1/witness"  # before the path in what is signed: the signature is good for nothing else

_key = pool.Watched(paths.KEY_FILE, signature.clean_key)
_nonces = signature.Nonces()  # made at load time, before Odoo forks its workers


def telling(environ, start_response):
    """``start_response`` that names the database as well, for a request that asks with a valid signature."""
    header = environ.get("HTTP_" + signature.HEADER.upper().replace("-", "_"), "")
    if not header:
        return start_response
    path = environ.get("PATH_INFO", "") + ("?" + environ["QUERY_STRING"] if environ.get("QUERY_STRING") else "")
    if not signature.verify(_key.get() or b"", header, environ.get("REQUEST_METHOD", ""), _PREFIX + path, b"", _nonces):
        return start_response

    def start(status, headers, exc_info=None):
        served = getattr(threading.current_thread(), "dbname", None) or ""
        return start_response(status, [*headers, (HEADER, served)], exc_info)

    return start
