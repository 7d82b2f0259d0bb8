"""A client of Waybill's gateway to the bucket that filestores are in: the requests of docs/decisions/0020-filestores-in-object-storage.md.

All of them may be sent twice. What the gateway does not answer, or refuses for a reason that will pass, is Away: nothing is known of
the file then, neither that it is there nor that it is not.
"""
import collections
import http.client
import logging
import os
import ssl
import threading
import time
import urllib.parse

from . import guard

_logger = logging.getLogger(__name__)

_CONNECT = 3.0  # seconds for a connection
_ANSWER = 30.0  # for an answer, or for some of a content; the gateway gives the bucket 20
_LISTING = 90.0  # for a list; the gateway gives the bucket 60
_PROBE = 5.0  # for the question whether all is well
_PAUSE = 1.0  # seconds after a failure in which nobody waits again
_KEEP = 60.0  # seconds a connection that nobody uses is kept; the gateway keeps it for 120
_IDLE = 8  # connections that are kept
_CHUNK = 1 << 16
_EMPTY = "da/da39a3ee5e6b4b0d3255bfef95601890afd80709"  # the file without any content


class Away(Exception):
    """The gateway or its bucket does not answer. That is neither "stored" nor "not there"."""


class Refused(Exception):
    """The gateway does not take the file, and never will."""


class TooLarge(Refused):
    pass


class NotKept(Exception):
    """A content was there, and could not be written here."""


class _Cut(http.client.HTTPException):
    """A content broke off."""


class Client:
    """The files of one group's databases. Threads, greenlets and forked processes may share it."""

    def __init__(self, url, token, clock=time.monotonic):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("names no gateway: expected http://HOST:PORT")
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = {"Authorization": "Bearer " + token}
        self._clock = clock
        # Not one for each thread: Odoo has a new thread for each request, or a greenlet.
        self._idle, self._lock, self._process = collections.deque(), threading.Lock(), os.getpid()
        self._down, self._why = None, ""

    # -- what is asked

    def fetch(self, database, name, keep):
        """Gives the content of a file to keep, as an iterator of its parts. False where there is no such file."""

        def take(answer):
            if answer.status == 404:
                return False
            try:
                keep(_parts(answer))
            except OSError as error:  # not of the network: see _parts
                raise NotKept("%s: %s" % (type(error).__name__, error)) from error
            return True

        return self._ask("GET", self._file(database, name), take, (200, 404))

    def store(self, database, name, content):
        """Stores a file. Whether it is new."""
        return self._ask("PUT", self._file(database, name), lambda answer: answer.status == 201, (200, 201), content)

    def delete(self, database, name):
        self._ask("DELETE", self._file(database, name), _nothing, (204,))

    def mark(self, database, name):
        self._ask("PUT", self._file(database, "checklist/" + name), _nothing, (204,), b"")

    def unmark(self, database, name):
        self._ask("DELETE", self._file(database, "checklist/" + name), _nothing, (204,))

    def marked(self, database):
        """The names that are marked for collection."""

        def take(answer):
            return b"".join(_parts(answer)).decode("ascii").split()

        return self._ask("GET", self._file(database, "checklist"), take, (200,), seconds=_LISTING)

    def probe(self, database):
        """Asks for a file that need not be there: whether gateway, token and bucket are of use."""
        self._ask("HEAD", self._file(database, _EMPTY), _nothing, (200, 404), seconds=_PROBE, patient=False)

    def stranger(self, database, token):
        """The status with which the same is answered to whoever comes with another token, or with none."""
        connection = self._connect()
        try:
            connection.request("HEAD", self._file(database, _EMPTY), headers={"Authorization": "Bearer " + token} if token else {})
            return connection.getresponse().status
        finally:
            connection.close()

    # -- how

    def _file(self, database, name):
        segment = urllib.parse.quote(database, safe="")
        if not segment.strip("."):
            segment = segment.replace(".", "%2E")
        return "%s/v1/%s/%s" % (self._path, segment, name)

    def _ask(self, method, path, take, expected, content=None, seconds=_ANSWER, patient=True):
        """take makes of an answer with an expected status what is returned. patient: where it failed a moment ago nobody waits again."""
        if patient and self._down is not None:
            if self._clock() < self._down:
                raise Away(self._why)
            self._down = None
        tries = 2  # on connections of its own: there are two gateways, and one of them may just have ended
        with guard.allow():  # where a flow reads a file
            while True:
                connection = self._kept()
                fresh = connection is None
                try:
                    if fresh:
                        tries -= 1
                        connection = self._connect()
                    return self._once(connection, method, path, take, expected, content, seconds)
                except (OSError, http.client.HTTPException) as error:
                    if fresh and (not tries or isinstance(error, TimeoutError)):
                        self._away("%s: %s" % (type(error).__name__, error), error)
                    self._forget()  # what was kept may be as dead
                    _logger.debug("a connection to the gateway was of no use: %r", error)

    def _once(self, connection, method, path, take, expected, content, seconds):
        whole = False
        try:
            connection.sock.settimeout(seconds)
            try:
                connection.request(method, path, content, self._headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before it has read all: a file that is too large
            answer = connection.getresponse()
            if answer.status in expected:
                found = take(answer)
                answer.read()
                whole = answer.isclosed() and not answer.will_close
                return found
            why = answer.read(1000).decode("utf-8", "replace").strip() or answer.reason
            whole = answer.isclosed() and not answer.will_close
            self._refused(answer.status, method, path, why)
        finally:
            if whole:
                self._give_back(connection)
            else:
                connection.close()

    def _refused(self, status, method, path, why):
        why = " ".join(why.split())
        if status == 413:
            raise TooLarge(why)
        why = "%s %s: %d %s" % (method, path, status, why)
        if status in (400, 405, 409, 411, 422):
            raise Refused(why)
        self._away(why)  # also 401: a token of a gateway's that has another key by now

    def _away(self, why, error=None):
        self._down, self._why = self._clock() + _PAUSE, why
        _logger.warning("files: the gateway is of no use (%s)", why)
        raise Away(why) from error

    # -- connections

    def _connect(self):
        if self._tls:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=_CONNECT, context=self._tls)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT)
        connection.connect()
        return connection

    def _kept(self):
        """A connection that nobody uses, or None."""
        with self._lock:
            if self._process != os.getpid():  # forked: these are the parent's
                self._idle, self._process = collections.deque(), os.getpid()
            while self._idle:
                since, connection = self._idle.pop()
                if self._clock() - since < _KEEP:
                    return connection
                connection.close()
        return None

    def _forget(self):
        with self._lock:
            while self._idle:
                self._idle.popleft()[1].close()

    def _give_back(self, connection):
        with self._lock:
            self._idle.append((self._clock(), connection))
            while len(self._idle) > _IDLE:
                self._idle.popleft()[1].close()


def _nothing(_answer):
    return None


def _parts(answer):
    left = answer.length
    while True:
        try:
            part = answer.read(_CHUNK)
        except OSError as error:
            raise _Cut("%s: %s" % (type(error).__name__, error)) from error
        if not part:
            break
        yield part
        if left is not None:
            left -= len(part)
    if left:
        raise _Cut("%d bytes of an answer are missing" % left)
