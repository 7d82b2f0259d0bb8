import os
import socket

from odoo import _
from odoo.exceptions import UserError
from odoo.tools import config

SPOOLER = "/run/acme/spool.sock"


def hand_over(label):
    """Give a label to the print spooler of this machine.

    A developer's server has no worker processes and no printers: there the label stays on the screen.
    """
    if not config["workers"]:
        return
    if not os.path.exists(SPOOLER):
        raise UserError(_("The label %(label)s could not be printed: no spooler at %(path)s", label=label, path=SPOOLER))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(2)
        line.connect(SPOOLER)
        line.sendall(label.encode() + b"\n")
