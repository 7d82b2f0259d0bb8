import importlib.util
import os
import re
import signal
import sys
import threading
import unittest

_FOLDER = os.path.join(os.path.dirname(__file__), "../waybill_probe/signals")


def load(name):  # by file: the package beside it needs Odoo
    spec = importlib.util.spec_from_file_location("signals_" + name, os.path.join(_FOLDER, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


memory, declaration, wording = load("memory"), load("declaration"), load("wording")


def child(work):
    """Runs work in a forked process; returns its pid once it has ended or killed itself."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


class Memory(unittest.TestCase):
    def test_bounds_are_those_of_go(self):
        with open(os.path.join(_FOLDER, "../../../internal/bridge/signals.go"), encoding="utf-8") as file:
            text = re.search(r"SignalBounds = \[\]float64\{(.*?)\}", file.read(), re.S)[1]
        self.assertEqual([float(number) for number in text.split(",") if number.strip()], list(memory.BOUNDS))

    def test_buckets(self):
        self.assertEqual(memory.bucket(0), 0)
        self.assertEqual(memory.bucket(4_000_000), 0)
        self.assertEqual(memory.bucket(4_000_001), 1)
        self.assertEqual(memory.bucket(40_000_000_000), len(memory.BOUNDS) - 1)
        self.assertEqual(memory.bucket(40_000_000_001), memory.BUCKETS - 1)

    def test_nothing_is_lost_when_a_process_is_killed(self):
        shared = memory.Memory()

        def work():
            cell = shared.index("db\0call\0sale")
            for _turn in range(1000):
                shared.add(cell, 3, 7)
            shared.note("it went wrong")
            os.kill(os.getpid(), signal.SIGKILL)

        for _generation in range(5):
            child(work)
        fields = shared.read("db\0call\0")["sale"]
        self.assertEqual((fields[3], fields[memory.TOOK]), (5000, 35000))
        self.assertEqual([m[:2] for m in shared.messages()], [("it went wrong", 5)])
        self.assertEqual(shared._header(memory._USED), 1, "the slot of the one before is used again")

    def test_processes_at_one_time(self):
        shared = memory.Memory()
        shared.add(shared.index("x\0a"), memory.FAILED)  # the master counts too, before it forks
        pids, go = [], os.pipe()
        for number in range(8):
            pid = os.fork()
            if not pid:
                os.close(go[1])
                os.read(go[0], 1)  # all of them begin together
                for turn in range(500):
                    shared.add(shared.index("x\0%d" % ((turn + number) % 20)), memory.REFUSED, synthetic=True)
                    shared.add(shared.index("x\0a"), memory.FAILED)
                os._exit(0)
            pids.append(pid)
        os.close(go[0])
        os.close(go[1])
        for pid in pids:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        counted = shared.read("x\0")
        self.assertEqual(len(counted), 21, "every key has one cell")
        self.assertEqual(counted.pop("a")[memory.FAILED], 4001)
        self.assertEqual(sum(f[memory.SYNTHETIC + memory.REFUSED] for f in counted.values()), 4000)

    def test_threads(self):
        shared = memory.Memory()
        cell = shared.index("x\0a")
        before, _ = sys.getswitchinterval(), sys.setswitchinterval(1e-6)
        try:
            threads = [threading.Thread(target=lambda: [shared.add(cell, 0) for _turn in range(2000)]) for _n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(before)
        self.assertEqual(shared.read("x\0")["a"][0], 16000)

    def test_limits(self):
        shared = memory.Memory()
        for number in range(memory._KEYS):
            self.assertEqual(shared.index("k%d" % number), number)
        self.assertIsNone(shared.index("one more"))
        self.assertIsNone(shared.index("x" * 500))
        shared.add(shared.index("one more"), 0)
        self.assertEqual(shared.lost(), 1)
        for number in range(3 * memory._MESSAGES):
            shared.note("message %d" % number)
        shared.note("x" * 5000)
        newest = shared.messages()
        self.assertEqual(len(newest), memory._MESSAGES)
        self.assertEqual(newest[0][0], "message %d" % (3 * memory._MESSAGES - 1))

    def test_virtual_memory_is_small(self):  # Odoo recycles a worker that has too much
        self.assertLess(memory._SLOT, 4 << 20)


class Declaration(unittest.TestCase):
    def test_good(self):
        self.assertEqual(
            declaration.parse(b'"""Ours."""\nCALLS = {"lane_plan": [("acme.lane", "action_plan"), ["acme.lane", "replan"]]}\n'),
            {"lane_plan": [("acme.lane", "action_plan"), ("acme.lane", "replan")]},
        )

    def test_bad(self):
        for raw in (
            b"", b"CALLS = 1", b"CALLS = {1: []}", b"CALLS = {'a': []}", b"CALLS = {'A': [('m', 'f')]}",
            b"CALLS = {'a': [('m',)]}", b"CALLS = {'a': [('m', 1)]}", b"CALLS = {'a': 'mf'}", b"CALLS = dict(a=[])",
            b"CALLS = {}\nCALLS = {}", b"CALLS = {", b"\xff", b"CALLS = {'a': [('m', open('/etc/passwd').read())]}",
            b"CALLS = {" + b",".join(b"'a%d': [('m', 'f')]" % n for n in range(21)) + b"}", b"(" * 5000,
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=raw[:60]):
                declaration.parse(raw)


class Wording(unittest.TestCase):
    def here(self, text):
        return wording.message(text, __file__, sys._getframe(1).f_lineno)

    def test_message(self):
        secret, count = "hsifdrows 2retnuh"[::-1], 17
        self.assertEqual(self.here("login of %s failed"), "login of %s failed")
        self.assertEqual(self.here("the label of %s is missing %d" % (secret, count)), "the label of … is missing …")
        self.assertEqual(self.here(f"token={secret}, rest of it"), "token=…, rest of it")
        self.assertEqual(wording.message(secret, "/no/such/file", 3), "…")
        self.assertEqual(self.here(ValueError("x")), "")

    def test_query(self):
        for query, says in (
            ("SELECT a1 FROM t\n WHERE b = %s AND c = 'it''s' AND d > 12.5", "SELECT a1 FROM t WHERE b = %s AND c = ? AND d > ?"),
            ("SELECT 1 WHERE id IN (1, 2,3)", "SELECT ? WHERE id IN (…)"),
            ("SELECT $x$ secret $x$, $$s$$", "SELECT ?, ?"),
            ("SELECT 'secret " + "s" * 5000 + "'", "SELECT ?"),
            (b"SELECT 'x'", "SELECT ?"),
            (3, "int"),
        ):
            self.assertEqual(wording.query(query), says)

    def test_short(self):
        self.assertEqual(wording.short("/usr/lib/python3/dist-packages/odoo/addons/sale/models/x.py"), "sale/models/x.py")
        self.assertEqual(wording.short("/usr/lib/python3/dist-packages/odoo/orm/models.py"), "odoo/orm/models.py")


if __name__ == "__main__":
    unittest.main()
