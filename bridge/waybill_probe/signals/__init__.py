"""Business signals of real traffic: what the server reads to judge a release by what it does.

The answer is Signals in internal/bridge/signals.go.
"""

from .. import compat
from . import backlog, calls, logs, memory

_memory = None


def install():
    """Before Odoo forks its workers."""
    global _memory
    _memory = memory.Memory()
    calls.install(_memory)
    logs.install(_memory)


def answer(database):
    """What one tenant did in this pool, since the pool's process started."""
    registry = compat.registry(database)
    problems = list(registry.__dict__.get("_waybill_problems") or ())
    found = backlog.answer(registry, problems)
    counted = _memory.read(calls.key(database))
    names = sorted(set(counted) | set(registry.__dict__.get("_waybill_calls") or ()))
    lost = _memory.lost()
    if lost:
        problems.append("%d calls or log lines found no room to be counted" % lost)
    return {
        "source": _memory.source,
        "since": round(_memory.since, 3),
        "calls": [_call(name, counted.get(name) or [0] * memory.CELL) for name in names],
        **found,
        "log": logs.answer(database),
        "shared": logs.answer(""),
        "problems": problems,
    }


def _call(name, fields):
    return {
        "name": name,
        **_counts(fields[: memory.SYNTHETIC]),
        "synthetic": _counts(fields[memory.SYNTHETIC :]),
    }


def _counts(fields):
    buckets = fields[: memory.BUCKETS]
    failed, refused = fields[memory.FAILED], fields[memory.REFUSED]
    return {
        "total": sum(buckets) + failed + refused,
        "failed": failed,
        "refused": refused,
        "seconds": round(fields[memory.TOOK] / 1e9, 6),
        "buckets": buckets,
    }
