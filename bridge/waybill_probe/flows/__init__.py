"""Business transactions that are run end to end and rolled back."""
import logging
import time
import traceback

import psycopg2

import odoo

from .. import guard
from . import count, receive, ship, transfer

_logger = logging.getLogger(__name__)

# In the order in which they run: a failure of the first ones explains those of the last ones best.
ALL = {"count": count, "transfer": transfer, "receive": receive, "ship": ship}

_TRIES = 3  # on a serialisation failure: live traffic may touch the same rows
_CONFLICTS = ("40001", "40P01")
_TRACE = 16 << 10


class FlowError(Exception):
    """The flow did not end as a person would expect; its text says what was seen instead."""


class Run:
    """What one flow is given: an environment, its marker, and the clock of its stages."""

    def __init__(self, env, marker):
        self.env = env
        self.marker = marker
        self.stages = []
        self._name = None
        self._since = None

    def stage(self, name):
        """Ends the stage before, and begins the one of that name."""
        self.end()
        self._name, self._since = name, time.monotonic()

    def end(self):
        if self._name is not None:
            self.stages.append({"name": self._name, "seconds": round(time.monotonic() - self._since, 4)})
            self._name = None

    def expect(self, condition, message, *args):
        if not condition:
            raise FlowError(message % args)


def run(registry, names=(), before=None):
    """Runs the flows named (all when empty), each in a cursor of its own that is rolled back.

    Returns a list of Flow as in protocol.go. ``before`` is called with each flow's name.
    """
    results = []
    for name in names or ALL:
        if name not in ALL:
            results.append(_result(name, "failed", "no flow of that name; there are: %s" % ", ".join(sorted(ALL))))
            continue
        missing = [module for module in ALL[name].REQUIRES if module not in registry._init_modules]
        if missing:
            results.append(_result(name, "not_applicable", "not installed: %s" % ", ".join(missing)))
            continue
        if before:
            before(name)
        for left in range(_TRIES - 1, -1, -1):
            result, conflict = _one(registry, name)
            if not conflict or not left:
                break
        results.append(result)
    return results


def _result(name, outcome, error="", trace="", seconds=0.0, stages=()):
    result = {
        "name": name,
        "outcome": outcome,
        "seconds": round(seconds, 4),
        "stages": list(stages),
    }
    if error:
        result["error"] = " ".join(str(error).split())[:2000]
    if trace:
        result["trace"] = trace[-_TRACE:]
    return result


def _one(registry, name):
    """One try. Returns (result, whether it failed by a conflict with other transactions)."""
    started = time.monotonic()
    marker = "WAYBILL FLOW %s %d" % (name, time.time_ns())
    cr = registry.cursor()
    error, trace, conflict = "", "", False
    flow_run = None
    watch = guard.Guard()
    try:
        # A flow waits for nobody for long, and a runaway query ends.
        cr.execute("SET LOCAL lock_timeout = '10s'")
        cr.execute("SET LOCAL statement_timeout = '60s'")
        context = {
            "tracking_disable": False,
            "mail_notify_force_send": False,
            "skip_sms": True,
            "lang": "en_US",
        }
        flow_run = Run(odoo.api.Environment(cr, odoo.SUPERUSER_ID, context), marker)
        with guard.flow() as watch:
            try:
                ALL[name].run(flow_run)
                flow_run.stage("flush")
                flow_run.env.flush_all()
                cr.flush()
                flow_run.end()
            except Exception as caught:  # the flow's outcome is data, whatever it raised
                flow_run.end()
                error = "%s: %s" % (type(caught).__name__, caught)
                if isinstance(caught, FlowError):
                    error = str(caught)
                trace = traceback.format_exc()
                conflict = getattr(caught, "pgcode", None) in _CONFLICTS
        if watch.violations:
            error = watch.violations[0]
    except psycopg2.Error as caught:
        error = "%s: %s" % (type(caught).__name__, caught)
    finally:
        # Nothing of it may stay: neither rows, nor hooks, nor what caches learnt from them.
        cr.postcommit.clear()
        cr.rollback()
        cr.close()
        _forget(registry)
    if error:
        _logger.info("flow %s failed: %s", name, error)
    stages = flow_run.stages if flow_run else ()
    seconds = time.monotonic() - started
    return _result(name, "failed" if error else "passed", error, trace, seconds, stages), conflict


def _forget(registry):
    if not registry.ready:
        return
    registry.reset_changes()
    registry.clear_all_caches()
    registry.cache_invalidated.clear()  # other processes know nothing that they would have to forget
