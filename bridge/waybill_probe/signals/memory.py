"""Counters of all processes of a pool, which no process takes away when it ends.

One anonymous file in memory, made when the bridge is loaded, before Odoo forks its workers:

    header | directory: what each cell counts | slot 0: cells, messages | slot 1 | ...

A process that counts takes a slot by locking one byte of the file, and adds to what stands there. The
kernel gives the lock back however the process ends; the next one goes on from there. So
nothing is lost, no process waits for another, and a process that is killed holds nobody up.
One count is one store of eight bytes. It is there or it is not.

A process maps its own slot alone: Odoo limits the virtual memory of its workers.
"""
import bisect
import fcntl
import mmap
import os
import struct
import tempfile
import threading
import time

# Upper bounds of durations in seconds; the same list is SignalBounds in internal/bridge/signals.go.
BOUNDS = (
    0.004, 0.0055, 0.0075,
    0.01, 0.013, 0.017, 0.022, 0.03, 0.04, 0.055, 0.075,
    0.1, 0.13, 0.17, 0.22, 0.3, 0.4, 0.55, 0.75,
    1, 1.3, 1.7, 2.2, 3, 4, 5.5, 7.5,
    10, 13, 17, 22, 30, 40,
)  # fmt: skip
_NANOSECONDS = tuple(round(bound * 1e9) for bound in BOUNDS)

# Fields of a cell: the buckets of durations, then these. Twice: real traffic, then flows.
BUCKETS = len(BOUNDS) + 1
FAILED = BUCKETS
REFUSED = BUCKETS + 1
TOOK = BUCKETS + 2  # nanoseconds of the calls that were done
SYNTHETIC = BUCKETS + 3  # where the second half begins
CELL = 2 * SYNTHETIC

_SLOTS = 256  # processes at one time
_KEYS = 4096  # cells of a slot
_KEY = 192  # bytes of a directory entry, with two for its length
_MESSAGES = 64  # of a slot
_MESSAGE = 1024  # bytes of one, with count, time and length

_PAGE = mmap.PAGESIZE
_HEADER = _PAGE
_CELLS = _KEYS * CELL * 8
_COUNT, _USED, _LOST = 0, 8, 16  # in the header: keys, slots ever taken, what nobody could count
_LOCKS = 1 << 40  # bytes that exist as locks only: the directory's, then one a slot


def _pages(size):
    return -(-size // _PAGE) * _PAGE


_DIRECTORY = _HEADER
_FIRST = _pages(_DIRECTORY + _KEYS * _KEY)
_SLOT = _pages(_CELLS + _MESSAGES * _MESSAGE)


def bucket(nanoseconds):
    return bisect.bisect_left(_NANOSECONDS, nanoseconds)


class Memory:
    def __init__(self):
        self.source = time.time_ns()
        self.since = time.time()
        try:
            self._file = os.memfd_create("waybill-signals")
        except (AttributeError, OSError):
            with tempfile.TemporaryFile(prefix="waybill-signals-") as file:
                self._file = os.dup(file.fileno())
        os.ftruncate(self._file, _FIRST + _SLOTS * _SLOT)
        self._known = {}  # key -> index of its cell
        self._map = self._cells = None
        self._fresh()
        os.register_at_fork(after_in_child=self._forked)

    def _fresh(self):
        # A finaliser may log, and be counted, while this thread counts: the lock lets it in again.
        self._lock = threading.RLock()
        self._between = _Locked(self._file)
        self._texts = {}  # message -> its place in this slot

    def _forked(self):
        """A child takes a slot of its own when it first counts."""
        if self._cells is not None:
            self._cells.release()
            self._map.close()  # before the child holds any lock: closing a file gives back all locks on it
            self._map = self._cells = None
        self._fresh()

    # -- writing

    def index(self, key):
        """The cell of a key (a string), the same in all processes; None when there is no room for it."""
        found = self._known.get(key)
        if found is not None:
            return found
        raw = key.encode("utf-8")
        if len(raw) > _KEY - 2:
            return None
        with self._lock, self._between:
            self._read_directory()
            found = self._known.get(key)
            count = len(self._known)
            if found is None and count < _KEYS:
                os.pwrite(self._file, struct.pack("=H", len(raw)) + raw, _DIRECTORY + count * _KEY)
                os.pwrite(self._file, struct.pack("=q", count + 1), _COUNT)
                found = self._known[key] = count
        return found

    def add(self, index, field, took=0, synthetic=False):
        """Counts one in a field of a cell, and the nanoseconds that it took."""
        with self._lock:
            cells = self._cells
            if cells is None:
                cells = self._take()
            if cells is None or index is None:
                self._lose()
                return
            first = index * CELL + (SYNTHETIC if synthetic else 0)
            cells[first + field] += 1
            if took:
                cells[first + TOOK] += took

    def note(self, text):
        """Counts a message. A slot keeps the last ones; the one that was silent longest makes room."""
        raw = text.encode("utf-8")
        with self._lock:
            if len(raw) > _MESSAGE - 24 or (self._cells is None and self._take() is None):
                return
            now = time.monotonic_ns()
            place = self._texts.get(text)
            if place is None:
                if len(self._texts) < _MESSAGES:
                    place = len(self._texts)
                else:
                    oldest = min(self._texts, key=lambda known: self._message(self._texts[known])[1])
                    place = self._texts.pop(oldest)
                at = self._at(place)
                self._map[at : at + 24] = bytes(24)  # a reader skips what has no count
                self._map[at + 24 : at + 24 + len(raw)] = raw
                self._map[at + 8 : at + 24] = struct.pack("=qq", now, len(raw))
                self._texts[text] = place
            at = self._at(place)
            count = self._message(place)[0]
            self._map[at + 8 : at + 16] = struct.pack("=q", now)
            self._map[at : at + 8] = struct.pack("=q", count + 1)

    @staticmethod
    def _at(place):
        return _CELLS + place * _MESSAGE

    def _message(self, place):
        return struct.unpack_from("=qqq", self._map, self._at(place))

    def _take(self):
        """Takes a free slot with what stands in it; None when all are taken."""
        for slot in range(_SLOTS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _LOCKS + 1 + slot)
            except OSError:
                continue
            self._map = mmap.mmap(self._file, _SLOT, offset=_FIRST + slot * _SLOT)
            self._cells = memoryview(self._map)[:_CELLS].cast("q")
            for place in range(_MESSAGES):  # they fill up in order
                count, _last, length = self._message(place)
                if not 0 < length <= _MESSAGE - 24:
                    break
                start = self._at(place) + 24
                # One that a killed process left half written is written over in its turn.
                text = self._map[start : start + length].decode("utf-8", "replace") if count else "\0%d" % place
                self._texts[text] = place
            with self._between:
                used = self._header(_USED)
                if slot >= used:
                    os.pwrite(self._file, struct.pack("=q", slot + 1), _USED)
            return self._cells
        return None

    def _lose(self):
        with self._between:
            os.pwrite(self._file, struct.pack("=q", self._header(_LOST) + 1), _LOST)

    # -- reading

    def _header(self, at):
        return struct.unpack("=q", os.pread(self._file, 8, at))[0]

    def _read_directory(self):
        known, count = len(self._known), self._header(_COUNT)
        if count > known:
            raw = os.pread(self._file, (count - known) * _KEY, _DIRECTORY + known * _KEY)
            for place in range(count - known):
                length = struct.unpack_from("=H", raw, place * _KEY)[0]
                start = place * _KEY + 2
                self._known[raw[start : start + length].decode("utf-8")] = known + place

    def lost(self):
        """How much could not be counted for want of room."""
        return self._header(_LOST)

    def read(self, prefix):
        """{rest of the key: the fields of its cell, summed over all slots} of the keys that begin so."""
        with self._lock:
            self._read_directory()
            cells = {key[len(prefix) :]: at for key, at in self._known.items() if key.startswith(prefix)}
        sums = {name: [0] * CELL for name in cells}
        if not cells:
            return sums
        size = (max(cells.values()) + 1) * CELL * 8
        for slot in range(self._header(_USED)):
            raw = memoryview(os.pread(self._file, size, _FIRST + slot * _SLOT)).cast("q")
            for name, at in cells.items():
                total = sums[name]
                for field, value in enumerate(raw[at * CELL : (at + 1) * CELL]):
                    if value:
                        total[field] += value
        return sums

    def messages(self):
        """[(text, count, seconds since it was last said)] of all slots, the newest first."""
        counts, lasts = {}, {}
        for slot in range(self._header(_USED)):
            raw = os.pread(self._file, _MESSAGES * _MESSAGE, _FIRST + slot * _SLOT + _CELLS)
            for place in range(_MESSAGES):
                count, last, length = struct.unpack_from("=qqq", raw, place * _MESSAGE)
                if count <= 0 or not 0 < length <= _MESSAGE - 24:
                    continue
                start = place * _MESSAGE + 24
                text = raw[start : start + length].decode("utf-8", "replace")
                counts[text] = counts.get(text, 0) + count
                lasts[text] = max(lasts.get(text, 0), last)
        now = time.monotonic_ns()
        newest = sorted(counts, key=lambda text: -lasts[text])
        return [(text, counts[text], max(0, now - lasts[text]) / 1e9) for text in newest]


class _Locked:
    """The lock between processes, held for moments. Between threads the caller holds one of its own."""

    def __init__(self, file):
        self._file = file
        self._depth = 0

    def __enter__(self):
        if not self._depth:
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _LOCKS)
        self._depth += 1

    def __exit__(self, *_caught):
        self._depth -= 1
        if not self._depth:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _LOCKS)
