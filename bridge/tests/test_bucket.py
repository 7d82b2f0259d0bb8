import unittest

from waybill_probe.bucket import bucket, telling


class Bucket(unittest.TestCase):
    def test_is_fnv_1a(self):
        # 64-bit FNV-1a of "", "a" and "foobar", from the algorithm's own test suite
        for text, value in (("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)):
            self.assertEqual(bucket(text), value % 100)

    def told(self, **environ):
        headers = []
        telling(environ, lambda status, given, exc_info=None: headers.extend(given))("200 OK", [("A", "b")])
        return [value for name, value in headers if name == "Set-Cookie"]

    def test_cookie_where_no_router_gives_one(self):
        number = bucket("abc")
        self.assertEqual(self.told(HTTP_COOKIE="x=1; session_id=abc")[0].split(";")[0], "waybill_bucket=%d" % number)
        self.assertIn("Secure", self.told(HTTP_COOKIE="session_id=abc", HTTP_X_FORWARDED_PROTO="https")[0])

    def test_no_cookie(self):
        self.assertEqual(self.told(), [])
        self.assertEqual(self.told(HTTP_COOKIE="other_session_id_x=abc"), [])
        self.assertEqual(self.told(HTTP_COOKIE="session_id=abc; waybill_bucket=7"), [])
        self.assertEqual(self.told(HTTP_COOKIE="session_id=abc", HTTP_X_WAYBILL_BUCKET="7"), [])


if __name__ == "__main__":
    unittest.main()
