"""Figures that an update must not change for the worse. Read in the update's own transaction."""

# Tables whose rows an update has no business to delete.
COUNTED = ("sale_order", "stock_move", "stock_picking", "account_move", "res_partner")


def _exists(cr, *tables):
    cr.execute("SELECT count(*) FROM unnest(%s) AS t WHERE to_regclass(t) IS NOT NULL", [list(tables)])
    return cr.fetchone()[0] == len(tables)


def measure(cr):
    """Figures by name, as readable strings; what is not installed is left out."""
    figures = {}
    for table in COUNTED:
        if _exists(cr, table):
            cr.execute('SELECT count(*) FROM "%s"' % table)
            figures["rows of " + table] = str(cr.fetchone()[0])
    if _exists(cr, "stock_quant", "stock_location"):
        cr.execute(
            """SELECT l.usage, round(sum(q.quantity)::numeric, 4)::text
                 FROM stock_quant q JOIN stock_location l ON l.id = q.location_id
                GROUP BY l.usage ORDER BY l.usage"""
        )
        figures["quantity in stock by usage"] = ", ".join("%s %s" % row for row in cr.fetchall()) or "none"
    if _exists(cr, "account_move_line"):
        cr.execute(
            "SELECT coalesce(round(sum(balance)::numeric, 2), 0)::text FROM account_move_line WHERE parent_state = 'posted'"
        )
        figures["balance of posted entries"] = cr.fetchone()[0]
    return figures


def compare(before, after):
    """Invariants as in protocol.go. Counts may grow; the rest stays."""
    result = []
    for name, value in before.items():
        now = after.get(name, "gone")
        if name.startswith("rows of "):
            held = now != "gone" and int(now) >= int(value)
        else:
            held = now == value
        result.append({"name": name, "before": value, "after": now, "held": held})
    return result


def transient(cr):
    """Modules that are left between two states."""
    cr.execute("SELECT name, state FROM ir_module_module WHERE state LIKE 'to %%' ORDER BY name")
    return ["%s %s" % row for row in cr.fetchall()]


def versions(cr, on_disk, names):
    """Modules of ``names`` that are not installed in the version that is on disk."""
    cr.execute("SELECT name, state, latest_version FROM ir_module_module WHERE name = ANY(%s)", [list(names)])
    rows = {name: (state, version) for name, state, version in cr.fetchall()}
    wrong = []
    for name in names:
        state, version = rows.get(name, ("unknown", None))
        disk = on_disk(name)
        if state != "installed":
            wrong.append("%s is %s" % (name, state))
        elif version != disk:
            wrong.append("%s is at %s, on disk %s" % (name, version, disk))
    return wrong


def state_invariants(cr, on_disk, names):
    """The two invariants on modules, as in protocol.go."""
    left = transient(cr)
    wrong = versions(cr, on_disk, names)
    return [
        {
            "name": "modules between two states",
            "before": "none",
            "after": ", ".join(left) or "none",
            "held": not left,
        },
        {
            "name": "versions as on disk",
            "before": "all",
            "after": ", ".join(wrong)[:2000] or "all",
            "held": not wrong,
        },
    ]
