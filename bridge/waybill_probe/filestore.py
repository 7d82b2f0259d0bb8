"""Files of attachments in object storage, behind a gateway (gateway.py), with copies in the pod of what it has used (copies.py).

Odoo's own way is kept: a file is marked for collection before it is written, its name comes into the database in a transaction that
holds ir_attachment, and what is marked is collected under a lock that excludes such transactions. Only where the file
and its mark lie is another matter. So what a transaction names is in the bucket when it commits, and what it does not name after
all is collected.

That the pod has a copy says nothing about the bucket, where another pod may have collected the file: each write goes there.
"""
import json
import logging
import os
import re
import time

from . import copies, gateway, paths, peace

_logger = logging.getLogger(__name__)

_BATCH = 100  # files that are looked up in one query
_HOLD = 1.0  # seconds that everybody who writes an attachment waits for a collection
_PATIENCE = "10s"  # that a collection waits for them, as Odoo's


class Config:
    """A FilesConfig of protocol.go."""

    def __init__(self, data):
        if data.get("protocol") != paths.PROTOCOL:
            raise ValueError("speaks protocol %r, this bridge %d" % (data.get("protocol"), paths.PROTOCOL))
        self.url, self.token, self.cache = data["url"], data["token"], data["cache"]
        if not isinstance(self.url, str) or not isinstance(self.token, str) or not re.fullmatch(r"[!-~]+", self.token):
            raise ValueError("names no gateway, or no token")
        if not isinstance(self.cache, int) or isinstance(self.cache, bool) or self.cache < 1:
            raise ValueError("cache is %r: expected a number of bytes" % (self.cache,))


def parse(raw):
    try:
        data = json.loads(raw.decode("utf-8"))
        if not isinstance(data, dict):
            raise ValueError("is not an object")
        return Config(data)
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError("malformed: %r" % error) from error


def config():
    """Where files are; None: in Odoo's own folder, and nowhere else. A file that is there and cannot be used is an error: the process shall not start."""
    try:
        with open(paths.FILES_FILE, "rb") as file:
            return parse(file.read(1 << 16))
    except FileNotFoundError:
        return None


class Files:
    """The files of databases, as Odoo's methods below need them. A path is where Odoo looks for a copy."""

    def __init__(self, client, local):
        self._client, self._local = client, local

    def present(self, database, name, path):
        """Sees to it that the copy is there. False where there is no such file."""
        if self._local.has(path):
            return True
        try:
            return self._client.fetch(database, name, lambda parts: self._local.add(path, parts))
        except copies.Wrong as error:
            # Nothing is better than something else; and somebody has to look at it.
            _logger.error("files: %s of database %s: what the bucket has is not that file: %s", name, database, error)
            raise gateway.Away("what the bucket has of %s is not that file" % name) from error
        except gateway.NotKept as error:
            _logger.error("files: no copy of %s can be kept in this pod: %s", name, error)
            raise gateway.Away("no copy of a file can be kept: %s" % error) from error

    def write(self, database, name, path, content):
        """Stores a file. Whether it is new; where it is not, a copy is there to be compared with."""
        self._client.mark(database, name)  # first: what is not marked is never collected
        if not self._client.store(database, name, content):
            if not self.present(database, name, path):
                raise gateway.Away("%s was there, and is not there any more" % name)
            return False
        if not self._local.has(path):
            try:
                self._local.add(path, [content])
            except OSError as error:  # it is stored, which is what matters
                _logger.warning("files: no copy of %s can be kept in this pod: %s", name, error)
        return True

    def mark(self, database, name):
        self._client.mark(database, name)

    def marked(self, database):
        return self._client.marked(database)

    def remove(self, database, name, path):
        self._client.delete(database, name)
        self._local.remove(path)

    def unmark(self, database, name):
        self._client.unmark(database, name)

    def probe(self, database):
        self._client.probe(database)


_files = None


def problem(database):
    """Why files cannot be reached; empty where they can, or are in Odoo's own folder."""
    if _files is None:
        return ""
    try:
        _files.probe(database)
    except (gateway.Away, gateway.Refused) as error:
        return "files are in object storage, whose gateway is of no use: %s" % error
    return ""


def install():
    global _files
    try:
        where = config()
        if where is None:
            return
        client = gateway.Client(where.url, where.token)
        from odoo.tools import config as odoo_config

        local = copies.Copies(os.path.join(odoo_config["data_dir"], "filestore"), where.cache)
        local.claim()
    except (OSError, ValueError, copies.Occupied) as error:
        # Odoo goes on without a server-wide module that cannot be loaded, and would keep files where nobody else finds them.
        _logger.critical("files: %s: %s", paths.FILES_FILE, error)
        raise SystemExit(1) from error
    _files = Files(client, local)
    _patch_attachments(_files)
    _patch_commit()
    _patch_errors()
    _logger.info("files are in object storage, behind %s", where.url)


Unavailable = None  # what a request is answered with, once there is an Odoo


def _guard(what, *arguments):
    from odoo import http
    from odoo.exceptions import UserError

    try:
        return what(*arguments)
    except gateway.TooLarge as error:
        raise UserError("The file is too large to be stored: %s." % error) from error
    except gateway.Away as error:
        if http.request:
            raise Unavailable() from error
        raise


def _spoil(cr):
    """A file could not be stored, and the row that names it is in the transaction already: it must not be committed, also where the error is
    swallowed, as by Odoo's own upload. So the database refuses the rest, up to a savepoint from before that row, if there is one.
    """
    import psycopg2

    cr.waybill_spoiled = True
    try:
        cr._obj.execute("SELECT 'a file could not be stored: nothing of this transaction is committed'::int")
    except psycopg2.Error:
        _logger.info("a file could not be stored: nothing of the transaction is committed", exc_info=True)


def _patch_commit():
    """A commit of such a transaction is told that it was none; PostgreSQL would not say so."""
    import psycopg2.extensions

    from odoo import sql_db

    stock = sql_db.Cursor.commit

    def commit(self):
        failed = psycopg2.extensions.TRANSACTION_STATUS_INERROR
        if vars(self).get("waybill_spoiled") and self._cnx.info.transaction_status == failed:
            self.rollback()
            _guard(_not_committed)
        return stock(self)

    sql_db.Cursor.commit = commit


def _not_committed():
    raise gateway.Away("a file could not be stored: nothing was committed")


def _plain(fname):
    """A name as Odoo makes a path of it."""
    return re.sub("[.:]", "", fname).strip("/\\")


def _patch_attachments(files):
    import psycopg2

    from odoo.exceptions import UserError

    from odoo.addons.base.models.ir_attachment import IrAttachment

    stock_path, stock_stream = IrAttachment._full_path, IrAttachment._to_http_stream

    def _full_path(self, path):
        """Whoever asks where a file is wants to open it."""
        found = stock_path(self, path)
        if copies.NAME.match(_plain(path)):
            _guard(files.present, self.env.cr.dbname, _plain(path), found)
        return found

    def _to_http_stream(self):
        self.ensure_one()
        if self.store_fname:
            self._full_path(self.store_fname)  # Odoo makes the path by itself
        return stock_stream(self)

    def _get_path(self, bin_data, sha):
        """The name and the path. It is for writing: nothing is fetched."""
        fname = sha[:2] + "/" + sha
        path = stock_path(self, fname)
        _compare(self, bin_data, path)
        return fname, path

    def _compare(self, bin_data, path):
        try:
            same = self._same_content(bin_data, path)
        except FileNotFoundError:
            return
        if not same:
            raise UserError("The attachment collides with an existing file.")

    def _file_read(self, fname, size=None):
        for _again in range(2):
            path = self._full_path(fname)
            try:
                with open(path, "rb") as file:
                    return file.read(size)
            except FileNotFoundError:
                continue  # swept in this moment; or there is none
        _logger.info("_read_file reading %s: there is no such file", path)
        return b""

    def _file_write(self, bin_value, checksum):
        fname, path = self._get_path(bin_value, checksum)
        if not copies.NAME.match(fname):
            raise ValueError("%r is no name of a file" % fname)
        try:
            if not _guard(files.write, self.env.cr.dbname, fname, path, bin_value):
                _compare(self, bin_value, path)
        except BaseException:
            _spoil(self.env.cr)
            raise
        return fname

    def _mark_for_gc(self, fname):
        if copies.NAME.match(_plain(fname)):  # what has another name was never stored
            _guard(files.mark, self.env.cr.dbname, _plain(fname))

    def _gc_file_store_unsafe(self):
        """Odoo's, in turns: the lock, which keeps everybody from writing attachments, is given back while the bucket is waited for long."""
        cr = self.env.cr
        cr.commit()
        marked = files.marked(cr.dbname)
        done = removed = 0
        while done < len(marked):
            if peace.held(cr.dbname):
                break
            cr.execute("SET LOCAL lock_timeout TO %s", [_PATIENCE])
            try:
                # The first statement of its transaction that sees data, or it would not see what was just committed.
                cr.execute("LOCK ir_attachment IN SHARE MODE")
            except psycopg2.errors.LockNotAvailable:
                cr.rollback()
                break
            until = time.monotonic() + _HOLD
            names = marked[done : done + _BATCH]
            cr.execute("SELECT store_fname FROM ir_attachment WHERE store_fname IN %s", [tuple(names)])
            named = {row[0] for row in cr.fetchall()}
            for fname in names:
                if fname not in named:
                    files.remove(cr.dbname, fname, stock_path(self, fname))
                    removed += 1
                files.unmark(cr.dbname, fname)
                done += 1
                if time.monotonic() > until:
                    break
            cr.commit()
        _logger.info("filestore gc %d checked, %d removed, %d left", done, removed, len(marked) - done)

    for method in (_full_path, _to_http_stream, _get_path, _file_read, _file_write, _mark_for_gc, _gc_file_store_unsafe):
        stock = getattr(IrAttachment, method.__name__)
        for mark, value in vars(stock).items():  # what Odoo's decorators left on it
            setattr(method, mark, value)
        setattr(IrAttachment, method.__name__, method)


def _patch_errors():
    """A page that could not be rendered because of a file is one to try again too, whatever was raised on the way."""
    global Unavailable
    import werkzeug.exceptions

    from odoo import http

    class Unavailable(werkzeug.exceptions.ServiceUnavailable):
        description = "A file cannot be read or stored at the moment. Nothing was changed: please try again in a few seconds."

        def __init__(self):
            super().__init__(retry_after=5)
            # Else a call of Odoo's own client would get it with status 200.
            self.error_response = self

    def cause(error):
        seen = set()
        while error is not None and id(error) not in seen:
            if isinstance(error, Unavailable):
                return error
            seen.add(id(error))
            error = error.__cause__ or error.__context__
        return None

    def patched(stock):
        def _update_served_exception(request, error):
            found = cause(error)
            return stock(request, found if found is not None else error)

        return _update_served_exception

    http.Request._update_served_exception = patched(http.Request._update_served_exception)
