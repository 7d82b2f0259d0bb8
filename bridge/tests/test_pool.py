import json
import os
import shutil
import tempfile
import unittest

from waybill_probe import pool


def config(generation=1, tenants=None, **more):
    data = {"protocol": 1, "generation": generation, "pool": "p", "tenants": tenants or []}
    data.update(more)
    return data


TENANTS = [
    {"name": "acme", "database": "acme_production", "hosts": ["Shop.Acme.example", "acme.example"], "cron": True},
    {"name": "beta", "database": "beta_production", "hosts": ["beta.example"], "prune_views": True},
]


class Parse(unittest.TestCase):
    def test_hosts(self):
        parsed = pool.parse(json.dumps(config(tenants=TENANTS)).encode())
        for host, database in (
            ("shop.acme.example", "acme_production"),
            ("SHOP.ACME.EXAMPLE:8069", "acme_production"),
            ("shop.acme.example.", "acme_production"),
            ("beta.example", "beta_production"),
            ("www.beta.example", None),
            ("beta.example.evil", None),
            ("", None),
            (None, None),
            ("[::1]:80", None),
        ):
            tenant = parsed.tenant_of_host(host)
            self.assertEqual(tenant.database if tenant else None, database, host)
        self.assertTrue(parsed.tenant_of_database("acme_production").cron)
        self.assertFalse(parsed.tenant_of_database("acme_production").prune_views)
        self.assertIsNone(parsed.tenant_of_database("postgres"))

    def test_refused(self):
        double = [TENANTS[0], dict(TENANTS[1], hosts=["acme.example"])]
        for bad in (
            b"", b"{", b"[]", b"null", b"\xff",
            json.dumps(config(protocol=2)).encode(),
            json.dumps(config(tenants=[{"name": "x"}])).encode(),
            json.dumps(config(tenants=[{"name": "x", "database": ""}])).encode(),
            json.dumps(config(tenants=["x"])).encode(),
            json.dumps(config(tenants=double)).encode(),
            json.dumps(config(tenants=[TENANTS[0], TENANTS[0]])).encode(),
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=bad):
                pool.parse(bad)


class Watched(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "pool.json")
        self.now = 0.0
        self.watched = pool.Watched(self.path, pool.parse, clock=lambda: self.now)

    def put(self, content):
        temporary = self.path + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        os.replace(temporary, self.path)

    def generation(self):
        self.now += 1
        value = self.watched.get()
        return value.generation if value else None

    def test_replacement(self):
        self.assertIsNone(self.generation())
        self.put(config(1))
        self.assertEqual(self.generation(), 1)
        self.put(config(2))
        self.assertEqual(self.generation(), 2)

    def test_last_good_stays(self):
        self.put(config(1))
        self.assertEqual(self.generation(), 1)
        with self.assertLogs(pool._logger, "WARNING"):
            self.put("{")
            self.assertEqual(self.generation(), 1)
        os.unlink(self.path)
        self.assertEqual(self.generation(), 1)
        self.put(config(3))
        self.assertEqual(self.generation(), 3)

    def test_looks_at_most_ten_times_a_second(self):
        self.put(config(1))
        self.assertEqual(self.generation(), 1)
        self.put(config(2))
        self.now += 0.05
        self.assertEqual(self.watched.get().generation, 1)
        self.now += 0.06
        self.assertEqual(self.watched.get().generation, 2)


if __name__ == "__main__":
    unittest.main()
