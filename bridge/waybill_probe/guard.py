"""Keeps a flow inside its transaction.

While a flow runs, its thread may not commit, end its transaction by SQL, connect to anything, send
over a connection that is open already, open a database connection of its own, start a program or a
thread, or end the process. Each attempt raises, and is remembered: code that swallows the exception
is found out all the same.
"""
import contextlib
import functools
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

from .update import statements

_local = threading.local()

_REMEMBERED = 20  # of each kind: a loop that tries again and again does not fill the memory
_SLICE = 0.05  # seconds; a flow's sleep is cut up, so that its deadline finds a way in


class Refused(OSError):
    """What the code under guard gets. An OSError, because most of it tried to reach something."""


class Guard:
    """What one flow tried. ``cursor`` is its own, whose transaction nobody else may end."""

    def __init__(self):
        self.violations = []
        self.calls = []  # to the outside, refused, where the flow had expected them
        self.cursor = None
        self.allowed = 0
        self.expecting = 0


def _active():
    return getattr(_local, "guard", None)


def active():
    """Whether this thread runs a flow."""
    return _active() is not None


def _caller():
    """File and line of the code outside this bridge and outside the plumbing that did it."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if ("/addons/" in name or "/flows/" in name) and "waybill_probe/guard" not in name:
            short = name.split("/addons/")[-1]
            return "%s:%d" % (short.split("waybill_probe/")[-1], frame.f_lineno)
        frame = frame.f_back
    return ""


def refuse(what, outside=False):
    """Raises Refused when this thread is under guard. ``outside``: it was a call to another system."""
    guard = _active()
    if guard is None or guard.allowed:
        return
    where = _caller()
    message = "%s%s: a flow must stay inside its transaction" % (what, " in " + where if where else "")
    known = guard.calls if outside and guard.expecting else guard.violations
    if len(known) < _REMEMBERED:
        known.append(message)
    raise Refused(message)


def statement(query):
    """Refuses SQL that would end the transaction of a flow."""
    if active() and statements.ends_transaction(query):
        refuse("SQL that ends the transaction (%s)" % " ".join(str(query).split())[:80])


@contextlib.contextmanager
def flow(guard):
    """Guards the calling thread with a Guard, whose ``violations`` are readable afterwards."""
    if active():
        raise RuntimeError("a flow is already running in this thread")
    _local.guard = guard
    try:
        yield guard
    finally:
        _local.guard = None


@contextlib.contextmanager
def _counted(name):
    guard = _active()
    if guard is None:
        yield None
        return
    setattr(guard, name, getattr(guard, name) + 1)
    try:
        yield guard
    finally:
        setattr(guard, name, getattr(guard, name) - 1)


def allow():
    """For the plumbing: borrowing the connection of a cursor, writing to the log."""
    return _counted("allowed")


def expect_calls():
    """Calls to the outside are refused as ever, but told apart: they are what this code is for."""
    return _counted("expecting")


def _refusing(function, describe, outside=False):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        if active():
            refuse(describe(*args, **kwargs), outside)
        return function(*args, **kwargs)

    return wrapper


def install():
    """Wraps the doors once per process; they cost one thread-local look-up when no flow runs."""
    _network()
    _processes()
    _database()
    _sleep()
    _log()
    from . import neutral

    neutral.install()


def _address(self, address, *_args):
    if isinstance(address, tuple) and len(address) >= 2:
        return "outgoing connection to %s:%s" % address[:2]
    return "outgoing connection to %s" % (address,)


def _network():
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _refusing(getattr(socket.socket, name), _address, True))
    socket.socket.sendto = _refusing(socket.socket.sendto, lambda *a: "outgoing datagram to %s" % (a[-1],), True)
    socket.getaddrinfo = _refusing(
        socket.getaddrinfo, lambda host=None, port=None, *a, **k: "outgoing connection to %s:%s" % (host, port), True
    )
    # A connection that was opened before the flow, and kept.
    for cls, names in ((socket.socket, ("send", "sendall", "sendmsg", "sendfile")), (ssl.SSLSocket, ("send", "sendall", "write"))):
        for name in names:
            setattr(cls, name, _refusing(getattr(cls, name), lambda *a, **k: "data sent over an open connection", True))


def _program(*args, **kwargs):
    """The program's name alone: its arguments may hold secrets."""
    command = kwargs.get("args") or next((a for a in args if isinstance(a, (str, bytes, list, tuple))), "")
    if isinstance(command, (list, tuple)):
        command = command[0] if command else ""
    if isinstance(command, bytes):
        command = command.decode("utf-8", "replace")
    return "start of the program %s" % (str(command).split() or ["?"])[0]


def _processes():
    import multiprocessing.process

    subprocess.Popen.__init__ = _refusing(subprocess.Popen.__init__, _program)
    for name in ("system", "execv", "execve", "posix_spawn", "posix_spawnp"):
        setattr(os, name, _refusing(getattr(os, name), _program))
    for name in ("fork", "forkpty"):
        setattr(os, name, _refusing(getattr(os, name), lambda: "a process of its own"))
    for name in ("_exit", "abort", "kill", "killpg"):
        setattr(os, name, _refusing(getattr(os, name), lambda *a, _name=name: "os.%s" % _name))
    process = multiprocessing.process.BaseProcess
    process.start = _refusing(process.start, lambda *a: "a process of its own")
    threading.Thread.start = _refusing(threading.Thread.start, lambda thread: "start of thread %s" % thread.name)


def _database():
    import psycopg2
    import psycopg2.extensions
    import psycopg2.sql

    from odoo import sql_db

    psycopg2.connect = _refusing(psycopg2.connect, lambda *a, **k: "a database connection of its own")

    class Cursor(psycopg2.extensions.cursor):
        """The one that a flow's cursor executes with."""

        def execute(self, query, vars=None):
            statement(query.as_string(self) if isinstance(query, psycopg2.sql.Composable) else query)
            return super().execute(query, vars)

    connection = sql_db.PsycoConnection
    stock_cursor = connection.cursor

    def cursor(self, *args, **kwargs):
        if active() and len(args) < 2:
            kwargs.setdefault("cursor_factory", Cursor)
        return stock_cursor(self, *args, **kwargs)

    connection.cursor = cursor
    connection.commit = _refusing(connection.commit, lambda *a: "commit on the raw connection")
    stock_session = connection.set_session

    def set_session(self, *args, **kwargs):
        if kwargs.get("autocommit") or (len(args) > 3 and args[3]):
            refuse("autocommit")
        return stock_session(self, *args, **kwargs)

    connection.set_session = set_session
    stock_autocommit = psycopg2.extensions.connection.autocommit

    def set_autocommit(self, value):
        if value:
            refuse("autocommit")
        stock_autocommit.__set__(self, value)

    connection.autocommit = property(lambda self: stock_autocommit.__get__(self), set_autocommit)

    stock_commit, stock_rollback = sql_db.Cursor.commit, sql_db.Cursor.rollback

    def commit(self):
        refuse("commit")
        return stock_commit(self)

    def rollback(self):
        guard = _active()
        # Not while it is being closed, nor on a cursor that was opened beside the flow's.
        if guard is not None and guard.cursor is self and "_obj" in vars(self):
            refuse("rollback")
        return stock_rollback(self)

    stock_borrow = sql_db.ConnectionPool.borrow

    def borrow(self, connection_info):
        with allow():
            return stock_borrow(self, connection_info)

    sql_db.Cursor.commit, sql_db.Cursor.rollback = commit, rollback
    sql_db.ConnectionPool.borrow = borrow


def _sleep():
    stock = time.sleep

    def sleep(seconds):
        if not active() or seconds < 0:
            return stock(seconds)
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            stock(min(max(left, 0), _SLICE))
            if left <= _SLICE:
                return None

    time.sleep = sleep


def _log():
    """A log may go to another system; what a flow logs does not go into a database."""
    from odoo import netsvc

    stock = logging.Handler.handle

    def handle(handler, record):
        if not active():
            return stock(handler, record)
        if isinstance(handler, netsvc.PostgreSQLHandler):
            return False
        with allow():
            return stock(handler, record)

    logging.Handler.handle = handle
