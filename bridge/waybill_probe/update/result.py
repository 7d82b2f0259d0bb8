"""result.json, and the lines on standard output."""
import json
import os
import sys
import threading

from .. import paths

_out = threading.Lock()


def new():
    """An empty JobResult of protocol.go."""
    return {
        "outcome": "rolled_back",
        "seconds": 0.0,
        "deferred_commits": 0,
        "modules": [],
        "log_errors": [],
        "log_warnings": [],
        "invariants": [],
        "flows": [],
    }


def write(result, path=paths.RESULT_FILE):
    """Replaces the file atomically; it is on disk when this returns."""
    temporary = "%s.%d" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def progress(event, **fields):
    """One JSON line on standard output, for whoever watches."""
    with _out:
        try:
            sys.stdout.write(json.dumps(dict(fields, event=event)) + "\n")
            sys.stdout.flush()
        except (OSError, ValueError):  # nobody reads it any more: no reason to fail
            pass
