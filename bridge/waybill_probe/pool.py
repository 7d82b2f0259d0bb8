"""pool.json: what this pool may do. Read again when the file changes."""
import json
import logging
import os
import threading
import time

from . import paths

_logger = logging.getLogger(__name__)

_LIMIT = 8 << 20  # bytes of a file that is taken seriously
_LOOK_EVERY = 0.1  # seconds between two looks at the file


class Watched:
    """The parsed content of a file that is replaced now and then.

    At most one stat per 100 ms. While the file cannot be read or parsed the last good content
    stays in force; ``None`` before there was any.
    """

    def __init__(self, path, parse, clock=time.monotonic):
        self.path = path
        self._parse = parse
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = None
        self._stamp = None
        self._value = None

    def get(self):
        now = self._clock()
        if self._looked is not None and now - self._looked < _LOOK_EVERY:
            return self._value
        with self._lock:
            self._looked = now
            try:
                stat = os.stat(self.path)
                stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
                if stamp != self._stamp:
                    with open(self.path, "rb") as file:
                        raw = file.read(_LIMIT + 1)
                    if len(raw) > _LIMIT:
                        raise ValueError("larger than %d bytes" % _LIMIT)
                    self._value = self._parse(raw)
                    self._stamp = stamp
            except (OSError, ValueError) as error:
                if self._value is not None and self._stamp is not None:
                    _logger.warning("%s cannot be used (%s): what it said before stays in force", self.path, error)
                    self._stamp = None
            return self._value


class Tenant:
    __slots__ = ("name", "database", "hosts", "cron", "prune_views", "gc_hold", "modules")

    def __init__(self, data):
        self.name = str(data["name"])
        self.database = str(data["database"])
        self.hosts = tuple(str(host).lower() for host in data.get("hosts") or ())
        self.cron = bool(data.get("cron"))
        self.prune_views = bool(data.get("prune_views"))
        self.gc_hold = bool(data.get("gc_hold"))
        self.modules = {str(k): str(v) for k, v in (data.get("modules") or {}).items()}
        if not self.database:
            raise ValueError("tenant %r has no database" % self.name)


class Pool:
    """A PoolConfig of protocol.go."""

    def __init__(self, data):
        if data.get("protocol") != paths.PROTOCOL:
            raise ValueError("speaks protocol %r, this bridge %d" % (data.get("protocol"), paths.PROTOCOL))
        self.generation = int(data.get("generation") or 0)
        self.environment = str(data.get("environment") or "")
        self.pool = str(data.get("pool") or "")
        self.release = str(data.get("release") or "")
        self.drain = bool(data.get("drain"))
        self.keep_assets = bool(data.get("keep_assets"))
        self.tenants = [Tenant(tenant) for tenant in data.get("tenants") or ()]
        self._by_database = {}
        self._by_host = {}
        for tenant in self.tenants:
            if tenant.database in self._by_database:
                raise ValueError("database %r is listed twice" % tenant.database)
            self._by_database[tenant.database] = tenant
            for host in tenant.hosts:
                if host in self._by_host:
                    raise ValueError("host %r is listed twice" % host)
                self._by_host[host] = tenant

    def tenant_of_host(self, host):
        """The tenant of a Host header (a port does not matter), or None."""
        return self._by_host.get(host_name(host))

    def tenant_of_database(self, database):
        return self._by_database.get(database)


def host_name(host):
    """Host header without port, lower case, without the root's dot."""
    host = (host or "").strip().lower()
    if host.startswith("["):  # IPv6 literal
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def parse(raw):
    try:
        data = json.loads(raw.decode("utf-8"))
        if not isinstance(data, dict):
            raise ValueError("is not an object")
        return Pool(data)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError("malformed: %r" % error) from error


_file = Watched(paths.POOL_FILE, parse)


def current():
    """The Pool in force, or None where there is no pool.json."""
    return _file.get()


def tenant(database):
    """The listed tenant of a database, or None."""
    config = current()
    return config.tenant_of_database(database) if config else None
