"""All cursors of this process on one PostgreSQL transaction.

Odoo commits after each module. Here a cursor's commit becomes a savepoint, its rollback goes
back to that savepoint, and one real COMMIT ends it all: what Odoo's TestCursor does for tests,
for the real update. Whoever tries to end the real transaction from inside is refused and named.
"""
import re
import sys

import psycopg2
import psycopg2.extensions

from odoo import sql_db

from .. import compat, guard
from . import errors, statements

_SCRIPT = re.compile(r"/(?:migrations|upgrades)/[^/]+/(?:pre|post|end)-[^/]+\.py$")


def script_in_stack():
    """``module/migrations/version/file.py:line`` of the innermost migration script that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if _SCRIPT.search(name):
            return "%s:%d" % ("/".join(name.split("/")[-4:]), frame.f_lineno)
        frame = frame.f_back
    return ""


class _Cursor(psycopg2.extensions.cursor):
    def execute(self, query, vars=None):
        self.connection.waybill.before(query)
        return super().execute(query, vars)

    def copy_expert(self, sql, *args, **kwargs):
        self.connection.waybill.before("")
        return super().copy_expert(sql, *args, **kwargs)


class _Connection(sql_db.PsycoConnection):
    """The one real connection. Its transaction is ended by Transaction, and by nobody else."""

    waybill = None

    def commit(self):
        if self.waybill is None:
            return super().commit()
        raise self.waybill.own_commit("commit on the raw connection")

    def rollback(self):
        if self.waybill is None:
            return super().rollback()
        raise self.waybill.own_commit("rollback on the raw connection")

    # Cursor.__init__ calls both on the raw connection; they would end the transaction.
    def set_isolation_level(self, level):
        if self.waybill is None:
            super().set_isolation_level(level)

    def set_session(self, *args, **kwargs):
        if self.waybill is None:
            super().set_session(*args, **kwargs)
            return
        if kwargs.get("autocommit") or (len(args) > 3 and args[3]):
            raise self.waybill.own_commit("autocommit")

    def reset(self):
        if self.waybill is None:
            super().reset()


class _Facade:
    """What one Odoo cursor sees as its connection."""

    _pool_in_use = True
    _pool_last_used = 0

    def __init__(self, transaction):
        self._transaction = transaction
        transaction.open.append(self)
        self._mark()

    def _mark(self):
        self.at = self._transaction.next_mark()
        self._transaction.run("SAVEPOINT waybill_%d" % self.at)

    def _is_last(self):
        return all(other is self or other.at < self.at for other in self._transaction.open)

    def cursor(self, *args, **kwargs):
        kwargs.setdefault("cursor_factory", _Cursor)
        return self._transaction.connection.cursor(*args, **kwargs)

    def commit(self):
        self._transaction.check_commit()
        if self._is_last():  # keeps the stack of savepoints as short as the number of cursors
            self._transaction.run("RELEASE SAVEPOINT waybill_%d" % self.at)
        self._mark()

    def rollback(self):
        self._transaction.run("ROLLBACK TO SAVEPOINT waybill_%d" % self.at)
        for other in self._transaction.open:  # theirs went with ours
            if other is not self and other.at > self.at:
                other._mark()

    reset = rollback

    def close(self):
        """The cursor's pool takes the connection back."""
        if self in self._transaction.open:
            last = self._is_last()
            self._transaction.open.remove(self)
            if last:
                self._transaction.run("ROLLBACK TO SAVEPOINT waybill_%d" % self.at)
                self._transaction.run("RELEASE SAVEPOINT waybill_%d" % self.at)

    def set_isolation_level(self, level):
        pass

    def set_session(self, *args, **kwargs):
        self._transaction.connection.set_session(*args, **kwargs)

    @property
    def autocommit(self):
        return False

    @autocommit.setter
    def autocommit(self, value):
        if value:
            raise self._transaction.own_commit("autocommit")

    def __getattr__(self, name):
        return getattr(self._transaction.connection, name)


class Transaction:
    """The one transaction on ``database``; ``install`` puts it under all of Odoo's cursors."""

    def __init__(self, database, connect, expired):
        self.database = database
        self.connection = None
        self.open = []
        self.deferred_commits = 0
        self.violation = ""
        self._connect = connect
        self._expired = expired
        self._marks = 0
        self._hooks = []
        self._stock = {}

    # -- what Odoo's pool does

    def install(self):
        _name, info = sql_db.connection_info_for(self.database)
        self.connection = self._connect(connection_factory=_Connection, **info)
        self.connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_REPEATABLE_READ)
        self.connection.waybill = self
        pool = sql_db.ConnectionPool
        self._stock = {
            (pool, "borrow"): pool.borrow,
            (pool, "give_back"): pool.give_back,
            (pool, "close_all"): pool.close_all,
            (sql_db.Cursor, "commit"): sql_db.Cursor.commit,
            (psycopg2, "connect"): psycopg2.connect,
        }
        transaction, stock_commit = self, sql_db.Cursor.commit

        def borrow(_pool, info):
            if info.get("database", info.get("dbname")) != transaction.database:
                raise transaction.own_commit("a connection to database %r" % info.get("database", info.get("dsn")))
            return _Facade(transaction)

        def give_back(_pool, connection, keep_in_pool=True):
            connection.close()

        def commit(cursor):
            guard.refuse("commit")  # before the hooks of a flow get anywhere
            cursor.flush()
            transaction.take_hooks(cursor.postcommit)  # they wait for the real commit
            stock_commit(cursor)

        def connect(*args, **kwargs):
            guard.refuse("a database connection of its own")
            raise transaction.own_commit("a connection of its own")

        pool.borrow, pool.give_back, pool.close_all = borrow, give_back, lambda _pool, dsn=None: None
        sql_db.Cursor.commit = commit
        psycopg2.connect = connect

    def uninstall(self):
        for (owner, name), function in self._stock.items():
            setattr(owner, name, function)
        self._stock = {}

    def take_hooks(self, callbacks):
        if callbacks:
            self._hooks.extend(compat.deferred_hooks(callbacks))

    def run_hooks(self):
        """Runs, after the commit and on stock connections, what waited for it. Returns what was raised."""
        raised = []
        for hook in self._hooks:
            try:
                hook()
            except Exception as error:  # the commit is done; nothing of this may undo that
                raised.append(error)
        self._hooks = []
        return raised

    # -- rules

    def next_mark(self):
        self._marks += 1
        return self._marks

    def run(self, query):
        with self.connection.cursor() as cursor:
            cursor.execute(query)

    def before(self, query):
        if self._expired():
            raise errors.DeadlinePassed()
        guard.statement(query)  # of a flow: it is the flow that fails
        if statements.ends_transaction(query):
            raise self.own_commit("SQL that ends the transaction (%s)" % " ".join(str(query).split())[:80])

    def check_commit(self):
        if self._expired():
            raise errors.DeadlinePassed()
        script = script_in_stack()
        if script:
            raise self.own_commit("commit")
        self.deferred_commits += 1

    def own_commit(self, what):
        """The error to raise; also remembered, for scripts that swallow it."""
        guard.refuse(what)  # a flow: it is the flow that fails
        script = script_in_stack()
        message = "%s%s: the update cannot be one transaction" % (what, " in " + script if script else "")
        if not self.violation:
            self.violation = message
        return errors.OwnCommit(message)

    # -- the end

    def commit(self):
        psycopg2.extensions.connection.commit(self.connection)

    def rollback(self):
        if self.connection is not None and not self.connection.closed:
            psycopg2.extensions.connection.rollback(self.connection)

    def close(self):
        self.uninstall()
        if self.connection is not None and not self.connection.closed:
            self.connection.close()
