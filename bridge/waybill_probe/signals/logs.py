"""Counts what Odoo logs: errors by logger, and the last distinct messages without their values.

Values are left out of messages; see wording.py.
"""
import json
import logging
import threading

from .. import guard
from . import calls, slow, wording

# Fields of a cell that counts lines.
_LEVELS = {"critical": 0, "error": 1, "warning": 2, "slow": 3}
_LOGGERS = 40  # of a database; the others count together
_OTHERS = "others"
_SLOW = ""  # in place of a logger
_MESSAGES = 32  # in an answer

_memory = None
_loggers = {}  # database -> {logger: index of its cell}


def install(shared):
    global _memory
    _memory = shared
    logging.getLogger().addHandler(_Handler(logging.WARNING))
    slow.install(_slow)


def key(database, logger=""):
    return "%s\0log\0%s" % (database, logger)


class _Handler(logging.Handler):
    """Has no lock of its own: whoever logs may hold one that counting would need."""

    def createLock(self):
        self.lock = None

    def handle(self, record):
        if record.levelno >= self.level and not guard.active():  # what a flow logs is not traffic
            try:
                self.emit(record)
            except Exception:  # whatever it is, the line itself is on its way
                pass
        return True

    def emit(self, record):
        database = getattr(threading.current_thread(), "dbname", None)
        if not calls.known(database):
            database = ""
        level = "critical" if record.levelno >= logging.CRITICAL else "error" if record.levelno >= logging.ERROR else "warning"
        _count(database, record.name, level)
        _memory.note(_encoded(database, level, record.name, wording.message(record.msg, record.pathname, record.lineno), _where(record), _exception(record)))


def _slow(where, query):
    database = getattr(threading.current_thread(), "dbname", None)
    database = database if calls.known(database) else ""
    _count(database, _SLOW, "slow")
    _memory.note(_encoded(database, "slow", "", query, where, ""))


def _count(database, logger, level):
    cells = _loggers.setdefault(database, {})
    index = cells.get(logger)
    if index is None:
        if len(cells) >= _LOGGERS:
            logger = _OTHERS
        index = cells[logger] = _memory.index(key(database, logger[:60]))
    _memory.add(index, _LEVELS[level])


def _encoded(database, level, logger, text, where, exception):
    return json.dumps([database, level, logger[:60], text[:300], where[:120], exception[:160]], ensure_ascii=False)


def _where(record):
    return "%s:%d" % (wording.short(record.pathname), record.lineno)


def _exception(record):
    """Type of what was raised, and the last place of an addon that it came through."""
    error = record.exc_info[1] if record.exc_info else record.msg if isinstance(record.msg, Exception) else None
    if error is None:
        return ""
    place, trace = "", error.__traceback__
    for _step in range(200):
        if trace is None:
            break
        name = trace.tb_frame.f_code.co_filename
        if ("/addons/" in name or not place) and "/waybill_probe/" not in name:
            place = "%s:%d" % (wording.short(name), trace.tb_lineno)
        trace = trace.tb_next
    return "%s at %s" % (type(error).__name__, place) if place else type(error).__name__


def answer(database):
    """LogCounts of internal/bridge/signals.go."""
    counts = {"critical": 0, "error": 0, "warning": 0, "slow": 0}
    loggers = []
    for logger, fields in sorted(_memory.read(key(database)).items()):
        line = {name: fields[field] for name, field in _LEVELS.items()}
        for name, count in line.items():
            counts[name] += count
        if logger != _SLOW:
            loggers.append({"logger": logger, "critical": line["critical"], "error": line["error"], "warning": line["warning"]})
    messages = []
    for encoded, count, ago in _memory.messages():
        try:
            of, level, logger, text, where, exception = json.loads(encoded)
        except ValueError:  # it was being written over
            continue
        if of == database and len(messages) < _MESSAGES:
            messages.append(
                {"level": level, "logger": logger, "text": text, "where": where, "exception": exception, "count": count, "ago": round(ago, 3)}
            )
    return {**counts, "loggers": loggers, "messages": messages}
