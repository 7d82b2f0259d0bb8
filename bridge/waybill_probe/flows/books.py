"""What the flows that post share: journals of their own, so that no number of the tenant's is taken.

A posted entry holds the next number of its journal until its transaction ends; in a journal of the
tenant everyone else who posts there would wait for the flow.
"""
from . import stock


def company(run):
    """The company whose books the flow posts in; not applicable where there are none yet."""
    found = run.env.company
    if not account(run, "asset_receivable") or not account(run, "income"):
        run.skip("company %s has no chart of accounts", found.display_name)
    return found


def account(run, kind):
    """An account of the company of that type, or none."""
    model = run.env["account.account"]
    domain = [*model._check_company_domain(run.env.company), ("account_type", "=", kind)]
    for name, wanted in (("active", True), ("deprecated", False)):  # 19, and before
        if name in model._fields:
            domain.append((name, "=", wanted))
    return model.search(domain, limit=1)


def own_account(run, kind, letter):
    values = {"name": run.marker, "code": letter + stock.code(run), "account_type": kind, "reconcile": True}
    return run.env["account.account"].create(values)


def journal(run, kind, letter, **more):
    """A journal of the flow's own; ``letter`` tells the journals of one flow apart."""
    values = {
        "name": "%s %s" % (run.marker, kind),
        "code": letter + stock.code(run)[1:],
        "type": kind,
        "company_id": run.env.company.id,
    }
    if kind in ("cash", "bank"):
        values.update(
            profit_account_id=account(run, "income").id,
            loss_account_id=(account(run, "expense") or account(run, "income")).id,
        )
    elif kind == "sale":
        values.update(default_account_id=account(run, "income").id)
    values.update(more)
    return run.env["account.journal"].create(values)
