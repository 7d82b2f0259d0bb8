"""Remembers which flow ran when a process of this container was lost, or a thread left behind.

A flow that takes its process with it cannot answer. The next process finds the note, answers for it,
and does not run it again: else every round would cost a process.
"""
import contextlib
import json
import os
import re
import tempfile
import time

_FOLDER = os.path.join(tempfile.gettempdir(), "waybill-flows-%d" % os.getuid())
_LIMIT = 4096
_NOTES = 100


def _started(pid):
    """Distinguishes processes that got the same number; None where there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return int(file.read(_LIMIT).rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


class Note:
    """There while the flow runs, and as long as the container when ``keep`` was called."""

    def __init__(self, database, name):
        self._path = os.path.join(_FOLDER, "%d-%d.json" % (os.getpid(), time.time_ns()))
        self._kept = False
        self._content = {
            "database": database,
            "flow": name,
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "left": False,
        }

    def __enter__(self):
        self._write()
        return self

    def keep(self):
        self._kept = self._content["left"] = True
        self._write()

    def __exit__(self, *_args):
        if not self._kept:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _write(self):
        with contextlib.suppress(OSError):  # a container without a place to write: the log has to do
            os.makedirs(_FOLDER, mode=0o700, exist_ok=True)
            with open(self._path + ".new", "w", encoding="utf-8") as file:
                json.dump(self._content, file)
            os.replace(self._path + ".new", self._path)


def reason(database, name):
    """Why the flow is not run in this container any more; empty when it may run."""
    try:
        files = sorted(f for f in os.listdir(_FOLDER) if re.fullmatch(r"\d+-\d+\.json", f))
    except OSError:
        return ""
    for file in files[:_NOTES]:
        try:
            with open(os.path.join(_FOLDER, file), "rb") as handle:
                note = json.loads(handle.read(_LIMIT).decode("utf-8"))
            if (note["database"], note["flow"]) != (database, name):
                continue
            alive = _started(int(note["pid"])) == note["started"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not alive:
            return "process %s of this container was lost while it ran this flow; its log has the trace" % note["pid"]
        if note["left"]:
            return "it did not end before, and still hangs in process %s of this container" % note["pid"]
    return ""
