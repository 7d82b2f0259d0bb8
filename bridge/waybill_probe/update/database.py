"""What the update reads and writes in the tenant's database besides Odoo's own work."""
import collections
import json
import logging
import threading
import time

import psycopg2

from odoo import sql_db

from .. import paths
from . import errors

_logger = logging.getLogger(__name__)

State = collections.namedtuple("State", "initialised marker")


def _connect(database):
    _name, info = sql_db.connection_info_for(database)
    info["application_name"] = "waybill-update"
    connection = psycopg2.connect(**info)
    connection.autocommit = True
    return connection


def _exists(database):
    """Whether there is such a database; None when that cannot be found out."""
    try:
        connection = _connect("postgres")
    except psycopg2.Error:
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            return bool(cursor.fetchone())
    finally:
        connection.close()


class Lock:
    """The advisory lock that an update holds: on a connection of its own, until the process ends."""

    def __init__(self, database):
        self.database = database
        try:
            self._connection = _connect(database)
        except psycopg2.OperationalError as error:
            exists = _exists(database)
            if exists is False or (exists is None and "does not exist" in str(error)):
                raise errors.Stop(
                    errors.NO_DATABASE, "there is no database %s: create it first, or name another one" % database
                ) from error
            raise errors.Stop(
                errors.FAILED, "database %s cannot be reached: %s" % (database, " ".join(str(error).split()))
            ) from error
        if not self._one("SELECT pg_try_advisory_lock(%s, %s)", paths.LOCK_CLASS, paths.LOCK_KEY):
            self.close()
            raise errors.Stop(errors.BUSY, "another update of database %s is under way" % database)

    def _one(self, query, *params):
        with self._connection.cursor() as cursor:
            cursor.execute(query, params)
            row = cursor.fetchone()
            return row[0] if row else None

    def state(self):
        """Whether Odoo is in the database, and the marker of its last update."""
        if not self._one("SELECT to_regclass('ir_module_module') IS NOT NULL"):
            return State(False, {})
        base = self._one("SELECT 1 FROM ir_module_module WHERE name = 'base' AND state <> 'uninstalled'")
        return State(bool(base), _marker(self._connection))

    def verify(self):
        """Raises when the lock was lost, with its connection, during the update."""
        try:
            self._one("SELECT 1")
        except psycopg2.Error as error:
            raise errors.Stop(
                errors.FAILED, "the connection that holds the update's lock is gone: %s" % " ".join(str(error).split())
            ) from error

    def log(self, text):
        """Writes a line to the server's log, at once."""
        with self._connection.cursor() as cursor:
            cursor.execute("DO $waybill$BEGIN RAISE LOG '%%', %s; END$waybill$", [text.replace("$waybill$", "")])

    def close(self):
        self._connection.close()


def _marker(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('ir_config_parameter') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute("SELECT value FROM ir_config_parameter WHERE key = %s", [paths.MARKER_PARAMETER])
        row = cursor.fetchone()
    try:
        marker = json.loads(row[0]) if row else {}
    except ValueError:
        marker = {}
    return marker if isinstance(marker, dict) else {}


def _set(cr, key, value):
    cr.execute(
        "UPDATE ir_config_parameter SET value = %s, write_date = now() AT TIME ZONE 'UTC' WHERE key = %s", [value, key]
    )
    if not cr.rowcount:
        cr.execute(
            """INSERT INTO ir_config_parameter (key, value, create_uid, write_uid, create_date, write_date)
               VALUES (%s, %s, 1, 1, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')""",
            [key, value],
        )


def write_marker(cr, job, state):
    """The proof of what became of the update and, once it is done, the modules' checksums."""
    marker = {
        "promotion": job.get("promotion") or "",
        "release": job.get("release") or "",
        "state": state,
        "at": time.time(),
    }
    _set(cr, paths.MARKER_PARAMETER, json.dumps(marker))
    if state == "done" and job["checksums"]:
        # The key and the form of click-odoo-contrib, so that users can move over and back.
        _set(cr, paths.CHECKSUMS_PARAMETER, json.dumps(job["checksums"], sort_keys=True))


def committed_after_all(job, tries=10):
    """After a COMMIT whose answer got lost: whether it happened; None when the database does not say."""
    for _ in range(tries):
        try:
            connection = _connect(job["database"])
        except psycopg2.Error:
            time.sleep(0.5)
            continue
        try:
            marker = _marker(connection)
            return (
                marker.get("state") == "done"
                and marker.get("promotion") == (job.get("promotion") or "")
                and marker.get("release") == (job.get("release") or "")
            )
        except psycopg2.Error:
            time.sleep(0.5)
        finally:
            connection.close()
    return None


def bounded(function, seconds):
    """Runs the hooks that waited for the commit, but does not wait for them for ever."""

    def run():
        for error in function():
            _logger.warning("a hook after the commit failed: %s: %s", type(error).__name__, error)

    thread = threading.Thread(target=run, name="waybill.hooks", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _logger.warning("hooks after the commit took more than %d s and were left alone", seconds)
