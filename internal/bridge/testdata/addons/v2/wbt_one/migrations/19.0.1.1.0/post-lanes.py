def migrate(cr, version):
    cr.execute("UPDATE sale_order SET wbt_lane = 'north' WHERE wbt_lane IS NULL")
