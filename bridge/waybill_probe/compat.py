"""All that differs from one Odoo series to the next. 19.0 is tested; 17 and 18 are kept in mind."""
import odoo
import odoo.release

SERIES = odoo.release.version_info[0]


def storable(values):
    """Values of a product whose stock is counted."""
    values = dict(values)
    if SERIES >= 18:
        values.update(type="consu", is_storable=True)
    else:
        values.update(type="product")
    return values


def mark_done(moves):
    """Says that everything reserved on these moves was picked by hand."""
    if SERIES >= 17:
        moves.picked = True
    else:
        for line in moves.move_line_ids:
            line.qty_done = line.reserved_uom_qty


def registry_class():
    from odoo.modules.registry import Registry

    return Registry


def registry(database):
    """The up-to-date registry of a database."""
    return registry_class()(database).check_signaling()


def update_registry(database, update, install):
    """Stock Odoo's update and installation; commits as it likes."""
    if SERIES >= 19:
        return registry_class().new(
            database, update_module=True, upgrade_modules=update, install_modules=install, new_db_demo=False
        )
    config = odoo.tools.config
    config["update"] = dict.fromkeys(update, 1)
    config["init"] = dict.fromkeys(install, 1)
    return registry_class().new(database, force_demo=False, update_module=True)


def manifest_version(name):
    """Version of a module on disk as Odoo stores it in latest_version; None where there is no such module."""
    from odoo.modules import module

    if SERIES >= 19:
        manifest = module.Manifest.for_addon(name, display_warning=False)
    else:
        manifest = module.get_manifest(name)
    if not manifest or not manifest.get("installable", True):
        return None
    return module.adapt_version(manifest["version"])


def deferred_hooks(callbacks):
    """Takes the functions out of a cursor's queue of hooks."""
    functions = list(callbacks._funcs)
    callbacks.clear()
    return functions


# Log records that the update reads. Loggers and formats as in odoo/modules/loading.py and
# odoo/orm/registry.py of 19.0.
LOADING_LOGGER = "odoo.modules.loading"
LOADING_STARTED = "Loading module %s ("  # args: name, index, count
LOADING_ENDED = "Module %s loaded in "  # args: name, seconds, …

# Warnings that mean that the update did not do what it was asked to.
FATAL_WARNINGS = (
    ("odoo.modules.loading", "invalid module names"),
    ("odoo.modules.module_graph", "module %s: not installable"),
    ("odoo.modules.module_graph", "module %s: in a dependency loop"),
    ("odoo.modules.loading", "invalid custom view"),
)
SCHEMA_LOGGER = "odoo.schema"
# Odoo says this of columns that have long been NULL-able, at every load.
SCHEMA_HARMLESS = ("Missing not-null constraint", "Index attribute on", "Keep unexpected index")


def module_folder(name):
    """Where a module is on disk; empty where it is not."""
    from odoo.modules import module

    if SERIES >= 19:
        manifest = module.Manifest.for_addon(name, display_warning=False)
        return manifest.path if manifest else ""
    return module.get_module_path(name, display_warning=False) or ""


def open_pos_session(session):
    """Counts the till, empty, and opens it."""
    if hasattr(session, "set_opening_control"):  # 18
        session.set_opening_control(0, "")
    elif SERIES == 17:
        session.set_cashbox_pos(0, "")
    if session.state == "opening_control":
        session.action_pos_session_open()


def sync_pos_orders(orders, values):
    """What a till does to get its orders booked."""
    if hasattr(orders, "sync_from_ui"):  # 18
        orders.sync_from_ui(values)
    else:
        orders.create_from_ui([{"id": value["uuid"], "data": value, "to_invoice": False} for value in values])
