"""Keeps a flow inside its transaction.

While a flow runs, its thread may not commit, connect to anything, open a database connection of
its own or start a thread that would outlive the guard. Each attempt raises, and is remembered:
code that swallows the exception is found out all the same.
"""
import contextlib
import socket
import sys
import threading

_local = threading.local()


class Refused(OSError):
    """What the code under guard gets. An OSError, because most of it tried to reach something."""


def _active():
    return getattr(_local, "guard", None)


def active():
    """Whether this thread runs a flow."""
    return _active() is not None


def _caller():
    """File and line of the code outside this bridge and outside the plumbing that did it."""
    frame = sys._getframe(2)
    best = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if "/addons/" in name or "/flows/" in name:
            if "waybill_probe/guard.py" not in name:
                short = name.split("/addons/")[-1]
                return "%s:%d" % (short.split("waybill_probe/")[-1], frame.f_lineno)
        frame = frame.f_back
    return best


def refuse(what):
    """Raises Refused when this thread is under guard."""
    guard = _active()
    if guard is not None and not guard.allowed:
        where = _caller()
        message = "%s%s: a flow must stay inside its transaction" % (what, " in " + where if where else "")
        guard.violations.append(message)
        raise Refused(message)


class Guard:
    def __init__(self):
        self.violations = []
        self.allowed = 0


@contextlib.contextmanager
def flow():
    """Guards the calling thread; yields the Guard, whose ``violations`` are readable afterwards."""
    if active():
        raise RuntimeError("a flow is already running in this thread")
    guard = _local.guard = Guard()
    try:
        yield guard
    finally:
        _local.guard = None


@contextlib.contextmanager
def allow():
    """For the bridge's own plumbing (borrowing the connection of a cursor)."""
    guard = _active()
    if guard is None:
        yield
        return
    guard.allowed += 1
    try:
        yield
    finally:
        guard.allowed -= 1


def _refusing(function, describe):
    def wrapper(*args, **kwargs):
        if active():
            refuse(describe(*args, **kwargs))
        return function(*args, **kwargs)

    wrapper.__name__ = getattr(function, "__name__", "wrapper")
    wrapper.__doc__ = getattr(function, "__doc__", None)
    return wrapper


def _address(self, address, *_args):
    if isinstance(address, tuple) and len(address) >= 2:
        return "outgoing connection to %s:%s" % address[:2]
    return "outgoing connection to %s" % (address,)


def install():
    """Wraps the doors once per process; they cost one thread-local look-up when no flow runs."""
    import psycopg2

    from odoo import sql_db

    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _refusing(getattr(socket.socket, name), _address))
    socket.socket.sendto = _refusing(socket.socket.sendto, lambda *a: "outgoing datagram to %s" % (a[-1],))
    socket.getaddrinfo = _refusing(
        socket.getaddrinfo, lambda host=None, port=None, *a, **k: "outgoing connection to %s:%s" % (host, port)
    )
    threading.Thread.start = _refusing(threading.Thread.start, lambda thread: "start of thread %s" % thread.name)
    psycopg2.connect = _refusing(psycopg2.connect, lambda *a, **k: "a database connection of its own")

    stock_commit = sql_db.Cursor.commit

    def commit(self):
        refuse("commit")
        return stock_commit(self)

    stock_borrow = sql_db.ConnectionPool.borrow

    def borrow(self, connection_info):
        with allow():
            return stock_borrow(self, connection_info)

    sql_db.Cursor.commit = commit
    sql_db.ConnectionPool.borrow = borrow
    _silence_mail()


def _silence_mail():
    """Under guard a mail counts as sent without a mail server."""
    from odoo.addons.base.models import ir_mail_server

    for cls in vars(ir_mail_server).values():
        if isinstance(cls, type) and getattr(cls, "_name", None) == "ir.mail_server":
            break
    else:
        raise ImportError("ir.mail_server is not where this series of Odoo should have it")

    stock_send = cls.send_email

    def send_email(self, message, *args, **kwargs):
        if active():
            return message["Message-Id"] or "<flow@waybill.invalid>"
        return stock_send(self, message, *args, **kwargs)

    cls.send_email = send_email
    for name in ("connect", "_connect__"):
        if name in vars(cls):
            stock_connect = getattr(cls, name)

            def connect(self, *args, _stock=stock_connect, **kwargs):
                return None if active() else _stock(self, *args, **kwargs)

            setattr(cls, name, connect)
