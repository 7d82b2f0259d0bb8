"""Times the calls that matter to the business, as real traffic makes them.

A call is wrapped in the class that the registry has built, so that what all modules add to it is
inside. It counts when the transaction that it is part of has ended: one that Odoo
tries again after a conflict counts once, and one that is rolled back in the end was not done.
"""
import functools
import inspect
import logging
import os
import threading
import time

import psycopg2
import werkzeug.exceptions

from .. import compat, guard
from . import declaration, memory, slow

_logger = logging.getLogger(__name__)

# name -> methods. Where a name has several, only the outermost call of them counts.
CALLS = {
    "order_confirm": [("sale.order", "action_confirm")],
    "purchase_confirm": [("purchase.order", "button_confirm")],
    "reserve": [("stock.picking", "action_assign")],
    "picking_validate": [("stock.picking", "button_validate")],
    "pos_sync": [("pos.order", "sync_from_ui"), ("pos.order", "create_from_ui")],
    "post": [("account.move", "action_post"), ("account.move", "_post")],
    "carrier_rate": [("delivery.carrier", "rate_shipment")],
    "carrier_label": [("delivery.carrier", "send_shipping")],
}

_DATABASE_CALLS = 60
_DONE = -1  # an outcome; the others are fields of a cell


class _Thread(threading.local):
    def __init__(self):
        self.inside = set()  # names of calls that this thread is in
        self.pending = None  # of the transaction: [cell, nanoseconds, outcome]; None: not in one that is tried again


_here = _Thread()
_memory = None
_tenants = set()  # databases whose registry was attached in this process


def known(database):
    """Whether this process serves a database. Takes no lock: the log asks, from anywhere."""
    return database in _tenants


def install(shared):
    global _memory
    _memory = shared
    _patch_registry()
    _patch_retrying()


def key(database, name=""):
    return "%s\0call\0%s" % (database, name)


def _patch_registry():
    registry = compat.registry_class()
    stock = registry.new.__func__

    def new(cls, db_name, *args, **options):
        with cls._lock:  # nobody gets the registry before it is complete
            built = stock(cls, db_name, *args, **options)
            try:
                attach(built)
            except Exception:  # what cannot be measured is served all the same
                _logger.exception("calls of database %s are not timed", db_name)
            return built

    registry.new = classmethod(new)


def attach(registry):
    """Wraps the calls in the classes of a registry; once."""
    if registry.__dict__.get("_waybill_calls") is not None:
        return
    calls, problems = declared(registry)
    for name, methods in calls.items():
        for model, method in methods:
            if model not in registry:
                continue
            cls = registry[model]
            stock = inspect.getattr_static(cls, method, None)
            if stock is None:
                continue
            if not inspect.isfunction(stock):
                problems.append("%s.%s is no plain method: %s does not time it" % (model, method, name))
                continue
            setattr(cls, method, _timed(_Cell(registry.db_name, name), model, stock))
    registry._waybill_calls = sorted(
        name for name, methods in calls.items() if any(m in registry and hasattr(registry[m], f) for m, f in methods)
    )
    registry._waybill_problems = problems
    _tenants.add(registry.db_name)


def declared(registry):
    """The calls to time in a database, with those that its modules name, and what is wrong with those."""
    calls = {name: list(methods) for name, methods in CALLS.items()}
    problems = []
    for module in sorted(registry._init_modules):
        path = compat.module_folder(module)
        if not path or not os.path.isfile(os.path.join(path, declaration.FILE)):
            continue
        try:
            for name, methods in declaration.read(os.path.join(path, declaration.FILE)).items():
                for model, method in methods:
                    if model not in registry or not callable(getattr(registry[model], method, None)):
                        problems.append("%s/%s: %s: there is no %s.%s" % (module, declaration.FILE, name, model, method))
                if name not in calls and len(calls) >= _DATABASE_CALLS:
                    problems.append("%s/%s: %s is not timed: there are %d calls already" % (module, declaration.FILE, name, len(calls)))
                    continue
                merged = calls.setdefault(name, [])
                merged.extend(one for one in methods if one not in merged)
        except (OSError, ValueError) as error:
            problems.append("%s/%s: %s" % (module, declaration.FILE, error))
    return calls, problems


class _Cell:
    """Where a call of a database counts."""

    __slots__ = ("name", "_key", "_index")

    def __init__(self, database, name):
        self.name = name
        self._key = key(database, name)
        self._index = None

    def count(self, took, outcome, synthetic=False):
        if self._index is None:
            self._index = _memory.index(self._key)
        if outcome == _DONE:
            _memory.add(self._index, memory.bucket(took), took, synthetic)
        else:
            _memory.add(self._index, outcome, 0, synthetic)


def _timed(cell, model, stock):
    name = cell.name

    @functools.wraps(stock)
    def timed(self, *args, **kwargs):
        inside = _here.inside
        if name in inside or self._name != model:  # a model that was made from this one is another
            return stock(self, *args, **kwargs)
        inside.add(name)
        started = time.perf_counter_ns()
        try:
            answer = stock(self, *args, **kwargs)
            outcome = _DONE
            if type(answer) is dict and answer.get("success") is False:  # as carriers say no
                outcome = memory.REFUSED
        except Exception as error:
            outcome = outcome_of(error)
            raise
        except BaseException:  # the process or the thread ends
            outcome = None
            raise
        finally:
            took = time.perf_counter_ns() - started
            inside.discard(name)
            if outcome is not None:
                _end(cell, took, outcome)
        return answer

    return timed


def _end(cell, took, outcome):
    if guard.active():  # a flow, which is rolled back: it has no other end
        cell.count(took, outcome, synthetic=True)
    elif _here.pending is None:
        cell.count(took, outcome)
    else:
        _here.pending.append((cell, took, outcome))


# Business errors that the database raises in Odoo's stead: unique, check, exclusion, foreign key.
_BUSINESS = ("23505", "23514", "23P01", "23503", "23001")


def outcome_of(error):
    """Whether an exception tells a person what is wrong, or is a fault."""
    from odoo.exceptions import RedirectWarning, UserError

    if isinstance(error.__cause__, psycopg2.IntegrityError):  # Odoo makes all of them a ValidationError
        error = error.__cause__
    if isinstance(error, psycopg2.IntegrityError):
        return memory.REFUSED if error.pgcode in _BUSINESS else memory.FAILED
    if isinstance(error, (UserError, RedirectWarning)):
        return memory.REFUSED
    if isinstance(error, werkzeug.exceptions.HTTPException) and (error.code or 200) < 500:
        return memory.REFUSED
    return memory.FAILED


def _patch_retrying():
    """Odoo's loop around a transaction: only here is it known how it ended."""
    from odoo.service import model

    stock = model.retrying

    def retrying(func, env):
        outer, pending = _here.pending, []
        _here.pending = pending
        slow.watch()

        def attempt():
            del pending[:]  # what was tried before was rolled back and counts for nothing
            return func()

        try:
            answer = stock(attempt, env)
        except psycopg2.errors.ReadOnlySqlTransaction as error:
            if not getattr(env.cr, "readonly", False):  # else Odoo tries again with another cursor
                _rolled_back(pending, error)
            raise
        except Exception as error:
            _rolled_back(pending, error)
            raise
        finally:
            _here.pending = outer
        for cell, took, outcome in pending:
            cell.count(took, outcome)
        return answer

    model.retrying = retrying


def _rolled_back(pending, error):
    for cell, took, outcome in pending:
        cell.count(took, outcome_of(error) if outcome == _DONE else outcome)
