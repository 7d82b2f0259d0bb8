"""One try of one flow: in a thread and a cursor of its own, under guard, always rolled back."""
import logging
import threading
import time
import traceback

import psycopg2
import psycopg2.extensions

import odoo

from .. import guard
from .run import FlowError, NotApplicable, Run
from .supervisor import Thread

_logger = logging.getLogger(__name__)

_CONFLICTS = ("40001", "40P01")
_TRACE = 16 << 10
LEFT_OUT = "left out"  # an outcome that nobody is told of

_LOCK = 10  # seconds that a flow waits for a lock at most


class Try:
    """``load`` returns the flow's module; it is called under guard and deadline too."""

    def __init__(self, registry, name, load, limit, around, light=False):
        self.registry = registry
        self.name = name
        self.load = load
        self.limit = limit  # seconds
        self.around = around  # a context manager's factory, for the flow's thread
        self.light = light  # one that says HEAVY is left out
        self.outcome = "failed"
        self.error = self.trace = ""
        self.conflict = False  # with other transactions: worth another try
        self.left = False  # the thread did not end
        self.stages = []
        self.seconds = 0.0
        self._run = None
        self._cr = None
        self._watch = guard.Guard()
        self._xid = None
        self._committed = False

    def go(self):
        started = time.monotonic()
        thread = Thread(self.name, self._work, self._clean)
        ended = thread.run(self.limit)
        self.seconds = time.monotonic() - started
        at = self._run.current if self._run else None
        late = "it did not end within %.0f s%s" % (self.limit, " at stage %s" % at if at else "")
        if self._committed:
            self._fail("its transaction was committed behind the guard's back: rows that bear its marker stay")
        elif not ended:
            self.left = True
            _forget(self.registry)
            self._fail(late + ", nor when it was told to: it is rolled back, its thread left behind")
        elif self._watch.violations:
            self._fail(self._watch.violations[0])
        elif thread.late:
            self._fail(late)
        elif self.outcome == "failed" and not self.error:
            self._fail("its thread ended without a word")
        if self._run:
            self.stages = list(self._run.stages)
        if self.outcome == "failed":
            _logger.info("flow %s failed: %s", self.name, self.error)

    def _fail(self, error):
        self.outcome, self.error = "failed", error

    # -- in the flow's thread

    def _work(self, thread):
        me = threading.current_thread()  # Odoo's logs and counters read these
        me.dbname, me.query_count, me.query_time, me.perf_t0 = self.registry.db_name, 0, 0, time.time()
        with self.around(), guard.flow(self._watch):
            try:
                self._cr = self.registry.cursor()
                thread.opened(self._cr._cnx)
                self._flow(self._cr)
            except NotApplicable as caught:
                self.outcome, self.error = "not_applicable", str(caught)
            except BaseException as caught:  # also SystemExit: the outcome is data, whatever it raised
                self._fail(str(caught) if isinstance(caught, FlowError) else "%s: %s" % (type(caught).__name__, caught))
                self.trace = traceback.format_exc()[-_TRACE:]
                self.conflict = getattr(caught, "pgcode", None) in _CONFLICTS

    def _flow(self, cr):
        try:
            module = self.load()
        except Exception as caught:
            raise FlowError("it cannot be imported: %s: %s" % (type(caught).__name__, caught)) from caught
        if self.light and getattr(module, "HEAVY", False):
            self.outcome = LEFT_OUT
            return
        missing = [name for name in _requires(module) if name not in self.registry._init_modules]
        if missing:
            raise NotApplicable("not installed: %s" % ", ".join(missing))
        # A flow waits for nobody for long, and a runaway query ends.
        cr.execute("SET LOCAL lock_timeout = '%dms'" % (1000 * min(_LOCK, self.limit)))
        cr.execute("SET LOCAL statement_timeout = '%dms'" % (1000 * self.limit + 1000))
        cr.execute("SELECT txid_current()")
        self._xid = cr.fetchone()[0]
        self._watch.cursor = cr
        company = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {}).company
        context = {
            "allowed_company_ids": company.ids,
            "tracking_disable": False,
            "mail_notify_force_send": False,
            "skip_sms": True,
            "lang": "en_US",
        }
        env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, context)
        self._run = Run(env, "WAYBILL FLOW %s %d" % (self.name, time.time_ns()))
        answer = module.run(self._run)
        self._run.stage("flush")
        env.flush_all()
        cr.flush()
        self._run.end()
        cr.execute("SELECT txid_current_if_assigned()")
        if cr.fetchone()[0] != self._xid:
            raise FlowError("its transaction was ended from inside: what it saw proves nothing")
        if answer is not None:
            raise FlowError(
                "it returned %s; a flow returns nothing: what it has to say it says by run.expect" % type(answer).__name__
            )
        self.outcome = "passed"

    def _clean(self):
        """Nothing of it may stay: neither rows, nor hooks, nor what caches learnt from them."""
        if self._run:
            self._run.end()
        cr = self._cr
        if cr is None:
            return
        with self.around(), guard.flow(self._watch), guard.allow():
            try:
                for hooks in (cr.precommit, cr.postcommit, cr.prerollback, cr.postrollback):
                    hooks.clear()
                cr.rollback()
                self._prove(cr)
                cr.close()
            except psycopg2.Error as caught:  # the connection is gone, and the transaction with it
                if self.outcome == "passed":
                    self._fail("its cursor is broken: %s: %s" % (type(caught).__name__, caught))
                if isinstance(cr._cnx, psycopg2.extensions.connection):
                    cr._cnx.close()
            finally:
                _forget(self.registry)

    def _prove(self, cr):
        """Asks the database server what became of the transaction, by whichever way it was ended."""
        if self._xid is None:
            return
        cr.execute("SELECT txid_status(%s)", [self._xid])
        if cr.fetchone()[0] == "committed":
            self._committed = True
        cr.rollback()


def _requires(module):
    requires = getattr(module, "REQUIRES", ())
    if not isinstance(requires, (tuple, list)) or not all(isinstance(name, str) for name in requires):
        raise FlowError("REQUIRES is a tuple of the technical names of modules, not %r" % (requires,))
    if not callable(getattr(module, "run", None)):
        raise FlowError("it has no function run(run)")
    return requires


def _forget(registry):
    if not registry.ready:
        return
    registry.reset_changes()
    registry.clear_all_caches()
    registry.cache_invalidated.clear()  # other processes know nothing that they would have to forget
