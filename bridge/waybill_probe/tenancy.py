"""A pool serves exactly the tenants on its list: host -> database, for every door of Odoo.

One decision per request, taken here from the Host header before Odoo looks at session, header or
query. Everything that asks Odoo "which databases are there" gets that one answer; below it, the
connection pool refuses to open any other database in that thread.
"""
import logging
import sys

import psycopg2

from odoo import http, sql_db

from . import bucket, compat, pool, witness
from .served import request_database, serving

_logger = logging.getLogger(__name__)

# Where psycopg2 may go besides tenants: cron listens there, the bus notifies, /web/health looks in.
# It holds no tenant's data; what a client names as its database is checked elsewhere.
_SYSTEM = ("postgres",)


class NotServed(psycopg2.OperationalError):
    """The database is not on this pool's list, or is not the one of the request's host."""


def may_open(database):
    """Why this thread may not open a database; empty when it may."""
    in_request, own = request_database()
    if in_request:
        if database == own or database in _SYSTEM:  # Odoo's bus notifies through it after a commit
            return ""
        return "database %s does not belong to this host" % database
    if database in _SYSTEM or pool.tenant(database):
        return ""
    return "database %s is not on the list of this pool" % database


def install():
    _patch_lists()
    _patch_services()
    _patch_connections()
    _patch_registry()
    _patch_request()
    _patch_wsgi()


def _allowed(host=None):
    in_request, own = request_database()
    if in_request:
        return [own] if own else []
    config = pool.current()
    if config is None:
        return []
    if host is not None:
        tenant = config.tenant_of_host(host)
        return [tenant.database] if tenant else []
    return [tenant.database for tenant in config.tenants]


def _patch_lists():
    import odoo.service.db

    def db_list(force=False, host=None):
        return _allowed(host)

    def db_filter(dbs, host=None):
        allowed = _allowed(host)
        return [name for name in dbs if name in allowed]

    http.db_list = db_list
    http.db_filter = db_filter
    odoo.service.db.list_dbs = lambda force=False: _allowed()


def _patch_services():
    """/jsonrpc and /xmlrpc name their database in the call itself."""
    import odoo.service.common
    import odoo.service.db
    import odoo.service.model
    from odoo.exceptions import AccessDenied

    stock_common, stock_model = odoo.service.common.dispatch, odoo.service.model.dispatch

    def refuse_foreign(params):
        in_request, own = request_database()
        if in_request and (not params or params[0] != own):
            raise AccessDenied()

    def common(method, params):
        if method in ("login", "authenticate"):
            refuse_foreign(params)
        return stock_common(method, params)

    def model(method, params):
        refuse_foreign(params)
        return stock_model(method, params)

    def database(method, params):
        if method == "server_version":
            return odoo.service.db.exp_server_version()
        if method == "list":
            return _allowed()
        if method == "db_exist":
            return bool(params) and params[0] in _allowed()
        raise AccessDenied()  # databases are made and dropped by Waybill

    odoo.service.common.dispatch = common
    odoo.service.model.dispatch = model
    odoo.service.db.dispatch = database


_oids = {}  # database -> oid that its registry was built on


def _patch_connections():
    """The last line: no cursor on a database that is not served here.

    It also notices a database that was swapped for another by rename. That is possible only
    without connections, so a look at each new connection's oid is enough.
    """
    stock = sql_db.ConnectionPool.borrow

    def borrow(connections, info):
        database = info.get("database") or info.get("dbname")
        if database is None:
            raise NotServed("a connection by URI is not served by this pool")
        why = may_open(database)
        if why:
            raise NotServed(why)
        connection = stock(connections, info)
        if database not in _SYSTEM and not hasattr(connection, "waybill_oid"):
            try:
                _look_at_oid(connection, database)
            except psycopg2.Error:
                connections.give_back(connection, keep_in_pool=False)
                raise
        return connection

    sql_db.ConnectionPool.borrow = borrow


def _look_at_oid(connection, database):
    with connection.cursor() as cursor:
        cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = current_database()")
        oid = cursor.fetchone()[0]
    connection.rollback()
    connection.waybill_oid = oid
    before = _oids.get(database)
    _oids[database] = oid
    if before is not None and before != oid:
        _logger.info("database %s is another one than before: its registry is built again", database)
        stale = compat.registry_class().registries.get(database)
        if stale is not None:
            stale.registry_sequence = -1  # the next check_signaling() reloads it


def _patch_registry():
    """A pool never updates a database by itself.

    19.0 resumes an interrupted update in whatever process loads the registry next.
    """
    registry = compat.registry_class()
    stock = registry.new.__func__

    def new(cls, db_name, **options):
        if not any(options.get(name) for name in ("update_module", "install_modules", "upgrade_modules", "reinit_modules")):
            cr = sql_db.db_connect(db_name).cursor()
            try:
                cr.execute("SELECT to_regclass('ir_config_parameter') IS NOT NULL")
                if cr.fetchone()[0]:
                    cr.execute("SELECT 1 FROM ir_config_parameter WHERE key = 'base.partially_updated_database'")
                    if cr.fetchone():
                        raise NotServed(
                            "database %s was left half updated: update it again or restore it" % db_name
                        )
            finally:
                cr.close()
        return stock(cls, db_name, **options)

    registry.new = classmethod(new)


def _patch_request():
    """A database that is away for a moment must not log anybody out."""
    import werkzeug.exceptions

    stock = http.Request._serve_db

    def _serve_db(request):
        try:
            return stock(request)
        except http.RegistryError as error:
            _logger.warning("database %s cannot be used now: %s", request.db, error.__cause__ or error)
            raise werkzeug.exceptions.ServiceUnavailable(
                "The database is not available at the moment. Please try again.", retry_after=5
            ) from error

    http.Request._serve_db = _serve_db


# Odoo's own check of the process; it opens no tenant and says nothing of one.
_HEALTH = ("/web/health",)


def _patch_wsgi():
    from odoo.tools import config as odoo_config

    stock = http.Application.__call__

    def application(app, environ, start_response):
        host = environ.get("HTTP_HOST", "")
        if odoo_config["proxy_mode"] and environ.get("HTTP_X_FORWARDED_HOST"):
            host = environ["HTTP_X_FORWARDED_HOST"].rpartition(",")[2]  # as Odoo's ProxyFix
        config = pool.current()
        tenant = config.tenant_of_host(host) if config else None
        if tenant is None and environ.get("PATH_INFO") not in _HEALTH:
            return not_found(start_response)
        database = tenant.database if tenant else None
        named = environ.get("HTTP_X_ODOO_DATABASE")
        if named and named != database:
            return not_found(start_response)
        with serving(database):
            answer = stock(app, environ, witness.telling(environ, bucket.telling(environ, start_response)))
        if environ.get("PATH_INFO") == "/websocket":
            _patch_websocket()
        return answer

    http.Application.__call__ = application


def _patch_websocket():
    """A socket whose database is not served any more is closed; the browser then comes again.

    Odoo leaves it open and logs an exception at every message. Done once the module is loaded by
    Odoo itself: to import it from here would skip what Odoo does on loading.
    """
    module = sys.modules.get("odoo.addons.bus.websocket")
    if module is None or hasattr(module.WebsocketRequest, "waybill"):
        return
    from werkzeug.exceptions import ServiceUnavailable  # of a session that cannot be looked up

    stock_message, stock_dispatch = (
        module.WebsocketRequest.serve_websocket_message,
        module.Websocket._dispatch_bus_notifications,
    )

    away = (NotServed, module.InvalidDatabaseException, psycopg2.OperationalError, ServiceUnavailable)

    # A socket lives on after the request that opened it, and serves that request's database while that is listed.
    def socket_of(database, what, *arguments):
        try:
            if not pool.tenant(database):
                raise NotServed("database %s is not on the list of this pool" % database)
            with serving(database):
                return what(*arguments)
        except away as error:
            _logger.info("a socket of database %s is closed: %s", database, error.__cause__ or error)
            raise module.PoolError("the database or the session cannot be reached") from error  # "try again later"

    def serve_websocket_message(request, message):
        return socket_of(request.db, stock_message, request, message)

    def _dispatch_bus_notifications(websocket):
        return socket_of(websocket._db, stock_dispatch, websocket)

    module.WebsocketRequest.serve_websocket_message = serve_websocket_message
    module.Websocket._dispatch_bus_notifications = _dispatch_bus_notifications
    module.WebsocketRequest.waybill = True


def not_found(start_response):
    body = b"Not Found\n"
    start_response(
        "404 Not Found", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    )
    return [body]
