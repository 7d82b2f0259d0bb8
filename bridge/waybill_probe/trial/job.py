"""The trial, from job.json to result.json. Its steps, in order, are in Trial._run."""
import json
import logging
import time
import traceback

import psycopg2

from odoo import sql_db

from .. import compat, flows, paths
from ..update import database, errors, result, watch
from . import models, views

_logger = logging.getLogger(__name__)

_LIMIT = 1 << 20  # bytes of job.json
_TRACE = 16 << 10
_PROBLEMS = 200


def read(path=paths.JOB_FILE):
    """The TryJob of protocol.go, checked."""
    with open(path, "rb") as file:
        raw = file.read(_LIMIT + 1)
    if len(raw) > _LIMIT:
        raise ValueError("%s is larger than %d bytes" % (path, _LIMIT))
    job = json.loads(raw.decode("utf-8"))
    if job.get("protocol") != paths.PROTOCOL:
        raise ValueError("%s speaks protocol %r, this bridge %d" % (path, job.get("protocol"), paths.PROTOCOL))
    if not isinstance(job.get("database"), str) or not job["database"]:
        raise ValueError("%s names no database" % path)
    for name in ("flows", "views"):
        job[name] = job.get(name) or []
    job["deadline"] = float(job.get("deadline") or 0)
    return job


def main():
    """Runs job.json. Returns the exit code; result.json is there in every case."""
    outcome = {
        "outcome": "failed",
        "seconds": 0.0,
        "registry_seconds": 0.0,
        "neutralised": 0,
        "models": 0,
        "views": 0,
        "problems": [],
        "flows": [],
        "log_errors": [],
        "log_warnings": [],
    }
    try:
        job = read()
    except (OSError, ValueError) as error:
        outcome["error"] = "the job cannot be read: %s" % error
        result.write(outcome)
        return errors.FAILED
    return Trial(job, outcome).run()


class Trial:
    def __init__(self, job, outcome):
        self.job = job
        self.outcome = outcome
        self.started = time.time()
        self.log = watch.Log(result.progress)
        self.deadline = watch.Deadline(job["deadline"], self._cancel, self._give_up)

    def run(self):
        code = errors.FAILED
        try:
            self.log.install()
            self.deadline.start()
            self._run()
            failed = self.outcome["problems"] or any(f["outcome"] == "failed" for f in self.outcome["flows"])
            self.outcome["outcome"] = "failed" if failed else "passed"
            code = errors.FLOW_FAILED if failed else errors.COMMITTED
        except BaseException as error:  # also SystemExit of an addon: the result must be written
            code = errors.code_of(error)
            self.outcome["error"] = " ".join(("%s: %s" % (type(error).__name__, error)).split())[:2000]
            self.outcome["trace"] = traceback.format_exc()[-_TRACE:]
        with self.deadline.lock:
            self.deadline.stop()
        self._summary()
        result.write(self.outcome)
        result.progress("end", outcome=self.outcome["outcome"], code=code)
        return code

    def _run(self):
        name = self.job["database"]
        lock = database.Lock(name)  # proves that the database is there, and that nobody updates it
        try:
            if not lock.state().initialised:
                raise errors.Stop(errors.NOT_AN_ODOO_BASE, "database %s holds no Odoo" % name)
        finally:
            lock.close()
        from odoo.service.server import load_server_wide_modules

        from .. import peace

        load_server_wide_modules()
        peace.install()  # as in a pool: views are pruned of what this release does not know
        if self.job.get("neutralise"):
            self._neutralise(name)
        result.progress("registry")
        before = time.monotonic()
        registry = compat.registry(name)
        self.outcome["registry_seconds"] = round(time.monotonic() - before, 3)
        if not registry.ready:
            raise errors.Stop(errors.FAILED, "the registry of %s does not get ready" % name)
        self._look(registry, models, "models")
        if self.job.get("check_views", True):
            self._look(registry, views, "views")
        if not self.job.get("skip_flows"):
            self.log.muted = True  # their outcome is the evidence
            self.outcome["flows"] = flows.run(registry, self.job["flows"], lambda flow: result.progress("flow", name=flow))

    def _look(self, registry, what, name):
        result.progress(name)
        with registry.cursor() as cr:
            try:
                count, problems = what.check(cr, registry, self.job)
            finally:
                cr.rollback()
        self.outcome[name] = count
        self.outcome["problems"] += problems[: _PROBLEMS - len(self.outcome["problems"])]

    def _neutralise(self, name):
        """Switches off, by Odoo's own means, what a copy must not do: mail, crons, carriers, payments."""
        from odoo.modules import neutralize

        result.progress("neutralise")
        with sql_db.db_connect(name).cursor() as cr:
            for query in neutralize.get_neutralization_queries(neutralize.get_installed_modules(cr)):
                cr.execute(query)
                self.outcome["neutralised"] += 1

    def _summary(self):
        self.outcome.update(
            seconds=round(time.time() - self.started, 3),
            log_errors=self.log.errors,
            log_warnings=self.log.warnings,
        )

    def _cancel(self):
        if sql_db._Pool is not None:
            for connection in list(sql_db._Pool._connections):
                try:
                    connection.cancel()
                except psycopg2.Error:
                    _logger.info("a connection was gone already")

    def _give_up(self):
        self.outcome["error"] = "the deadline has passed: the process was ended"
        self._summary()
        result.write(self.outcome)
