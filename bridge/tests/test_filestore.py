"""Files in object storage: the copies of a pod, and the client of a gateway that is played by the test, with its faults.

The real gateway and the real Odoo are in internal/bridge.
"""
import hashlib
import http.server
import json
import os
import tempfile
import threading
import time
import unittest
import unittest.mock
import urllib.parse

from waybill_probe import copies, filestore, gateway, guard

DATABASE = "acme / production"
EMPTY = "da/da39a3ee5e6b4b0d3255bfef95601890afd80709"


def name_of(content):
    digest = hashlib.sha1(content).hexdigest()
    return "%s/%s" % (digest[:2], digest)


class Gateway(http.server.ThreadingHTTPServer):
    """Decision 0020's table, over a dict. A fault is done once, or as often as it says so."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.marks, self.faults, self.asked, self.connections = {}, set(), [], [], 0
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server_port


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.connections += 1

    def log_message(self, *_arguments):
        pass

    def handle_one(self):
        server, parts = self.server, self.path.split("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.asked.append((self.command, self.path))
        fault = server.faults.pop(0) if server.faults else None
        if fault == "hang up":
            self.close_connection = True
            return
        if self.headers.get("Authorization") != "Bearer token":
            return self.answer(401, b"no such token\n")
        if fault == "bucket":
            return self.answer(503, b"the bucket does not answer\n")
        if fault == "large":
            return self.answer(413, b"9 bytes are more than 8\n")
        assert urllib.parse.unquote(parts[2]) == DATABASE, self.path
        name = "/".join(parts[-2:])
        if parts[3:] == ["checklist"]:
            return self.answer(200, "".join(one + "\n" for one in sorted(server.marks)).encode())
        if parts[3] == "checklist":
            (server.marks.add if self.command == "PUT" else server.marks.discard)(name)
            return self.answer(204)
        if self.command == "PUT":
            new = name not in server.files
            server.files.setdefault(name, body)
            return self.answer(201 if new else 200)
        if self.command == "DELETE":
            server.files.pop(name, None)
            return self.answer(204)
        if name not in server.files:
            return self.answer(404, b"there is no such file\n")
        return self.answer(200, server.files[name], cut=fault == "cut")

    do_GET = do_HEAD = do_PUT = do_DELETE = handle_one

    def answer(self, status, body=b"", cut=False):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Gateway()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "filestore")
        self.now, self.wall = 1000.0, time.time()
        self.client = gateway.Client(self.server.url, "token", lambda: self.now)
        self.local = self.copies()
        self.files = filestore.Files(self.client, self.local)

    def copies(self, limit=1 << 30):
        found = copies.Copies(self.folder, limit, lambda: self.wall)
        found.claim()
        return found

    def path(self, name):
        return os.path.join(self.folder, "acme", name)

    def content(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def left(self):
        return sorted(file for _folder, _folders, files in os.walk(self.folder) for file in files if not file.startswith(".waybill-"))


class TestFiles(Case):
    def test_written_and_read_in_another_pod(self):
        content = os.urandom(300000)
        name = name_of(content)
        self.assertTrue(self.files.write(DATABASE, name, self.path(name), content))
        self.assertEqual(self.server.files, {name: content})
        self.assertEqual(self.server.marks, {name})
        self.assertEqual([method for method, path in self.server.asked if "checklist" in path], ["PUT"])
        self.assertIn("checklist", self.server.asked[0][1], "it is marked before it is there")
        self.assertEqual(self.content(name), content)
        self.local.remove(self.path(name))  # now this is another pod
        self.assertTrue(self.files.present(DATABASE, name, self.path(name)))
        self.assertEqual(self.content(name), content)
        asked = len(self.server.asked)
        self.assertTrue(self.files.present(DATABASE, name, self.path(name)))
        self.assertEqual(len(self.server.asked), asked, "the gateway is not asked for what is here")
        self.assertEqual(self.server.connections, 1)

    def test_a_copy_says_nothing_of_the_bucket(self):
        self.files.write(DATABASE, name_of(b"x"), self.path(name_of(b"x")), b"x")
        self.server.files.clear()  # another pod has collected it
        self.assertTrue(self.files.write(DATABASE, name_of(b"x"), self.path(name_of(b"x")), b"x"))
        self.assertEqual(self.server.files, {name_of(b"x"): b"x"})

    def test_what_is_there_is_fetched_to_be_compared(self):
        name = name_of(b"x")
        self.server.files[name] = b"x"
        self.assertFalse(self.files.write(DATABASE, name, self.path(name), b"x"))
        self.assertEqual(self.content(name), b"x")

    def test_there_is_no_such_file(self):
        self.assertFalse(self.files.present(DATABASE, EMPTY, self.path(EMPTY)))
        self.assertEqual(self.left(), [])

    def test_empty_file(self):
        self.assertTrue(self.files.write(DATABASE, EMPTY, self.path(EMPTY), b""))
        self.local.remove(self.path(EMPTY))
        self.assertTrue(self.files.present(DATABASE, EMPTY, self.path(EMPTY)))
        self.assertEqual(self.content(EMPTY), b"")

    def test_something_else_is_not_taken_for_the_file(self):
        name = name_of(b"x")
        self.server.files[name] = b"y"
        with self.assertRaisesRegex(gateway.Away, "is not that file"):
            self.files.present(DATABASE, name, self.path(name))
        self.assertEqual(self.left(), [])

    def test_cut_off(self):
        content = os.urandom(1 << 20)
        name = name_of(content)
        self.server.files[name] = content
        self.server.faults = ["cut", "cut"]
        with self.assertRaises(gateway.Away):
            self.files.present(DATABASE, name, self.path(name))
        self.assertEqual(self.left(), [])
        self.now += 2
        self.server.faults = ["cut"]
        self.assertTrue(self.files.present(DATABASE, name, self.path(name)), "it is tried a second time")
        self.assertEqual(self.left(), [name[3:]])

    def test_bucket_away(self):
        name = name_of(b"x")
        self.server.faults = ["bucket"]
        with self.assertRaisesRegex(gateway.Away, "503 the bucket does not answer"):
            self.files.write(DATABASE, name, self.path(name), b"x")
        self.assertEqual(self.left(), [])
        asked = len(self.server.asked)
        with self.assertRaises(gateway.Away):
            self.files.present(DATABASE, name, self.path(name))
        self.assertEqual(len(self.server.asked), asked, "for a moment nobody waits again")
        self.now += 2
        self.assertTrue(self.files.write(DATABASE, name, self.path(name), b"x"))

    def test_gateway_away(self):
        self.files.write(DATABASE, name_of(b"x"), self.path(name_of(b"x")), b"x")
        away = filestore.Files(gateway.Client("http://127.0.0.1:9", "token"), self.local)
        self.assertTrue(away.present(DATABASE, name_of(b"x"), self.path(name_of(b"x"))))
        for what in (
            lambda: away.present(DATABASE, EMPTY, self.path(EMPTY)),
            lambda: away.write(DATABASE, EMPTY, self.path(EMPTY), b""),
            lambda: away.mark(DATABASE, EMPTY),
            lambda: away.marked(DATABASE),
            lambda: away.probe(DATABASE),
        ):
            with self.assertRaises(gateway.Away):
                what()
        self.assertEqual(self.left(), [name_of(b"x")[3:]])

    def test_kept_connections_that_were_closed(self):
        self.files.probe(DATABASE)
        self.server.faults = ["hang up"]
        self.files.probe(DATABASE)
        self.assertEqual(self.server.connections, 2)
        self.server.faults = ["hang up", "hang up"]
        self.files.probe(DATABASE)
        self.server.faults = ["hang up", "hang up", "hang up"]
        with self.assertRaises(gateway.Away):
            self.files.probe(DATABASE)

    def test_refused(self):
        self.server.faults = [None, "large"]
        with self.assertRaisesRegex(gateway.TooLarge, "^9 bytes are more than 8$"):
            self.files.write(DATABASE, EMPTY, self.path(EMPTY), b"")
        stranger = gateway.Client(self.server.url, "another")
        with self.assertRaisesRegex(gateway.Away, "401 Unauthorized"):
            stranger.probe(DATABASE)

    def test_collected(self):
        for content in (b"x", b"y"):
            self.files.write(DATABASE, name_of(content), self.path(name_of(content)), content)
        self.assertEqual(self.files.marked(DATABASE), sorted([name_of(b"x"), name_of(b"y")]))
        self.files.remove(DATABASE, name_of(b"x"), self.path(name_of(b"x")))
        self.files.remove(DATABASE, name_of(b"x"), self.path(name_of(b"x")))  # a collection that is done again
        self.files.unmark(DATABASE, name_of(b"x"))
        self.assertEqual(self.server.files, {name_of(b"y"): b"y"})
        self.assertEqual(self.server.marks, {name_of(b"y")})
        self.assertEqual(self.left(), [name_of(b"y")[3:]])

    def test_many_at_once(self):
        contents = [b"%d" % (number % 7) * 70000 for number in range(40)]
        failed = []

        def work(content):
            try:
                name = name_of(content)
                self.files.write(DATABASE, name, self.path(name), content)
                self.local.remove(self.path(name))
                if not self.files.present(DATABASE, name, self.path(name)):
                    failed.append(name)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=[content]) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(set(self.left()) - {name_of(content)[3:] for content in contents}, set())

    def test_forked(self):
        self.files.probe(DATABASE)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                self.files.probe(DATABASE)
                os.write(writer, b"ok")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual(os.read(reader, 2), b"ok")
        self.files.probe(DATABASE)
        self.assertEqual(self.server.connections, 2, "a process has its own connections")


class TestCopies(Case):
    def swept(self):
        for thread in threading.enumerate():
            if thread.name == "waybill.copies":
                thread.join(20)
                self.assertFalse(thread.is_alive())

    def add(self, local, content, used):
        name = name_of(content)
        local.add(self.path(name), [content])
        os.utime(self.path(name), (self.wall - used, self.wall - 9999))
        return name[3:]

    def test_the_longest_unused_go(self):
        local = self.copies(limit=10 * 4096)
        names = [self.add(local, b"%d" % number * 4096, used=3600 - number) for number in range(9)]
        fresh = self.add(local, b"fresh", used=30)
        self.assertEqual(len(self.left()), 10)
        local._start = lambda: local.sweep()  # here and not beside
        last = self.add(local, b"last", used=0)
        self.assertEqual(self.left(), sorted([*names[2:], fresh, last]))

    def test_what_was_just_used_stays(self):
        local = self.copies(limit=4096)
        local._start = lambda: local.sweep()
        names = [self.add(local, b"%d" % number, used=0) for number in range(3)]
        self.assertEqual(self.left(), sorted(names))
        swept = []
        local._start = lambda: swept.append(True)
        names.append(self.add(local, b"3", used=0))
        self.assertEqual(swept, [], "nobody looks again where there was nothing to remove a moment ago")
        self.wall += 700
        local.has(self.path("%s/%s" % (names[0][:2], names[0])))
        local._start = lambda: local.sweep()
        names.append(self.add(local, b"4", used=0))
        self.assertEqual(self.left(), sorted([names[0], names[-1]]))

    def test_beside(self):
        local = self.copies(limit=2 * 4096)
        for number in range(3):
            self.add(local, b"%d" % number, used=3600)
        self.swept()
        self.assertLess(len(self.left()), 3)

    def test_figure_is_found_again(self):
        local = self.copies(limit=2 * 4096)
        local._start = lambda: local.sweep()
        for number in range(2):
            self.add(local, b"%d" % number, used=3600)
        with open(os.path.join(self.folder, ".waybill-copies"), "wb"):
            pass
        self.add(local, b"2", used=0)
        self.assertEqual(len(self.left()), 1)

    def test_use_is_noted_once_a_minute(self):
        name = self.add(self.local, b"x", used=30)
        path = self.path("%s/%s" % (name[:2], name))
        self.assertTrue(self.local.has(path))
        self.assertAlmostEqual(os.stat(path).st_atime, self.wall - 30, delta=1)
        self.wall += 31
        self.assertTrue(self.local.has(path))
        self.assertAlmostEqual(os.stat(path).st_atime, self.wall, delta=1)
        self.assertAlmostEqual(os.stat(path).st_mtime, self.wall - 31 - 9999, delta=1)

    def test_abandoned(self):
        self.add(self.local, b"x", used=0)
        folder = os.path.dirname(self.path(name_of(b"x")))
        for file, age in (("old", 9999), ("young", 9)):
            path = os.path.join(folder, ".new-" + file)
            with open(path, "wb"):
                pass
            os.utime(path, (self.wall - age, self.wall - age))
        self.local.sweep()
        self.assertEqual(self.left(), sorted([".new-young", name_of(b"x")[3:]]))

    def test_a_folder_with_files_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "acme"))
            with self.assertRaisesRegex(copies.Occupied, "acme"):
                copies.Copies(folder, 1).claim()
        self.copies()  # one that it has made itself, again

    def test_in_a_flow(self):
        local = self.copies(limit=4096)
        found = guard.Guard()
        refusing = guard._refusing(threading.Thread.start, lambda thread: "start of thread %s" % thread.name)
        with unittest.mock.patch.object(threading.Thread, "start", refusing), guard.flow(found):
            for number in range(2):
                self.add(local, b"%d" % number, used=3600)
        self.swept()
        self.assertEqual(found.violations, [])
        self.assertLess(len(self.left()), 2)


class TestConfig(unittest.TestCase):
    GOOD = {"protocol": 1, "url": "http://files:8082", "token": "abc.def", "cache": 1 << 30}

    def test_parse(self):
        where = filestore.parse(json.dumps(self.GOOD).encode())
        self.assertEqual((where.url, where.token, where.cache), ("http://files:8082", "abc.def", 1 << 30))
        for bad in (
            b"", b"[]", b"\xff", json.dumps({}).encode(),
            *(json.dumps(self.GOOD | change).encode() for change in ({"protocol": 2}, {"url": None}, {"token": ""}, {"token": "a b"}, {"cache": 0}, {"cache": "1"}, {"cache": True})),
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=bad):
                filestore.parse(bad)
        for url in ("", "files:8082", "ftp://files", "http://", "http://user@files", "http://files?x=1"):
            with self.assertRaises(ValueError, msg=url):
                gateway.Client(url, "token")

    def test_names(self):
        for name in (EMPTY, name_of(b"x")):
            self.assertTrue(copies.NAME.match(name))
        for name in ("", "checklist", "aa/" + EMPTY[3:], EMPTY + "/", EMPTY + "\n", EMPTY.upper(), "../" + EMPTY[3:]):
            self.assertFalse(copies.NAME.match(name), name)


if __name__ == "__main__":
    unittest.main()
