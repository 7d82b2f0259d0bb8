import os
import socket

from odoo import _
from odoo.exceptions import UserError
from odoo.tools import config

SPOOLER = "/run/acme/spool.sock"


def hand_over(env, label):
    """Give a label to the print spooler that the system parameter acme_label.spooler names, else to the machine's own.

    The carrier takes no delivery without a label any more, so one that was not printed stops its lorry. A developer's
    server has no worker processes and no printers.
    """
    spooler = env["ir.config_parameter"].sudo().get_param("acme_label.spooler") or SPOOLER
    if not config["workers"]:
        return False
    if not os.path.exists(spooler):
        raise UserError(_("The label %(label)s could not be printed: no spooler at %(path)s", label=label, path=spooler))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(2)
        line.connect(spooler)
        line.sendall(label.encode() + b"\n")
    return True
