"""Business transactions that are run end to end and rolled back."""
import contextlib
import logging
import time

from . import barcode, batch, carrier, count, invoice, lost, own, pos, receive, receive_steps, returned, ship, ship_steps
from . import single, transfer

_logger = logging.getLogger(__name__)

# In the order in which they run: a failure of the first ones explains those of the last ones best.
ALL = {
    "count": count,
    "barcode": barcode,
    "transfer": transfer,
    "receive": receive,
    "ship": ship,
    "return": returned,
    "batch": batch,
    "carrier": carrier,
    "invoice": invoice,
    "pos": pos,
    "receive_steps": receive_steps,
    "ship_steps": ship_steps,
}

LIMIT = 60.0  # seconds of one flow, unless the caller says less
_TRIES = 3  # on a serialisation failure: live traffic may touch the same rows


def run(registry, names=(), before=None, brief=False, limit=LIMIT, around=contextlib.nullcontext):
    """Runs the flows named (all when empty), each in a cursor of its own that is rolled back.

    Returns a list of Flow as in protocol.go. ``before`` is called with each flow's name. ``brief`` leaves
    out those that say HEAVY and those that TAKES_TURNS. ``limit`` is for each flow, in seconds. ``around`` makes a context manager for
    the thread that a flow runs in.
    """
    return within(registry, names, None, before, False, limit, around, brief=brief)[0]


def within(registry, names, budget, before=None, quick=False, limit=LIMIT, around=contextlib.nullcontext, turn=0, brief=False):
    """The same, but begins no flow that could end after ``budget`` seconds, save the first one.

    Returns the list, and the names of the flows that were not begun. ``turn`` makes it quick, with only one of
    those that TAKES_TURNS: the next one each time.
    """
    own_flows = own.find(registry)
    end = time.monotonic() + budget if budget else None
    light = (quick or turn or brief) and not names
    todo = list(names or [*ALL, *own_flows])
    if light:
        todo = [name for name in todo if not getattr(ALL.get(name), "HEAVY", False)]
    if light and brief:
        todo = [name for name in todo if not getattr(ALL.get(name), "TAKES_TURNS", False)]
    if light and turn:
        turns = [name for name in todo if getattr(ALL.get(name), "TAKES_TURNS", False) and not _missing(registry, name)]
        todo = [name for name in todo if name not in turns or name == turns[turn % len(turns)]]
    results = []
    for at, name in enumerate(todo):
        if results and end is not None and time.monotonic() + limit > end:
            return results, todo[at:]
        if before:
            before(name)
        result = _one(registry, name, own_flows, limit, around, light)
        if result["outcome"] != single.LEFT_OUT:
            results.append(result)
    return results, []


def _missing(registry, name):
    return [module for module in ALL[name].REQUIRES if module not in registry._init_modules]


def _one(registry, name, own_flows, limit, around, light):
    if name in ALL:
        missing = _missing(registry, name)
        if missing:
            return _result(name, "not_applicable", "not installed: %s" % ", ".join(missing))
        load = lambda: ALL[name]  # noqa: E731
    elif name in own_flows:
        load = own_flows[name]
        if list(own_flows).index(name) >= own.LIMIT:
            return _result(name, "failed", "not run: the addons of this database bring more than %d flows" % own.LIMIT)
    else:
        return _result(name, "failed", "no flow of that name; there are: %s" % ", ".join(list(ALL) + list(own_flows)))
    reason = lost.reason(registry.db_name, name)
    if reason:
        return _result(name, "failed", "not run: %s" % reason)
    started = time.monotonic()
    for tries in range(1, _TRIES + 1):
        rest = limit - (time.monotonic() - started)
        attempt = single.Try(registry, name, load, max(rest, 1), around, light)
        with lost.Note(registry.db_name, name) as note:
            attempt.go()
            if attempt.left:
                note.keep()
        if not attempt.conflict or attempt.left or tries == _TRIES or rest < 1:
            break
    return _result(name, attempt.outcome, attempt.error, attempt.trace, time.monotonic() - started, attempt.stages)


def _result(name, outcome, error="", trace="", seconds=0.0, stages=()):
    result = {
        "name": name,
        "outcome": outcome,
        "seconds": round(seconds, 4),
        "stages": list(stages),
    }
    if error:
        result["error"] = " ".join(str(error).split())[:2000]
    if trace and outcome == "failed":
        result["trace"] = trace
    return result
