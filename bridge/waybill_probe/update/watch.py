"""What is kept while an update runs: the log, the times, the script, the deadline."""
import logging
import os
import re
import threading
import time

from .. import compat

_LIMIT = 100  # messages of each kind in the result
_LENGTH = 2000


class Log(logging.Handler):
    """Collects what Odoo logs. Exit 0 is not success: what it only logs decides too."""

    def __init__(self, progress):
        super().__init__(logging.INFO)
        self.errors, self.warnings, self.fatal = [], [], []
        self.modules = []
        self.module = ""
        self.muted = False
        self._progress = progress

    def install(self):
        logging.getLogger().addHandler(self)
        loading = logging.getLogger(compat.LOADING_LOGGER)
        if loading.getEffectiveLevel() > logging.INFO:
            loading.setLevel(logging.INFO)  # the times are read from it

    def emit(self, record):
        try:
            self._emit(record)
        except Exception:  # a log record must never break the update
            self.handleError(record)

    def _emit(self, record):
        text = str(record.msg)
        if record.name == compat.LOADING_LOGGER and record.levelno == logging.INFO:
            if text.startswith(compat.LOADING_STARTED):
                self.module = str(record.args[0])
                self._progress("module", name=self.module, index=record.args[1], count=record.args[2])
            elif text.startswith(compat.LOADING_ENDED):
                self.modules.append({"name": str(record.args[0]), "seconds": round(float(record.args[1]), 3)})
                self.module = ""
                self._progress("loaded", name=str(record.args[0]))
        if record.levelno < logging.WARNING or self.muted:
            return
        line = "%s: %s" % (record.name, record.getMessage())
        line = re.sub(r"\s+", " ", line)[:_LENGTH]
        if record.levelno >= logging.ERROR:
            self._add(self.errors, line)
            self._add(self.fatal, line)
            return
        self._add(self.warnings, line)
        if record.name == compat.SCHEMA_LOGGER and not text.startswith(compat.SCHEMA_HARMLESS):
            self._add(self.fatal, line)
        elif any(record.name == name and text.startswith(start) for name, start in compat.FATAL_WARNINGS):
            self._add(self.fatal, line)

    @staticmethod
    def _add(lines, line):
        if len(lines) < _LIMIT:
            lines.append(line)


class Scripts:
    """Knows which migration script runs."""

    def __init__(self, progress):
        self.current = ""
        self.module = ""
        self._progress = progress

    def install(self):
        from odoo.modules import migration

        stock = migration.exec_script

        def exec_script(cr, installed_version, pyfile, addon, stage, version=None):
            self.current, self.module = "/".join(str(pyfile).split("/")[-4:]), addon
            self._progress("script", name=self.current)
            result = stock(cr, installed_version, pyfile, addon, stage, version)
            self.current = self.module = ""  # kept where it raised
            self._progress("script_end", name=addon)
            return result

        migration.exec_script = exec_script


class Deadline:
    """Ends the update at a point in time, even where Python hangs.

    At the deadline the running query is cancelled and every further one refused. When the main
    thread has not come back ``grace`` seconds later, ``give_up`` is called and the process ends:
    the server then rolls back what the connection had.
    """

    def __init__(self, at, cancel, give_up, grace=3.0):
        self.at = at
        self.lock = threading.Lock()  # held over the commit: it is either before or not at all
        self._cancel = cancel
        self._give_up = give_up
        self._grace = grace
        self._over = threading.Event()
        self._thread = None

    def expired(self):
        return bool(self.at) and time.time() >= self.at

    def start(self):
        if self.at:
            self._thread = threading.Thread(target=self._run, name="waybill.deadline", daemon=True)
            self._thread.start()

    def stop(self):
        """No more deadline: the result is known."""
        self._over.set()

    def _run(self):
        if self._over.wait(max(0.0, self.at - time.time())):
            return
        with self.lock:
            if self._over.is_set():
                return
            try:
                self._cancel()
            except Exception:
                logging.getLogger(__name__).exception("the running query could not be cancelled")
        if self._over.wait(self._grace):
            return
        with self.lock:
            if self._over.is_set():
                return
            try:
                self._give_up()
            finally:
                os._exit(12)
