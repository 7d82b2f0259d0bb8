"""Whether every view compiles here and, pruned, names only what this release knows."""
import logging

import psycopg2
from lxml import etree

from .. import peace, prune

_logger = logging.getLogger(__name__)


def check(cr, registry, job):
    """(number of views, problems). With job["views"] only those ids, and what they change, are looked at."""
    import odoo

    env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {"lang": "en_US"})
    roots, templates = _views(cr, registry, job["views"])
    logger = logging.getLogger("odoo.addons.base.models.ir_ui_view")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # each problem is in the result, once
    problems = []
    try:
        for view in roots:
            problems += _compile(cr, env, view)
        for view in templates:
            problems += _template(cr, env, view)
    finally:
        logger.setLevel(level)
    return len(roots) + len(templates), problems


def _views(cr, registry, only):
    """Views that stand for themselves, with all that inherits from them, and QWeb templates."""
    cr.execute(
        """WITH RECURSIVE wanted AS (
                SELECT id, inherit_id, mode FROM ir_ui_view WHERE active AND (%s OR id = ANY(%s))
                UNION
                SELECT v.id, v.inherit_id, v.mode FROM ir_ui_view v JOIN wanted w ON v.id = w.inherit_id WHERE v.active
           )
           SELECT v.id, v.model, v.type, v.key, v.name FROM ir_ui_view v JOIN wanted USING (id)
            WHERE v.inherit_id IS NULL OR v.mode = 'primary' ORDER BY v.id""",
        [not only, list(only)],
    )
    roots, templates = [], []
    for row in cr.fetchall():
        if row[2] == "qweb":
            templates.append(row)
        elif row[1] in registry:
            roots.append(row)  # a view of a model that this release lacks is shown to nobody
    return roots, templates


def _problem(view, error):
    text = " ".join(str(error).split())[:800]
    return [{"kind": "view", "model": view[1] or "", "name": view[3] or view[4] or str(view[0]), "error": text, "id": view[0]}]


def _compile(cr, env, view):
    number, model, kind = view[:3]
    try:
        with cr.savepoint(flush=False):
            got = env[model].get_view(number, kind)
            left = prune.prune(etree.fromstring(got["arch"]), model, peace.Models(env))
    except psycopg2.Error as error:
        return _problem(view, error)
    except Exception as error:
        return _problem(view, "%s: %s" % (type(error).__name__, error))
    if left:
        return _problem(view, "it names what this release does not know: %s" % ", ".join(left[:5]))
    return []


def _template(cr, env, view):
    try:
        with cr.savepoint(flush=False):
            env["ir.qweb"]._compile(view[0])
    except psycopg2.Error as error:
        return _problem(view, error)
    except Exception as error:
        return _problem(view, "%s: %s" % (type(error).__name__, error))
    return []
