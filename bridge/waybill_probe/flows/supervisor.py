"""Ends a flow that does not end by itself.

Each flow runs in a thread of its own. At its deadline the running query is cancelled and an exception
is put into the thread, which ends a loop of Python, also one that swallows Exception. What even that
does not end (a C function that does not come back) is left behind: its connection is cut, so that the
database server rolls it back and frees its locks, and the caller answers all the same.
"""
import ctypes
import faulthandler
import logging
import os
import socket
import sys
import threading
import time

import psycopg2

_logger = logging.getLogger(__name__)

_GRACE = 5.0  # seconds between the deadline and giving up
_AGAIN = 0.5  # seconds between two attempts to end the thread
# A function that holds Python's lock for ever stops this thread too. Then the process is ended, with a
# trace in the log, this many seconds after the grace; flows.lost tells the next one of it.
_LAST = 20.0


class Hung(BaseException):
    """Put into a flow's thread at its deadline. No Exception, so that the flow does not take it for its own."""


class Thread:
    """Runs ``work(thread)`` and then, which nothing interrupts, ``clean()``."""

    def __init__(self, name, work, clean):
        self.name = name
        self.late = False  # it was told to end
        self._work = work
        self._clean = clean
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._cleaning = False
        self._connection = None
        self._thread = threading.Thread(target=self._main, name="waybill.flow." + name, daemon=True)

    # -- in the flow's thread

    def _main(self):
        try:
            self._to_the_end_of_work()
            self._clean()
        except BaseException:  # what is to be told is told by whoever waits for this thread
            _logger.info("the end of flow %s", self.name, exc_info=True)
        finally:
            self._done.set()

    def _to_the_end_of_work(self):
        work = self._work
        while True:
            try:
                if work is not None:
                    step, work = work, None
                    step(self)
                with self._lock:
                    self._cleaning = True
                for _ in range(100):  # one that was on its way arrives here
                    pass
                return
            except Hung:
                continue

    def opened(self, connection):
        """The connection of the flow's cursor: its query is cancelled at the deadline."""
        self._connection = connection

    # -- in the caller's thread

    def run(self, limit):
        """Whether the flow's thread ended, by itself or made to."""
        self._thread.start()
        watched = _watch(limit + _GRACE + _LAST)
        try:
            return self._done.wait(limit) or self._stop()
        except BaseException:  # the caller has to go: the server stops, the deadline of an update passed
            self._stop()
            raise
        finally:
            if watched:
                faulthandler.cancel_dump_traceback_later()

    def _stop(self):
        self.late = True
        end = time.monotonic() + _GRACE
        while not self._done.is_set() and time.monotonic() < end:
            self._cancel()
            with self._lock:
                if not self._cleaning and self._thread.ident:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread.ident), ctypes.py_object(Hung)
                    )
            self._done.wait(_AGAIN)
        if self._done.is_set():
            return True
        self._cut()
        _logger.error("flow %s does not end; its thread is left behind, its connection cut", self.name)
        return self._done.wait(_AGAIN)

    def _cancel(self):
        try:
            if self._connection is not None and not self._connection.closed:
                self._connection.cancel()
        except psycopg2.Error:
            _logger.info("the query of flow %s could not be cancelled", self.name, exc_info=True)

    def _cut(self):
        """Ends the session from this side: the thread that owns the connection may be anywhere."""
        if not isinstance(self._connection, psycopg2.extensions.connection) or self._connection.closed:
            return  # in an update all cursors share one connection, and the whole process ends
        try:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
            self._connection.leaked = True  # the pool may have its place back
        except (OSError, psycopg2.Error):
            _logger.info("the connection of flow %s could not be cut", self.name, exc_info=True)


def _watch(seconds):
    try:
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    except (AttributeError, OSError, RuntimeError, ValueError):  # no stderr that is a file
        return False
    return True
