"""What a flow gets in place of things that leave the transaction, though every healthy tenant has them.

A mail counts as sent without a mail server; a report is a page without Odoo's own PDF program; an
attachment is kept in the database instead of the filestore, where no rollback would remove it.
"""
import functools

from . import guard


def install():
    from odoo.addons.base.models import ir_actions_report, ir_attachment, ir_mail_server

    mail = _class(ir_mail_server, "ir.mail_server")
    _instead(mail, "send_email", lambda self, message, *a, **k: message["Message-Id"] or "<flow@waybill.invalid>")
    for name in ("connect", "_connect__"):
        if name in vars(mail):
            _instead(mail, name, lambda self, *a, **k: None)
    _instead(_class(ir_actions_report, "ir.actions.report"), "_run_wkhtmltopdf", lambda self, *a, **k: page())
    _instead(_class(ir_attachment, "ir.attachment"), "_storage", lambda self, *a, **k: "db")


def _class(module, model):
    for cls in vars(module).values():
        if isinstance(cls, type) and getattr(cls, "_name", None) == model:
            return cls
    raise ImportError("%s is not where this series of Odoo should have it" % model)


def _instead(cls, name, answer):
    stock = getattr(cls, name)

    @functools.wraps(stock)  # with what Odoo's decorators left on it
    def method(self, *args, **kwargs):
        return answer(self, *args, **kwargs) if guard.active() else stock(self, *args, **kwargs)

    setattr(cls, name, method)


def page():
    """A PDF of one empty page."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 283 425]>>",
    )
    text, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(text))
        text += b"%d 0 obj%sendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(text))
    return text + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + end
