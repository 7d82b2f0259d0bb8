import logging
import socket

_logger = logging.getLogger(__name__)


def hand_over(env, label):
    """Give a label to the print spooler that the system parameter acme_label.spooler names.

    Returns whether it was taken. A label that was not is printed from the delivery later: a
    broken printer must never stop a lorry.
    """
    spooler = env["ir.config_parameter"].sudo().get_param("acme_label.spooler")
    if not spooler:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(2)
            line.connect(spooler)
            line.sendall(label.encode() + b"\n")
    except OSError as error:
        _logger.warning("label %s was not printed: %s: %s", label, spooler, error)
        return False
    return True
