"""The server's calls to a running pool: /waybill/v1/ready, /flows, /signals, /isolation, /status.

Answered before Odoo sees the request: whatever Host it names, without session, and for whoever
has no valid signature as if nothing were there.
"""
import functools
import json
import logging
import os
import threading
import time

import odoo.release
from odoo import http
from odoo.tools import config as odoo_config

from . import compat, flows, isolation, paths, pool, readiness, signals, signature, tenancy

_logger = logging.getLogger(__name__)

_PREFIX = "/waybill/"
_LIMIT = 1 << 20  # bytes of a request's body

_key = pool.Watched(paths.KEY_FILE, signature.clean_key)
_nonces = signature.Nonces()  # made at load time, before Odoo forks its workers
_one_flow = threading.Lock()  # flows of one process run one after the other
_FLOW_SECONDS = 60.0  # of one flow, unless the request says otherwise
_FLOWS_SECONDS = 90.0  # of all flows of a request; what is left is asked for again


class _Answer(Exception):
    def __init__(self, status, body):
        super().__init__(status)
        self.status = status
        self.body = body


def install():
    stock = http.Application.__call__

    def application(app, environ, start_response):
        if environ.get("PATH_INFO", "").startswith(_PREFIX):
            return _serve(environ, start_response)
        return stock(app, environ, start_response)

    http.Application.__call__ = application


def _serve(environ, start_response):
    method, path = environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", "")
    body = _body(environ)
    full = path + ("?" + environ["QUERY_STRING"] if environ.get("QUERY_STRING") else "")
    header = environ.get("HTTP_" + signature.HEADER.upper().replace("-", "_"), "")
    key = _key.get() or b""
    if body is None or not signature.verify(key, header, method, full, body, _nonces):
        return tenancy.not_found(start_response)
    thread = threading.current_thread()  # Odoo's request log reads these
    thread.query_count, thread.query_time, thread.perf_t0 = 0, 0, time.time()
    try:
        status, answer = _dispatch(method, path, environ.get("QUERY_STRING", ""), body)
    except _Answer as caught:
        status, answer = caught.status, caught.body
    except Exception as error:
        _logger.exception("%s %s", method, path)
        status, answer = "500 Internal Server Error", {"error": "%s: %s" % (type(error).__name__, error)}
    raw = json.dumps(answer).encode()
    start_response(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(raw))), ("Cache-Control", "no-store")],
    )
    return [raw]


def _body(environ):
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return None
    if not 0 <= length <= _LIMIT:
        return None
    return environ["wsgi.input"].read(length) if length else b""


def _dispatch(method, path, query, body):
    from urllib.parse import parse_qs

    if (method, path) == ("GET", "/waybill/v1/status"):
        return "200 OK", _status()
    asked = {"/waybill/v1/ready": readiness.check, "/waybill/v1/signals": signals.answer}.get(path)
    if asked and method == "GET":
        names = parse_qs(query).get("db", [])
        if len(names) != 1:
            raise _Answer("400 Bad Request", {"error": "which database? say ?db=NAME"})
        with tenancy.serving(_listed(names[0])):
            return "200 OK", asked(names[0])
    if (method, path) == ("POST", "/waybill/v1/flows"):
        return "200 OK", _flows(body)
    if (method, path) == ("POST", "/waybill/v1/isolation"):
        return "200 OK", _isolation(body)
    raise _Answer("400 Bad Request", {"error": "no call %s %s in protocol %d" % (method, path, paths.PROTOCOL)})


def _listed(database):
    if not pool.tenant(database):
        raise _Answer("403 Forbidden", {"error": "database %s is not on the list of this pool" % database})
    return database


def _status():
    config = pool.current()
    return {
        "protocol": paths.PROTOCOL,
        "series": odoo.release.serie,
        "version": odoo.release.version,
        "role": paths.ROLE,
        "pid": os.getpid(),
        "environment": config.environment if config else "",
        "pool": config.pool if config else "",
        "release": config.release if config else "",
        "generation": config.generation if config else 0,
        "drain": config.drain if config else False,
        "databases": [tenant.database for tenant in config.tenants] if config else [],
        "loaded": sorted(compat.registry_class().registries.snapshot),
    }


def _flows(body):
    try:
        request = json.loads(body.decode("utf-8"))
        database, names = request["database"], request.get("flows") or []
        quick, limit = bool(request.get("quick")), float(request.get("limit") or _FLOW_SECONDS)
        turn = int(request.get("round") or 0)
        if not isinstance(database, str) or not all(isinstance(name, str) for name in names):
            raise ValueError("wrong types")
        if not 1 <= limit <= flows.LIMIT:
            raise ValueError("the limit of a flow is 1 to %d seconds" % flows.LIMIT)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Answer("400 Bad Request", {"error": "not a FlowsRequest: %s" % error}) from error
    with tenancy.serving(_listed(database)), _one_flow:
        threading.current_thread().dbname = database
        try:
            registry = compat.registry(database)
            around = functools.partial(tenancy.serving, database)
            ran, left = flows.within(
                registry, names, _flows_seconds(), quick=quick, limit=limit, around=around, turn=turn
            )
            return {"flows": ran, "left": left}
        finally:
            del threading.current_thread().dbname


def _isolation(body):
    try:
        request = json.loads(body.decode("utf-8"))
        database = request["database"]
        _listed(database)
        return isolation.answer(request)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Answer("400 Bad Request", {"error": "not an IsolationRequest: %s" % error}) from error


def _flows_seconds():
    """Odoo ends a worker whose request takes too long: the answer comes before that."""
    limits = [odoo_config[name] for name in ("limit_time_cpu", "limit_time_real")]
    return max(5.0, min([_FLOWS_SECONDS] + [0.8 * limit for limit in limits if limit and limit > 0]))
