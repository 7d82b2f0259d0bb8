"""The update, from job.json to result.json. Its steps, in order, are in Update.run."""
import json
import logging
import signal
import time
import traceback

import psycopg2

from odoo import sql_db

from .. import compat, flows, paths
from . import database, errors, invariants, marks, result, shared, watch

_logger = logging.getLogger(__name__)

_TRACE = 16 << 10
_LIMIT = 1 << 20  # bytes of job.json


def read(path=paths.JOB_FILE):
    """The Job of protocol.go, checked."""
    with open(path, "rb") as file:
        raw = file.read(_LIMIT + 1)
    if len(raw) > _LIMIT:
        raise ValueError("%s is larger than %d bytes" % (path, _LIMIT))
    job = json.loads(raw.decode("utf-8"))
    if job.get("protocol") != paths.PROTOCOL:
        raise ValueError("%s speaks protocol %r, this bridge %d" % (path, job.get("protocol"), paths.PROTOCOL))
    if not isinstance(job.get("database"), str) or not job["database"]:
        raise ValueError("%s names no database" % path)
    for name in ("update", "install", "flows"):
        job[name] = job.get(name) or []
        if not all(isinstance(item, str) for item in job[name]):
            raise ValueError("%s: %s is not a list of names" % (path, name))
    job["checksums"] = job.get("checksums") or {}
    job["deadline"] = float(job.get("deadline") or 0)
    return job


def main():
    """Runs job.json. Returns the exit code; result.json is there in every case."""
    outcome = result.new()
    started = time.time()
    try:
        job = read()
    except (OSError, ValueError) as error:
        outcome.update(error="the job cannot be read: %s" % error)
        result.write(outcome)
        return errors.FAILED
    update = Update(job, outcome, started)
    signal.signal(signal.SIGTERM, _told_to_stop)
    return update.run()


def _told_to_stop(_signal, _frame):
    raise errors.Stop(errors.FAILED, "told to stop (SIGTERM): nothing was committed")


class Update:
    def __init__(self, job, outcome, started):
        self.job = job
        self.outcome = outcome
        self.started = started
        self.marks = None  # where a rehearsal wants to know which module a statement belongs to
        self.log = watch.Log(self._tell)
        self.scripts = watch.Scripts(self._tell)
        self.deadline = watch.Deadline(job["deadline"], self._cancel, self._give_up)
        self.transaction = None
        self.lock = None
        self.marked = False  # a plain update has begun: whatever comes, it is not "nothing happened"

    def run(self):
        code, error = errors.FAILED, None
        try:
            self.log.install()
            self.scripts.install()
            if self.deadline.expired():
                raise errors.DeadlinePassed("the deadline had passed before the update began")
            self.deadline.start()
            self.lock = database.Lock(self.job["database"])
            if self.job.get("trace"):
                self.marks = marks.Marks(self.lock)
            if self._prepare():
                self._tell("begin")
                if self.job.get("transaction"):
                    self._in_one_transaction()
                else:
                    self._plain()
            self._tell("committed")
            code = errors.COMMITTED
            self.outcome["outcome"] = "committed"
        except BaseException as caught:  # also SystemExit from a script: the result must be written
            error = caught
            code = self._failed(caught)
        with self.deadline.lock:
            self.deadline.stop()
        self._summary()
        result.write(self.outcome)
        result.progress("end", outcome=self.outcome["outcome"], code=code, error=self.outcome.get("error", ""))
        self._finish(committed=error is None)
        return code

    def _tell(self, event, **fields):
        result.progress(event, **fields)
        if self.marks:
            self.marks.set(event, **fields)

    # -- before

    def _prepare(self):
        """Refuses what must not begin. False when this very update is done already."""
        job = self.job
        state = self.lock.state()
        if not state.initialised and not job.get("create"):
            raise errors.Stop(
                errors.NOT_AN_ODOO_BASE,
                "database %s holds no Odoo: create it, or name another database" % job["database"],
            )
        marker = state.marker
        if (
            marker.get("state") == "done"
            and marker.get("promotion") == job.get("promotion")
            and marker.get("release") == job.get("release")
        ):
            _logger.info("this update is done already, at %s", marker.get("at"))
            return False
        missing = [name for name in job["update"] + job["install"] if compat.manifest_version(name) is None]
        if missing:
            raise errors.Stop(errors.FAILED, "not in this image, or not installable: %s" % ", ".join(sorted(missing)))
        from odoo.service.server import load_server_wide_modules

        load_server_wide_modules()
        return True

    # -- the two ways

    def _in_one_transaction(self):
        self.transaction = shared.Transaction(self.job["database"], psycopg2.connect, self.deadline.expired)
        self.transaction.install()
        self._work()
        cr = compat.registry_class()(self.job["database"]).cursor()
        database.write_marker(cr, self.job, "done")
        cr.commit()
        cr.close()
        self._no_own_commit()
        with self.deadline.lock:
            if self.deadline.expired():
                raise errors.DeadlinePassed()
            self.lock.verify()
            self._commit()
            self.deadline.stop()

    def _plain(self):
        _refuse_after(self.deadline)
        connection = sql_db.db_connect(self.job["database"])
        if self.lock.state().initialised:
            with connection.cursor() as cr:
                database.write_marker(cr, self.job, "started")
        self.marked = True
        self._work()
        with connection.cursor() as cr:
            database.write_marker(cr, self.job, "done")

    def _work(self):
        """The update itself and everything that it has to prove."""
        job, before = self.job, {}
        connection = sql_db.db_connect(job["database"])
        if not job.get("create"):
            with connection.cursor() as cr:
                before = invariants.measure(cr)
        if job["update"] or job["install"] or job.get("create"):
            registry = compat.update_registry(job["database"], job["update"], job["install"])
        else:
            registry = compat.registry_class().new(job["database"])
        self._no_own_commit()
        if self.log.fatal:
            raise errors.Stop(errors.FAILED, "Odoo logged: %s" % self.log.fatal[0])
        with registry.cursor() as cr:
            found = invariants.compare(before, invariants.measure(cr))
            found += invariants.state_invariants(cr, compat.manifest_version, job["update"] + job["install"])
        self.outcome["invariants"] = found
        broken = [i for i in found if not i["held"]]
        if broken:
            text = "; ".join("%s: before %s, after %s" % (i["name"], i["before"], i["after"]) for i in broken)
            raise errors.Stop(errors.FLOW_FAILED, "invariant broken: %s" % text)
        if not job.get("skip_flows"):
            self._flows(registry)

    def _flows(self, registry):
        self.log.muted = True  # their outcome is the evidence, not what Odoo logs meanwhile
        try:
            # People wait meanwhile: those that take long run in the rehearsal and on the new pool.
            ran = flows.run(registry, self.job["flows"], lambda name: result.progress("flow", name=name), brief=True)
        finally:
            self.log.muted = False
        self.outcome["flows"] = ran
        self._no_own_commit()
        failed = ["%s: %s" % (flow["name"], flow.get("error")) for flow in ran if flow["outcome"] == "failed"]
        if self.deadline.expired():
            raise errors.DeadlinePassed()
        if failed:
            raise errors.Stop(errors.FLOW_FAILED, "flow failed: %s" % "; ".join(failed))

    def _no_own_commit(self):
        if self.transaction and self.transaction.violation:
            raise errors.Stop(errors.OWN_COMMIT, self.transaction.violation)

    def _commit(self):
        try:
            self.transaction.commit()
        except psycopg2.Error as error:
            if getattr(error, "pgcode", None):
                raise
            # The connection broke during COMMIT: only the database knows.
            done = database.committed_after_all(self.job)
            if done is None:
                raise errors.Stop(
                    errors.FAILED, "the connection broke during COMMIT, and the database does not answer: read the marker"
                ) from error
            if not done:
                raise

    # -- after

    def _failed(self, error):
        code = errors.code_of(error)
        message = str(error) if isinstance(error, errors.Stop) else "%s: %s" % (type(error).__name__, error)
        if self.transaction and self.transaction.violation and code not in (errors.DEADLINE, errors.FLOW_FAILED):
            code, message = errors.OWN_COMMIT, self.transaction.violation
        elif self.deadline.expired() and code == errors.FAILED:
            code, message = errors.DEADLINE, "the deadline has passed; it was at: %s" % message
        self.outcome.update(
            outcome="partial" if self.marked else "rolled_back",
            error=" ".join(message.split())[:2000],
            trace="".join(traceback.format_exception(type(error), error, error.__traceback__))[-_TRACE:],
        )
        self._where()
        if self.transaction:
            try:
                self.transaction.rollback()
            except psycopg2.Error:  # the connection is gone, and the transaction with it
                _logger.info("rollback on a broken connection", exc_info=True)
        return code

    def _where(self):
        module = self.scripts.module or self.log.module
        if module:
            self.outcome["module"] = module
        if self.scripts.current:
            self.outcome["script"] = self.scripts.current

    def _summary(self):
        self.outcome.update(
            seconds=round(time.time() - self.started, 3),
            modules=self.log.modules,
            log_errors=self.log.errors,
            log_warnings=self.log.warnings,
        )
        if self.transaction:
            self.outcome["deferred_commits"] = self.transaction.deferred_commits

    def _finish(self, committed):
        if self.transaction:
            self.transaction.close()
            if committed:
                database.bounded(self.transaction.run_hooks, seconds=5)
        if self.lock:
            self.lock.close()

    # -- from the deadline's thread

    def _cancel(self):
        if self.transaction and self.transaction.connection is not None:
            self.transaction.connection.cancel()
        elif sql_db._Pool is not None:
            for connection in list(sql_db._Pool._connections):
                connection.cancel()

    def _give_up(self):
        where = self.scripts.current or self.log.module or "the update"
        self.outcome.update(
            outcome="partial" if self.marked else "rolled_back",
            error="the deadline has passed, and %s did not come back: the process was ended" % where,
        )
        self._where()
        self._summary()
        result.write(self.outcome)


def _refuse_after(deadline):
    """For the plain update: past the deadline no cursor runs a query or commits."""

    def checked(function):
        def wrapper(cursor, *args, **kwargs):
            if deadline.expired():
                raise errors.DeadlinePassed()
            return function(cursor, *args, **kwargs)

        return wrapper

    sql_db.Cursor.execute = checked(sql_db.Cursor.execute)
    sql_db.Cursor.commit = checked(sql_db.Cursor.commit)
