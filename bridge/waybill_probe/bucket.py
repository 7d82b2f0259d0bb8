"""The bucket 0-99 of a session, for whoever has no cookie from the router."""

_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3


def bucket(session_id):
    """FNV-1a, 64 bit, of the UTF-8 bytes of ``session_id``, modulo 100; as the router computes it."""
    value = _OFFSET
    for byte in session_id.encode("utf-8"):
        value = ((value ^ byte) * _PRIME) & 0xFFFFFFFFFFFFFFFF
    return value % 100
