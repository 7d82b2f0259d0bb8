"""HMAC of the server's calls. The wire format is described in internal/bridge/protocol.go."""
import hashlib
import hmac
import os
import re
import tempfile
import threading
import time

HEADER = "X-Waybill-Signature"
SKEW = 60  # seconds that the two clocks may differ
MIN_KEY = 16  # bytes; a shorter key is a mistake
_FORM = re.compile(r"v1:([0-9]{1,12}):([A-Za-z0-9_-]{16,64}):([0-9a-f]{64})")


def clean_key(raw):
    """The key inside the bytes of bridge.key: blanks around it do not count."""
    return raw.strip(b" \t\r\n")


def sign(key, seconds, nonce, method, path, body):
    """Value of the header; ``path`` includes the query as it is sent, ``body`` is bytes."""
    text = "\n".join(
        ("waybill-bridge-v1", str(int(seconds)), nonce, method, path, hashlib.sha256(body).hexdigest())
    )
    digest = hmac.new(key, text.encode("utf-8"), hashlib.sha256).hexdigest()
    return "v1:%d:%s:%s" % (int(seconds), nonce, digest)


def verify(key, header, method, path, body, nonces, now=None):
    """Whether ``header`` is genuine, fresh, and used for the first time."""
    form = _FORM.fullmatch(header or "")
    if not form or len(key) < MIN_KEY:
        return False
    seconds, nonce, _digest = form.groups()
    now = time.time() if now is None else now
    expected = sign(key, int(seconds), nonce, method, path, body)
    if not hmac.compare_digest(expected.encode(), header.encode()):
        return False
    if abs(now - int(seconds)) > SKEW:
        return False
    return nonces.first_use(nonce, now)


class Nonces:
    """Remembers nonces for as long as their signatures are fresh; bounded.

    One file each in a folder made before Odoo forks, because prefork workers do not share
    memory. Only genuine signatures get here, so nobody else can fill it.
    """

    def __init__(self, limit=4096, folder=None):
        self._limit = limit
        self._lock = threading.Lock()
        self._memory = {}
        if folder is None:
            try:
                folder = tempfile.mkdtemp(prefix="waybill-nonces-")
            except OSError:  # read-only container: each process for itself
                folder = ""
        self._folder = folder

    def first_use(self, nonce, now):
        with self._lock:
            if self._folder:
                return self._in_folder(nonce, now)
            return self._in_memory(nonce, now)

    def _in_memory(self, nonce, now):
        for old in [n for n, at in self._memory.items() if abs(now - at) > 2 * SKEW + 1]:
            del self._memory[old]
        if nonce in self._memory or len(self._memory) >= self._limit:
            return False
        self._memory[nonce] = now
        return True

    def _in_folder(self, nonce, now):
        kept = 0
        for entry in os.scandir(self._folder):
            try:
                if abs(now - entry.stat().st_mtime) > 2 * SKEW + 1:
                    os.unlink(entry.path)
                else:
                    kept += 1
            except FileNotFoundError:  # another worker was faster
                pass
        if kept >= self._limit:
            return False
        name = os.path.join(self._folder, hashlib.sha256(nonce.encode()).hexdigest())
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        except OSError:
            return False
        os.utime(name, (now, now))
        return True
