"""Post an invoice to an own customer, register its payment, and see both reconciled."""
from . import books, stock

REQUIRES = ("account",)
TAKES_TURNS = True


def run(run):
    run.stage("setup")
    books.company(run)
    sales, bank = books.journal(run, "sale", "S"), books.journal(run, "bank", "B")
    # Without an account for payments under way Odoo makes no entry for a payment.
    bank.inbound_payment_method_line_ids.payment_account_id = books.own_account(run, "asset_current", "9")
    item, customer = stock.product(run), stock.partner(run)

    run.stage("draft")
    invoice = run.env["account.move"].create(
        {
            "move_type": "out_invoice",
            "partner_id": customer.id,
            "journal_id": sales.id,
            "currency_id": run.env.company.currency_id.id,
            "ref": run.marker,
            "invoice_line_ids": [(0, 0, {"product_id": item.id, "name": run.marker, "quantity": 2, "price_unit": 10.0})],
        }
    )
    run.expect(invoice.amount_untaxed > 0, "the invoice comes to %s", invoice.amount_untaxed)

    run.stage("post")
    stock.answer(run, invoice.action_post(), "posting of an invoice")
    run.expect(invoice.state == "posted", "the invoice is %s after it was posted", invoice.state)
    balance = sum(invoice.line_ids.mapped("balance"))
    run.expect(run.env.company.currency_id.is_zero(balance), "the entry is not balanced: %s", balance)

    run.stage("pay")
    wizards = run.env["account.payment.register"].with_context(active_model="account.move", active_ids=invoice.ids)
    payments = wizards.create({"journal_id": bank.id})._create_payments()
    run.expect(len(payments) == 1, "%s payments were made of one invoice", len(payments))

    run.stage("check")
    residual = invoice.amount_residual
    run.expect(invoice.currency_id.is_zero(residual), "%s of %s is open after the payment", residual, invoice.amount_total)
    run.expect(
        invoice.payment_state in ("paid", "in_payment"), "the invoice is %s after its payment", invoice.payment_state
    )
