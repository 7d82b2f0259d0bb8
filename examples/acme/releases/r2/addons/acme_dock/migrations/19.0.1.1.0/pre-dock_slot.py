def migrate(cr, version):
    """Fill the new column with one statement: the ORM would compute it record by record."""
    cr.execute("ALTER TABLE stock_picking ADD COLUMN IF NOT EXISTS dock_slot varchar")
    cr.execute(
        """
        UPDATE stock_picking p
           SET dock_slot = 'D' || d.number || ' ' || to_char(p.scheduled_date, 'HH24') || ':00'
          FROM acme_dock d
         WHERE d.id = p.dock_id
        """
    )
