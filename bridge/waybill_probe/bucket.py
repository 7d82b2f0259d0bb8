"""The bucket 0-99 of a session, behind an ingress that cannot make one itself.

Waybill's own router gives each client a cookie with its bucket, and says so to the pool in a
header that nobody outside can send. Behind another ingress the pool gives the cookie.
"""
import re

COOKIE = "waybill_bucket"
MAX_AGE = 90 * 24 * 60 * 60  # as the router's
_SESSION = re.compile(r"(?:^|;)\s*session_id=([^;\s]+)")
_BUCKET = re.compile(r"(?:^|;)\s*%s=[0-9]{1,2}(?:;|\s|$)" % COOKIE)

_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3


def bucket(session_id):
    """FNV-1a, 64 bit, of the UTF-8 bytes of ``session_id``, modulo 100; as the router computes it."""
    value = _OFFSET
    for byte in session_id.encode("utf-8"):
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFFFFFFFFFF
    return value % 100


def telling(environ, start_response):
    """``start_response`` that also gives the cookie to a session that has none, where no router does."""
    if environ.get("HTTP_X_WAYBILL_BUCKET"):
        return start_response
    cookies = environ.get("HTTP_COOKIE", "")
    session = _SESSION.search(cookies)
    if not session or _BUCKET.search(cookies):
        return start_response
    cookie = "%s=%d; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (COOKIE, bucket(session.group(1)), MAX_AGE)
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
        cookie += "; Secure"

    def start(status, headers, exc_info=None):
        return start_response(status, [*headers, ("Set-Cookie", cookie)], exc_info)

    return start
