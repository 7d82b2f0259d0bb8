"""Tries, inside a pool's own process, to reach what belongs to others: POST /waybill/v1/isolation.

It tries with what a tenant's own code would have: the pool's login and password, its file system, its
network. It never reads what it reaches, it only says that it could. The server decides what to try, and
which of it has to succeed: an attempt says nothing where its control fails.

    request   {"database": own, "attempts": [{"door": …, "target": …, "host": …, "port": …, "tls": …, "prefix": …}]}
    answer    {"results": [{"outcome": "reached" | "refused" | "unknown", "detail": one line}]}

An outcome is "refused" only where something said no; silence of a network counts, since a packet filter says it so.
Whatever else happens is "unknown".
"""
import base64
import errno
import glob
import http.client
import logging
import os
import re
import socket
import ssl
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from . import compat, filestore, gateway, tenancy

_logger = logging.getLogger(__name__)

LIMIT = 200  # attempts of a request
_PATIENCE = 3  # seconds for a connection
_SESSION_SECONDS = 300  # for which a session made here is good, whoever forgets to end it

# Where mounts of a container hold nothing of Waybill's: not looked into.
_NOWHERE = ("/proc", "/sys", "/dev")

# Where a filestore is below Waybill's folders on the machine: of a group, of groups, of an environment, of all, of Waybill.
_BELOW = ("", "*", "data/*", "*/data/*", "environments/*/data/*")


def answer(request):
    """Does what a request asks for; ValueError where it is malformed."""
    database, attempts = request["database"], request["attempts"]
    if not isinstance(database, str) or not isinstance(attempts, list) or not 0 < len(attempts) <= LIMIT:
        raise ValueError("a database and 1 to %d attempts are expected" % LIMIT)
    for attempt in attempts:
        if not isinstance(attempt, dict) or attempt.get("door") not in _DOORS or not isinstance(attempt.get("target", ""), str):
            raise ValueError("there is no such door: %r" % (attempt,))
    with ThreadPoolExecutor(max_workers=8) as several:  # silence takes its time
        return {"results": list(several.map(lambda attempt: _try(database, attempt), attempts))}


def _try(database, attempt):
    try:
        outcome, detail = _DOORS[attempt["door"]](database, attempt)
    except Exception as error:  # an attempt that went wrong proves nothing, whatever it was
        outcome, detail = "unknown", "%s: %s" % (type(error).__name__, error)
    return {"outcome": outcome, "detail": " ".join(str(detail).split())[:300]}


def _arguments(database, **other):
    """How this pool's Odoo connects to a database."""
    from odoo import sql_db

    _name, info = sql_db.connection_info_for(database)
    info = dict(info, connect_timeout=_PATIENCE, application_name="waybill isolation", **other)
    info.pop("dsn", None)
    return {key: value for key, value in info.items() if value not in (None, False)}


def _refusal(error):
    """Whether the server, and not the way to it, refused a connection.

    psycopg2 has no code for that. The privilege's name and that of the file are the same in every language; what there is not
    was not refused.
    """
    text = str(error)
    return bool(
        re.search(r"privil\S* CONNECT|CONNECT privil|pg_hba\.conf|no password supplied", text)
        or re.search(r"FATAL: +(permission denied for database|password authentication failed|.* authentication failed for user)", text)
        or re.search(r"FATAL: +role .* is not permitted to log in", text)
    )


def _connect(database, attempt, **other):
    try:
        connection = psycopg2.connect(**_arguments(attempt["target"] or database, **other))
    except psycopg2.OperationalError as error:
        return ("refused" if _refusal(error) else "unknown"), error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), session_user")
            return "reached", "connected to database %s as %s" % cursor.fetchone()
    finally:
        connection.close()


def _login(database, attempt):
    """Somebody else's login, with the password of this pool or without one, in the pool's own database."""
    tried = []
    for password in (None, ""):
        other = {"user": attempt["target"]}
        arguments = _arguments(attempt.get("database") or database, **other)
        if attempt.get("host"):
            arguments.update(host=attempt["host"], port=int(attempt.get("port") or 5432))
        if password is not None:
            arguments["password"] = password
            arguments["passfile"] = "/nonexistent"  # nor one from a file
        try:
            psycopg2.connect(**arguments).close()
        except psycopg2.OperationalError as error:
            tried.append(("refused" if _refusal(error) else "unknown", error))
            continue
        return "reached", "logged in as %s" % attempt["target"]
    return next((t for t in tried if t[0] == "unknown"), tried[0])


def _role(database, attempt):
    """The rights of another owner, from this pool's own session."""
    connection = psycopg2.connect(**_arguments(database))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT quote_ident(%s)", [attempt["target"]])
            name = cursor.fetchone()[0]
            try:
                cursor.execute("SET ROLE " + name)
            except psycopg2.Error as error:
                return ("refused" if error.pgcode in ("42501", "22023", "42704") else "unknown"), error
            return "reached", "acts as %s" % attempt["target"]
    finally:
        connection.close()


def _cursor(database, attempt):
    """Through Odoo's own pool of connections, in a request of this database."""
    from odoo import sql_db

    with tenancy.serving(database):
        try:
            cursor = sql_db.db_connect(attempt["target"]).cursor()
        except tenancy.NotServed as error:
            return "refused", error
    try:
        cursor.execute("SELECT current_database()")
        return "reached", "Odoo opened database %s" % cursor.fetchone()[0]
    finally:
        cursor.close()


def _registry(database, attempt):
    """The registry of another database, as code of an addon would get it."""
    with tenancy.serving(database):
        try:
            with compat.registry_class()(attempt["target"]).cursor() as cursor:
                cursor.execute("SELECT current_database()")
                return "reached", "the registry of database %s" % cursor.fetchone()[0]
        except tenancy.NotServed as error:
            return "refused", error


def _mounts():
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        places = [line.split(" ")[1].replace("\\040", " ") for line in file]
    return [place for place in places if place != "/" and not place.startswith(_NOWHERE)]


def _filestore(database, attempt):
    """The files of another database: wherever a mount might hold them, and in object storage."""
    name = attempt["target"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError("no name of a database")
    stored = filestore.config()
    if stored is None:
        return _mounted(name)
    client = gateway.Client(stored.url, stored.token)
    if name == database:
        client.probe(name)
        return "reached", "the gateway to object storage gives its files"
    return _worst([_mounted(name), _stored(client, stored.token, name, attempt.get("prefix") or "")])


def _stored(client, token, name, prefix):
    """At the gateway to object storage: without a token, and with this pool's own, changed to say that it is for the other's files."""
    if not prefix:
        return "unknown", "nobody said where in object storage they are"
    another = base64.urlsafe_b64encode(prefix.encode()).decode().rstrip("=") + "." + token.partition(".")[2]
    answers = []
    for what, tried in (("no token", ""), ("a token of its own making", another)):
        status = client.stranger(name, tried)
        outcome = "reached" if status in (200, 404) else "refused" if status in (401, 403) else "unknown"
        answers.append((outcome, "with %s the gateway to object storage answers %d for %s" % (what, status, prefix)))
    return _worst(answers)


def _worst(answers):
    return min(answers, key=lambda answered: ("reached", "unknown", "refused").index(answered[0]))


def _mounted(name):
    from odoo.tools import config

    own, mounts = config["data_dir"], _mounts()
    places = [os.path.join(own, "filestore", name)]
    for place in mounts:
        if place != own:
            places += [os.path.join(glob.escape(place), where, "filestore", name) for where in _BELOW]
    answers = [_list(found) for pattern in places for found in glob.iglob(pattern)]
    return _worst(answers or [("refused", "no such folder in its data folder and %d mounts" % len(mounts))])


def _folder(_database, attempt):
    """A folder of the machine, under the name that it has there."""
    return _list(attempt["target"])


def _list(path):
    try:
        with os.scandir(path) as entries:
            first = next(entries, None)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        return "refused", error
    if first is None:
        return "unknown", "%s is there, and empty" % path
    return "reached", "%s can be listed" % path


def _network(error):
    """Whether a network refused. Whoever drops packets says nothing."""
    if isinstance(error, (ConnectionRefusedError, socket.timeout, TimeoutError)):
        return True
    return getattr(error, "errno", None) in (
        errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EACCES, errno.EPERM, errno.ECONNRESET
    )  # fmt: skip


def _machine():
    """The machine that the pool runs on, as a container sees it; empty where there is no way out."""
    with open("/proc/net/route", encoding="ascii") as file:
        for line in list(file)[1:]:
            fields = line.split()
            if fields[1] == "00000000" and int(fields[3], 16) & 2:
                return socket.inet_ntoa(struct.pack("<L", int(fields[2], 16)))
    return ""


def _where(attempt):
    host = attempt.get("host") or ""
    if host == "gateway":
        host = _machine()
    return host, int(attempt.get("port") or 0)


def _tcp(_database, attempt):
    host, port = _where(attempt)
    if not host:
        return "refused", "the container has no way out"
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except OSError as error:
        return ("refused" if _network(error) else "unknown"), "%s:%d: %s" % (host, port, error)
    return "reached", "connected to %s:%d" % (host, port)


def _http(_database, attempt):
    """A page without any token. That something listens is no success, that it gives something away is."""
    host, port = _where(attempt)
    if not host:
        return "refused", "the container has no way out"
    if attempt.get("tls"):
        # Whoever breaks in does not ask whose certificate it is.
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=unverified)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    try:
        connection.request("GET", attempt["target"])
        status = connection.getresponse().status
    except OSError as error:
        return ("refused" if _network(error) else "unknown"), "%s:%d: %s" % (host, port, error)
    finally:
        connection.close()
    said = "%s:%d%s answered %d" % (host, port, attempt["target"], status)
    if 200 <= status < 300:
        return "reached", said
    return ("refused" if 400 <= status < 500 else "unknown"), said


def _session(database, _attempt):
    """Makes a session of the pool's own tenant, with which others' hosts are tried: ``detail`` is its id.

    It belongs to the template of portal users, who may see next to nothing and whom nobody can log in as. Nothing is
    written into the database, and it lasts a few minutes.
    """
    from odoo import SUPERUSER_ID, api, http as odoo_http

    with tenancy.serving(database), compat.registry(database).cursor() as cursor:
        env = api.Environment(cursor, SUPERUSER_ID, {})
        user = env.ref("base.template_portal_user_id", raise_if_not_found=False)
        if not user:
            return "unknown", "database %s has no template of portal users to make a session of" % database
        store = odoo_http.root.session_store
        session = store.new()
        for key, value in odoo_http.get_default_session().items():
            session.setdefault(key, value)
        session["_trace_disable"] = True  # or Odoo would write down a device
        session["deletion_time"] = time.time() + _SESSION_SECONDS
        session.db, session.uid, session.login = database, user.id, user.login
        session.context = {"lang": "en_US"}
        session.session_token = user._compute_session_token(session.sid)
        store.save(session)
        return "reached", session.sid


def _forget(_database, attempt):
    """Ends a session that was made here."""
    from odoo import http as odoo_http

    store = odoo_http.root.session_store
    sid = attempt["target"]
    if not store.is_valid_key(sid):
        raise ValueError("no session id")
    store.delete(store.get(sid))
    return "refused", "ended"


_DOORS = {
    "connect": _connect,
    "login": _login,
    "role": _role,
    "cursor": _cursor,
    "registry": _registry,
    "filestore": _filestore,
    "folder": _folder,
    "tcp": _tcp,
    "http": _http,
    "session": _session,
    "forget": _forget,
}
