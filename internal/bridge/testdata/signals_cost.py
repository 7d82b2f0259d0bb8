"""Prints, as JSON, what a call costs that the bridge times, and one that it does not, in microseconds
of the processor: others may use the machine too.

python3 signals_cost.py DATABASE, in a pool's container
"""
import json
import sys
import time

from odoo.tools import config

config.parse_config(["-c", "/etc/waybill/odoo.conf", "-d", sys.argv[1]])

import odoo  # noqa: E402
from odoo.service.server import load_server_wide_modules  # noqa: E402

load_server_wide_modules()

from odoo.addons.waybill_probe.signals import calls  # noqa: E402
from odoo.modules.registry import Registry  # noqa: E402

CALLS = 20_000
registry = Registry(sys.argv[1])


def cost(method, record):
    best = None
    for _turn in range(5):
        calls._here.pending = []  # as within a request
        started = time.process_time()
        for _call in range(CALLS):
            method(record)
        for cell, took, outcome in calls._here.pending:  # as at its end
            cell.count(took, outcome)
        took = (time.process_time() - started) / CALLS * 1e6
        best = took if best is None else min(best, took)
    return best


with registry.cursor() as cr:
    lane = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {})["wbt.lane"]
    timed = type(lane).action_plan
    print(json.dumps({"timed": cost(timed, lane), "plain": cost(timed.__wrapped__, lane)}))
