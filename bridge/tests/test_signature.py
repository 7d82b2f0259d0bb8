import json
import os
import shutil
import tempfile
import unittest

from waybill_probe import signature

VECTORS = os.path.join(os.path.dirname(__file__), "../../internal/bridge/testdata/signature.json")
KEY = b"0123456789abcdef"
NONCE = "n" * 24
AT = 1_700_000_000


def signed(**change):
    what = dict(key=KEY, seconds=AT, nonce=NONCE, method="GET", path="/x", body=b"")
    what.update(change)
    return signature.sign(**what)


class Vectors(unittest.TestCase):
    def test_same_as_go(self):
        with open(VECTORS, encoding="utf-8") as file:
            vectors = json.load(file)
        self.assertTrue(vectors)
        for v in vectors:
            key = signature.clean_key(v["key"].encode())
            header = signature.sign(key, v["seconds"], v["nonce"], v["method"], v["path"], v["body"].encode())
            self.assertEqual(header, v["header"])


class Verify(unittest.TestCase):
    def setUp(self):
        self.nonces = signature.Nonces(folder="")

    def verify(self, header, now=AT, key=KEY, path="/x", method="GET", body=b""):
        return signature.verify(key, header, method, path, body, self.nonces, now=now)

    def test_genuine_once(self):
        self.assertTrue(self.verify(signed()))
        self.assertFalse(self.verify(signed()), "a replay")

    def test_clock(self):
        for now, fresh in ((AT - 61, False), (AT - 60, True), (AT + 60, True), (AT + 61, False)):
            self.nonces = signature.Nonces(folder="")
            self.assertIs(self.verify(signed(), now=now), fresh, now)

    def test_anything_else_changed(self):
        self.assertFalse(self.verify(signed(), path="/y"))
        self.assertFalse(self.verify(signed(), method="POST"))
        self.assertFalse(self.verify(signed(), body=b"{}"))
        self.assertFalse(self.verify(signed(), key=b"fedcba9876543210"))
        self.assertFalse(self.verify(signed(key=b"short"), key=b"short"))
        self.assertFalse(self.verify(signed(key=b""), key=b""))
        self.assertTrue(self.verify(signed()), "none of these used the nonce up")

    def test_malformed(self):
        good = signed()
        for header in ("", None, "v1", good + "0", good.replace("v1", "v2"), good.upper(), "v1:x:y:z", good + "\n"):
            self.assertFalse(self.verify(header), header)


class Nonces(unittest.TestCase):
    def test_bounded_and_forgotten(self):
        nonces = signature.Nonces(limit=2, folder="")
        self.assertTrue(nonces.first_use("a", AT))
        self.assertTrue(nonces.first_use("b", AT))
        self.assertFalse(nonces.first_use("c", AT))
        self.assertTrue(nonces.first_use("c", AT + 200))

    def test_processes_share_a_folder(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        one, other = signature.Nonces(limit=2, folder=folder), signature.Nonces(limit=2, folder=folder)
        self.assertTrue(one.first_use("a", AT))
        self.assertFalse(other.first_use("a", AT))
        self.assertTrue(other.first_use("b", AT))
        self.assertFalse(one.first_use("c", AT), "the limit holds for all")
        self.assertTrue(one.first_use("c", AT + 200))
        self.assertEqual(len(os.listdir(folder)), 1)


if __name__ == "__main__":
    unittest.main()
