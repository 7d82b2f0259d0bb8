"""Sessions on a real Redis server, which the test starts itself (Debian: redis-server, python3-redis).

Odoo's part of a store (ids, rotation) is stood in for by what it asks of one; the real Odoo is in internal/bridge.
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

try:
    import redis
except ImportError:
    redis = None

from waybill_probe import paths, pool, served, sessions

TENANTS = [
    {"name": "acme", "database": "acme_production", "hosts": ["acme.example"]},
    {"name": "beta", "database": "beta_production", "hosts": ["beta.example"]},
]
_KEY = re.compile(r"^[A-Za-z0-9_-]{84}$")


def sid(letter, tail=None):
    return letter * 42 + (tail or letter) * 42


class Session(dict):
    def __init__(self, data, sid, new=False):
        super().__init__(data)
        self.sid, self.new = sid, new


class Odoo:
    """What a store of Odoo's brings."""

    renew_missing = True
    session_class = Session

    def is_valid_key(self, key):
        return _KEY.match(key) is not None

    def new(self):
        return self.session_class({}, sid("n"), True)


class Both(sessions.Store, Odoo):
    pass


@unittest.skipUnless(redis and shutil.which("redis-server"), "needs redis-server and python3-redis")
class OnRedis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="wbs")
        cls.socket = os.path.join(cls.folder, "s")
        cls.start()

    @classmethod
    def start(cls):
        cls.server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", cls.socket, "--save", "", "--appendonly", "yes",
             "--dir", cls.folder, "--requirepass", "hunter2", "--maxmemory", "50mb"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(cls.socket)
                if redis.Redis(unix_socket_path=cls.socket, password="hunter2").ping():
                    return
            except (OSError, redis.exceptions.ConnectionError):
                if time.monotonic() > deadline:
                    raise

    @classmethod
    def stop(cls):
        cls.server.terminate()
        cls.server.wait()

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.raw = redis.Redis(unix_socket_path=self.socket, password="hunter2")
        self.raw.flushall()
        where = sessions.parse(json.dumps(
            {"protocol": 1, "url": "unix://" + self.socket, "password": "hunter2", "prefix": "waybill:production:"}
        ).encode())  # fmt: skip
        self.now = 0.0
        self.store = Both()
        self.store.shelf = sessions.Shelf(sessions.connect(where), where.prefix, clock=lambda: self.now)
        listed = pool.parse(json.dumps({"protocol": 1, "tenants": TENANTS}).encode())
        before, pool.current = pool.current, lambda: listed
        self.addCleanup(setattr, pool, "current", before)

    def save(self, session, database="acme_production"):
        with served.serving(database):
            self.store.save(session)

    def get(self, sid, database="acme_production"):
        with served.serving(database):
            return self.store.get(sid)

    def test_kept(self):
        self.save(Session({"uid": 2, "login": "ädmin", "context": {"lang": "de_DE"}}, sid("a")))
        again = self.get(sid("a"))
        self.assertEqual(again, {"uid": 2, "login": "ädmin", "context": {"lang": "de_DE"}})
        self.assertEqual((again.sid, again.new), (sid("a"), False))
        other = Both()  # another pool
        other.shelf = sessions.Shelf(self.raw, "waybill:production:")
        with served.serving("acme_production"):
            self.assertEqual(other.get(sid("a")), again)

    def test_apart(self):
        """A session is unknown at another tenant's host, in another environment, and without a host."""
        self.save(Session({"uid": 2}, sid("a")))
        self.assertEqual(self.get(sid("a"), "beta_production"), {})
        self.assertEqual(self.get(sid("a"), None), {})
        self.assertEqual(self.get(sid("a", "b")), {}, "the half that is written down for a device is not enough")
        self.store.shelf._prefix = "waybill:test:"
        self.assertEqual(self.get(sid("a")), {})

    def test_names_do_not_reach_over(self):
        shelf = self.store.shelf
        self.assertNotEqual(shelf._key("a", "b:" + "c" * 40), shelf._key("a:b", "c" * 40))

    def test_no_cookie_in_redis(self):
        self.save(Session({"uid": 2}, sid("a", "z")))
        everything = b"".join(key + b"".join(k + v for k, v in self.raw.hgetall(key).items()) for key in self.raw.keys())
        self.assertNotIn(b"z" * 42, everything)

    def test_ends_by_itself(self):
        self.save(Session({"uid": 2}, sid("a")))
        self.save(Session({"uid": 2, "deletion_time": time.time() + 30}, sid("b")))
        left = {key.decode()[-42:-41]: self.raw.ttl(key) for key in self.raw.keys()}
        self.assertAlmostEqual(left["a"], 7 * 24 * 3600, delta=5)
        self.assertAlmostEqual(left["b"], 30, delta=5)

    def test_rotation(self):
        """Two ids at once while an id changes; then the old one goes, and with the device both."""
        old, new = sid("a", "o"), sid("a", "w")
        self.save(Session({"uid": 2, "next_sid": new, "deletion_time": time.time() + 120}, old))
        self.save(Session({"uid": 2}, new))
        self.assertEqual(self.get(old)["next_sid"], new)
        self.assertEqual(self.get(new), {"uid": 2})
        (key,) = self.raw.keys()
        self.assertAlmostEqual(self.raw.ttl(key), 7 * 24 * 3600, delta=5)
        with served.serving("acme_production"):
            self.store.delete(self.get(old))
        self.assertEqual(self.get(old), {})
        self.assertEqual(self.get(new), {"uid": 2})
        with served.serving("beta_production"):
            self.store.delete_from_identifiers(["a" * 42])
        self.assertEqual(self.get(new), {"uid": 2}, "another tenant cannot log anybody out")
        with served.serving("acme_production"):
            self.store.delete_from_identifiers(["a" * 42])
        self.assertEqual(self.get(new), {})
        with self.assertRaises(ValueError):
            self.store.delete_from_identifiers("a" * 42)

    def test_missing(self):
        self.save(Session({"uid": 2}, sid("a")))
        wanted = {"a" * 42, "b" * 42} | {"%042d" % i for i in range(2500)}
        threading.current_thread().dbname = "acme_production"  # as in a scheduled job
        self.addCleanup(delattr, threading.current_thread(), "dbname")
        self.assertEqual(self.store.get_missing_session_identifiers(wanted), wanted - {"a" * 42})
        threading.current_thread().dbname = "beta_production"
        self.assertEqual(self.store.get_missing_session_identifiers(wanted), wanted)

    def test_outside_of_requests(self):
        """A WebSocket or a job has no host: the session is looked for in the pool's own tenants, and kept where it says."""
        self.save(Session({"uid": 2, "db": "beta_production"}, sid("a")), "beta_production")
        session = self.store.get(sid("a"))
        self.assertEqual(session["uid"], 2)
        session["uid"] = 3
        self.store.save(session)
        self.assertEqual(self.get(sid("a"), "beta_production")["uid"], 3)
        self.assertEqual(self.get(sid("a")), {})
        with self.assertRaises(ValueError):
            self.store.save(Session({"db": "gamma_production"}, sid("c")))

    def test_no_id(self):
        self.assertTrue(self.get("../../etc/passwd").new)
        with self.assertRaises(ValueError):
            self.save(Session({}, "x"))
        with self.assertRaises(ValueError):
            self.save(Session({"cart": "x" * (1 << 20)}, sid("a")))

    def test_not_a_session(self):
        key = self.store.shelf._key("acme_production", "a" * 42)
        for bad in (b"{", b"[]", b"\xff", b'"x"', b"{" + b" " * (1 << 20) + b"}"):
            self.raw.hset(key, self.store.shelf._field(sid("a")), bad)
            with self.assertLogs(sessions._logger, "WARNING"):
                self.assertEqual(self.get(sid("a")), {}, bad[:10])

    def test_flushed(self):
        self.save(Session({"uid": 2}, sid("a")))
        self.raw.flushall()
        self.assertEqual(self.get(sid("a")), {})

    def test_restarted(self):
        """Connections that the server closed are noticed, and one more try is enough."""
        self.save(Session({"uid": 2}, sid("a")))
        self.stop()
        self.start()
        self.assertEqual(self.get(sid("a")), {"uid": 2}, "it keeps an append-only file")

    def test_away(self):
        self.save(Session({"uid": 2}, sid("a")))
        self.stop()
        try:
            with self.assertLogs(sessions._logger, "WARNING") as logged, self.assertRaises(sessions.Away):
                self.get(sid("a"))
            self.assertNotIn("hunter2", str(logged.output))
            with self.assertNoLogs(sessions._logger, "WARNING") if hasattr(self, "assertNoLogs") else served.serving(None):
                with self.assertRaises(sessions.Away):  # nobody waits again
                    self.get(sid("a"))
        finally:
            self.start()
        with self.assertRaises(sessions.Away):
            self.get(sid("a"))
        self.now += 1
        self.assertEqual(self.get(sid("a")), {"uid": 2})

    def test_silent(self):
        """A server that takes a connection and says nothing holds a request for seconds, not for minutes."""
        self.server.send_signal(signal.SIGSTOP)
        self.addCleanup(self.server.send_signal, signal.SIGCONT)
        started = time.monotonic()
        with self.assertLogs(sessions._logger, "WARNING"), self.assertRaises(sessions.Away):
            self.get(sid("a"))
        self.assertLess(time.monotonic() - started, 5)

    def test_refused(self):
        """Full, it still reads: who is logged in stays so, and nobody is told anything that is not true."""
        self.save(Session({"uid": 2}, sid("a")))
        self.raw.config_set("maxmemory", "1")
        self.addCleanup(self.raw.config_set, "maxmemory", "50mb")
        with self.assertLogs(sessions._logger, "WARNING"), self.assertRaises(sessions.Away):
            self.save(Session({"uid": 3}, sid("b")))
        self.assertEqual(self.get(sid("a")), {"uid": 2})

    def test_wrong_password(self):
        where = sessions.Place({"protocol": 1, "url": "unix://" + self.socket, "password": "hunter3", "prefix": "p:"})
        shelf = sessions.Shelf(sessions.connect(where), where.prefix)
        with self.assertLogs(sessions._logger, "WARNING") as logged, self.assertRaises(sessions.Away):
            shelf.ping()
        self.assertNotIn("hunter3", str(logged.output))


class Where(unittest.TestCase):
    def test_file(self):
        with tempfile.TemporaryDirectory() as folder:
            before, paths.SESSIONS_FILE = paths.SESSIONS_FILE, os.path.join(folder, "sessions.json")
            self.addCleanup(setattr, paths, "SESSIONS_FILE", before)
            self.assertIsNone(sessions.place(), "sessions are in files")
            with open(paths.SESSIONS_FILE, "w", encoding="utf-8") as file:
                file.write('{"protocol": 1, "url": "redis://cache", "prefix": "p:"}')
            self.assertEqual(sessions.place().url, "redis://cache")
            with open(paths.SESSIONS_FILE, "w", encoding="utf-8") as file:
                file.write("{")
            with self.assertRaises(ValueError):
                sessions.place()

    def test_refused(self):
        for bad in (
            b"", b"{", b"[]", b"null", b"\xff", b'{"protocol": 1}', b'{"protocol": 2, "url": "redis://r", "prefix": "p"}',
            b'{"protocol": 1, "url": "http://r", "prefix": "p"}', b'{"protocol": 1, "url": "redis://r", "prefix": ""}',
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=bad):
                sessions.parse(bad)


if __name__ == "__main__":
    unittest.main()
