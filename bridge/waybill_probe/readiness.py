"""Whether this process can serve a tenant: opens its registry, and compares module versions."""
import time

import psycopg2

from . import compat, filestore, pool, sessions


def check(database):
    """Readiness as in protocol.go. The database is on the list already."""
    config = pool.current()
    tenant = config.tenant_of_database(database)
    answer = {"ready": False, "release": config.release, "generation": config.generation, "seconds": 0.0}
    answer["reason"] = sessions.problem() or filestore.problem(database)
    if answer["reason"]:
        return answer
    started = time.monotonic()
    try:
        registry = compat.registry(database)
        seconds = time.monotonic() - started
        if not registry.loaded or not registry.ready:
            answer["reason"] = "the registry of %s is not loaded: is Odoo installed in it?" % database
            return answer
        with registry.cursor() as cr:
            mismatches, blocking = _compare(cr, tenant)
    except psycopg2.Error as error:
        answer["reason"] = "database %s cannot be used: %s" % (database, " ".join(str(error).split()))
        return answer
    except Exception as error:
        # Code that cannot load is exactly what readiness is asked for.
        answer["reason"] = "the registry of %s cannot be loaded: %s: %s" % (database, type(error).__name__, error)
        return answer
    answer["seconds"] = round(seconds, 4)
    if mismatches:
        answer["mismatches"] = mismatches
    if blocking:
        answer["reason"] = "modules differ: %s" % blocking[0]
    elif config.drain:
        answer["reason"] = "draining"
    else:
        answer["ready"] = True
        del answer["reason"]
    return answer


def _compare(cr, tenant):
    """All mismatches, and those that speak against readiness.

    Where the tenant's views are pruned, its database belongs to another release by intention:
    then its versions are named, but only the image's own ones decide.
    """
    cr.execute("SELECT name, state, latest_version FROM ir_module_module WHERE state <> 'uninstalled'")
    rows = {name: (state, version) for name, state, version in cr.fetchall()}
    everything, blocking = [], []
    for name in sorted(tenant.modules):
        if name not in rows or rows[name][0] == "uninstallable":
            continue
        expected, disk = tenant.modules[name], compat.manifest_version(name)
        state, version = rows[name]
        if disk != expected:
            blocking.append("%s: the image has %s, the release says %s" % (name, disk or "none", expected))
            everything.append(blocking[-1])
        if state != "installed":
            blocking.append("%s: is %s" % (name, state))
            everything.append(blocking[-1])
        if version != expected:
            text = "%s: the database is at %s, the release has %s" % (name, version, expected)
            everything.append(text)
            if not tenant.prune_views:
                blocking.append(text)
    return everything[:100], blocking
