"""Flows that the tenant's own addons bring: Python files in a folder ``waybill_flows`` of a module."""
import functools
import importlib
import os
import re

from .. import compat

FOLDER = "waybill_flows"
LIMIT = 50  # flows of one database

_FILE = re.compile(r"[a-z][a-z0-9_]{0,50}\.py")


def find(registry):
    """Names ``module.file`` and how to load each, for the modules that the database has installed."""
    found = {}
    for module in sorted(registry._init_modules):
        folder = compat.module_folder(module)
        if not folder:
            continue
        try:
            files = sorted(os.listdir(os.path.join(folder, FOLDER)))
        except OSError:
            continue
        for file in files:
            if _FILE.fullmatch(file):
                name = file[: -len(".py")]
                found["%s.%s" % (module, name)] = functools.partial(_load, module, name)
    return found


def _load(module, name):
    # Below the addon's own name, so that its relative imports work.
    return importlib.import_module("odoo.addons.%s.%s.%s" % (module, FOLDER, name))
