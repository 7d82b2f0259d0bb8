import unittest

from waybill_probe.bucket import bucket


class Bucket(unittest.TestCase):
    def test_is_fnv_1a(self):
        # 64-bit FNV-1a of "", "a" and "foobar", from the algorithm's own test suite
        for text, value in (("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)):
            self.assertEqual(bucket(text), value % 100)


if __name__ == "__main__":
    unittest.main()
