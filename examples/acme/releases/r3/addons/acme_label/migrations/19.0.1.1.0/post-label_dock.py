def migrate(cr, version):
    """Read the dock out of the references that customers gave: DOCK2 is dock 2."""
    cr.execute("SELECT id, client_order_ref FROM sale_order WHERE client_order_ref LIKE 'DOCK%' ORDER BY id")
    for order, reference in cr.fetchall():
        dock = int(reference.split()[0].removeprefix("DOCK"))
        cr.execute("UPDATE sale_order SET label_dock = %s WHERE id = %s", [dock, order])
