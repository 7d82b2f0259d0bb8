"""Sessions in Redis, where the environment keeps them there: a login survives its pool.

Odoo's own store goes on deciding: how an id is made, when it changes, and when a session is refused (deletion time, token,
inactivity). Only where the data lies is another matter, and that is what is here:

    PREFIX LENGTH:DATABASE:IDENTIFIER     a hash that ends by itself
        sha256(SID)  ->  JSON             one for each id that the session has at the moment: two while it changes

IDENTIFIER is the half of an id that stays when the id changes, and that Odoo writes down for a device. Below it all of a
session ends at once, when a device is logged out. The other half is a secret; of it Redis gets no more than a hash.

The database is that of the request's host (served.py), never one that the session names. So an id of one tenant's session
is unknown at another's host.
"""
import hashlib
import json
import logging
import threading
import time

from . import paths, pool, served

_logger = logging.getLogger(__name__)

_WAIT = 2.0  # seconds for a connection or an answer
_PAUSE = 1.0  # seconds after a failure in which nobody waits again
_IDENTIFIER = 42  # characters, as Odoo's STORED_SESSION_BYTES
_LIMIT = 1 << 20  # bytes of a session
_KEEP = 7 * 24 * 3600  # seconds without use, where Odoo does not say


class Away(Exception):
    """Redis does not answer, or refuses. Nothing is known of the session: that is neither "logged in" nor "logged out"."""


class Place:
    """A SessionsConfig of protocol.go."""

    def __init__(self, data):
        if data.get("protocol") != paths.PROTOCOL:
            raise ValueError("speaks protocol %r, this bridge %d" % (data.get("protocol"), paths.PROTOCOL))
        self.url, self.prefix = str(data["url"]), str(data["prefix"])
        self.password = str(data.get("password") or "")
        if not self.url.startswith(("redis://", "rediss://", "unix://")) or not self.prefix:
            raise ValueError("names no Redis server, or no prefix")


def parse(raw):
    try:
        data = json.loads(raw.decode("utf-8"))
        if not isinstance(data, dict):
            raise ValueError("is not an object")
        return Place(data)
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError("malformed: %r" % error) from error


def place():
    """Where this pool's sessions are; None: in files. A file that is there and cannot be used is an error: the pool shall not start."""
    try:
        with open(paths.SESSIONS_FILE, "rb") as file:
            return parse(file.read(1 << 16))
    except FileNotFoundError:
        return None


def connect(where):
    """A client of the Redis server. It connects when it is first asked."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise RuntimeError(
            "this environment keeps sessions in Redis, and the image has no Python package redis: "
            "add python3-redis to the base, or take redis.sessions out of the estate"
        ) from error
    return redis.Redis.from_url(
        where.url,
        password=where.password or None,
        socket_timeout=_WAIT,  # also of connecting
        retry=Retry(NoBackoff(), 0),  # Shelf tries again itself
        client_name="waybill",
    )


class Shelf:
    """Sessions of several databases on one Redis server. All of them are JSON objects, by id."""

    def __init__(self, client, prefix, clock=time.monotonic):
        import redis

        self._client, self._prefix, self._clock = client, prefix, clock
        self._errors = redis.exceptions
        self._down = None  # until when nobody asks
        self._why = ""

    def _key(self, database, identifier):
        # A database's name may hold any character; it must not reach into another's keys.
        return "%s%d:%s:%s" % (self._prefix, len(database), database, identifier)

    @staticmethod
    def _field(sid):
        return hashlib.sha256(sid.encode("ascii")).hexdigest()

    def _ask(self, what):
        if self._down is not None:
            if self._clock() < self._down:
                raise Away(self._why)
            self._down = None
        try:
            try:
                return what()
            except self._errors.ConnectionError:
                # A server that was restarted has closed connections that look fine from here. All that is asked may be
                # asked twice.
                self._client.connection_pool.disconnect(inuse_connections=False)
                return what()
        except (self._errors.ConnectionError, self._errors.TimeoutError, OSError) as error:
            self._down = self._clock() + _PAUSE
            self._away(error)
        except self._errors.RedisError as error:  # it answers, and refuses: full, or no rights
            self._away(error)

    def _away(self, error):
        self._why = "%s: %s" % (type(error).__name__, error)
        _logger.warning("sessions: Redis is of no use (%s); requests with a session get 503 until it is", self._why)
        raise Away(self._why) from error

    def ping(self):
        self._ask(self._client.ping)

    def get(self, databases, sid):
        """(database, data) of a session, in the first of the databases that has it; (None, None) where none has."""

        def what():
            pipe = self._client.pipeline(transaction=False)
            for database in databases:
                pipe.hget(self._key(database, sid[:_IDENTIFIER]), self._field(sid))
            return pipe.execute()

        for database, raw in zip(databases, self._ask(what) if databases else ()):
            if raw is None:
                continue
            try:
                data = json.loads(raw) if len(raw) <= _LIMIT else None
            except ValueError:
                data = None
            if isinstance(data, dict):
                return database, data
            _logger.warning("sessions: what is stored of a session of %s is no session; its person logs in again", database)
        return None, None

    def put(self, database, sid, data, seconds):
        raw = json.dumps(data, separators=(",", ":"))
        if len(raw) > _LIMIT:
            raise ValueError("a session of database %s has %d bytes; at most %d are kept" % (database, len(raw), _LIMIT))
        key = self._key(database, sid[:_IDENTIFIER])

        def what():
            pipe = self._client.pipeline(transaction=True)
            pipe.hset(key, self._field(sid), raw)
            pipe.expire(key, max(1, int(seconds)))
            return pipe.execute()

        self._ask(what)

    def drop(self, databases, sid):
        self._each(databases, lambda pipe, database: pipe.hdel(self._key(database, sid[:_IDENTIFIER]), self._field(sid)))

    def drop_all(self, databases, identifiers):
        """Ends sessions by the half of their ids that stays."""
        for identifier in identifiers:
            self._each(databases, lambda pipe, database, of=identifier: pipe.delete(self._key(database, of)))

    def missing(self, databases, identifiers):
        """Those identifiers of which there is no session."""
        identifiers = list(identifiers)
        found = set()
        for at in range(0, len(identifiers), 1000):
            some = identifiers[at : at + 1000]
            for database in databases:
                answers = self._each([database], lambda pipe, database, some=some: [pipe.exists(self._key(database, one)) for one in some])
                found.update(one for one, there in zip(some, answers) if there)
        return set(identifiers) - found

    def _each(self, databases, command):
        def what():
            pipe = self._client.pipeline(transaction=False)
            for database in databases:
                command(pipe, database)
            return pipe.execute()

        return self._ask(what) if databases else []


class Store:
    """Where sessions lie, to be put before a store of Odoo's (which makes ids, changes them and ends sessions)."""

    shelf = None

    def get(self, sid):
        if not self.is_valid_key(sid):
            return self.new()
        _database, data = self._guard(self.shelf.get, databases(), sid)
        if data is None:
            return self.new() if self.renew_missing else self.session_class({}, sid, False)
        return self.session_class(data, sid, False)

    def save(self, session):
        if not self.is_valid_key(session.sid):
            raise ValueError("this is no session's id")
        listed = databases()
        if len(listed) != 1:  # outside of a request: the session knows where it belongs
            listed = [name for name in listed if name == session.get("db")]
        if not listed:
            raise ValueError("a session of database %r cannot be kept: no tenant of this pool has it" % session.get("db"))
        self._guard(self.shelf.put, listed[0], session.sid, dict(session), self._seconds(session))

    def delete(self, session):
        self._guard(self.shelf.drop, databases(), session.sid)

    def delete_from_identifiers(self, identifiers):
        identifiers = list(identifiers)
        if isinstance(identifiers, str) or not all(len(one) == _IDENTIFIER and self.is_valid_key(one * 2) for one in identifiers):
            raise ValueError("these are no identifiers of sessions")
        self._guard(self.shelf.drop_all, databases(), identifiers)

    def get_missing_session_identifiers(self, identifiers):
        return self._guard(self.shelf.missing, databases(), identifiers)

    def vacuum(self, *_args, **_options):
        """Nothing to collect: what nobody uses ends by itself."""

    def list(self):
        raise NotImplementedError("sessions in Redis are not listed")

    def _seconds(self, session):
        """How long a session is kept without being saved again; as Odoo keeps its files."""
        if session.get("deletion_time") and not session.get("next_sid"):
            return session["deletion_time"] - time.time()
        return self.inactivity()

    def inactivity(self):
        return _KEEP

    def _guard(self, what, *arguments):
        return what(*arguments)


def databases():
    """The databases in which this thread may look for a session: that of its request, or of its job, or all of the pool's."""
    in_request, own = served.request_database()
    if in_request:
        return [own] if own else []
    config = pool.current()
    listed = [tenant.database for tenant in config.tenants] if config else []
    named = getattr(threading.current_thread(), "dbname", None)
    return [named] if named in listed else listed


_shelf = None


def problem():
    """Why sessions cannot be reached; empty where they can, or are in files."""
    if _shelf is None:
        return ""
    try:
        _shelf.ping()
    except Away as error:
        return "sessions are kept in Redis, which is of no use: %s" % error
    return ""


def install():
    global _shelf
    try:
        where = place()
        if where is None:
            return
        client = connect(where)
    except (OSError, ValueError, RuntimeError) as error:
        # Odoo goes on without a server-wide module that cannot be loaded. With sessions in files everybody would be logged out.
        _logger.critical("sessions: %s: %s", paths.SESSIONS_FILE, error)
        raise SystemExit(1) from error
    import werkzeug.exceptions

    from odoo import http

    class Unavailable(werkzeug.exceptions.ServiceUnavailable):
        """Nobody is logged out, and nobody is let in: that would lose what a person is about to send."""

        description = (
            "Your session cannot be looked up at the moment. Nothing is lost and you stay logged in: please try again in a few seconds."
        )

        def __init__(self):
            super().__init__(retry_after=5)

    class RedisSessionStore(Store, http.FilesystemSessionStore):
        def inactivity(self):
            return http.get_session_max_inactivity(http.request.env if http.request else None)

        def _guard(self, what, *arguments):
            try:
                return what(*arguments)
            except Away as error:
                raise Unavailable() from error

    _shelf = Shelf(client, where.prefix)
    store = RedisSessionStore(path="/nonexistent", session_class=http.Session, renew_missing=True)
    store.shelf = _shelf
    http.Application.session_store = property(lambda _app: store)
    _logger.info("sessions are kept in Redis, under %s", where.prefix)
