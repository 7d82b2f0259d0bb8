"""Scan a product, a lot and a location of one's own, and find each again."""
from . import stock

REQUIRES = ("stock", "barcodes")


def run(run):
    run.stage("setup")
    env = run.env
    house = stock.warehouse(run)
    names = env["barcode.nomenclature"]
    digits = run.marker[-9:]
    ean = names.sanitize_ean("299" + digits + "0")
    item = stock.product(run, barcode=ean, tracking="lot")
    lot = env["stock.lot"].create(
        {"name": "WBL" + digits, "product_id": item.id, "company_id": env.company.id, "note": run.marker}
    )
    place = env["stock.location"].create(
        {"name": run.marker, "usage": "internal", "location_id": house.lot_stock_id.id, "barcode": "WBP" + digits}
    )
    env.flush_all()

    run.stage("plain")
    plain = _plain(run)
    parsed = plain.parse_barcode(ean)
    run.expect(_get(parsed, "type") == "product", "the code of a product is read as %s", _get(parsed, "type"))
    _resolves(run, "product.product", "barcode", _get(parsed, "code"), item)
    for kind, code, record in (("lot", lot.name, lot), ("location", place.barcode, place)):
        parsed = plain.parse_barcode(code)
        run.expect(_get(parsed, "type") == kind, "the code of a %s is read as %s", kind, _get(parsed, "type"))
        _resolves(run, record._name, "name" if kind == "lot" else "barcode", _get(parsed, "code"), record)

    run.stage("tenant")  # whatever rules the tenant has made: they must read, and stay within what there is
    own = env.company.nomenclature_id
    if own:
        for code in (ean, lot.name, place.barcode):
            answer = own.parse_barcode(code)
            run.expect(answer is None or isinstance(answer, (dict, list)), "the tenant's nomenclature returns %r", answer)

    if "is_gs1_nomenclature" in names._fields:
        run.stage("gs1")
        _gs1(run, ean, item, lot)


def _plain(run):
    """A nomenclature of the flow's own: lots and locations by prefix, everything else is a product."""
    rules = (("lot", "WBL", 1), ("location", "WBP", 2), ("product", ".*", 9))
    return run.env["barcode.nomenclature"].create(
        {
            "name": run.marker,
            "rule_ids": [
                (0, 0, {"name": run.marker, "type": kind, "encoding": "any", "pattern": pattern, "sequence": place})
                for kind, pattern, place in rules
            ],
        }
    )


def _gs1(run, ean, item, lot):
    standard = run.env.ref("barcodes_gs1_nomenclature.default_gs1_nomenclature", raise_if_not_found=False)
    if not standard:
        return
    parts = standard.parse_barcode("010" + ean + "10" + lot.name)
    read = {part["type"]: part["value"] for part in parts or ()}
    run.expect(read.get("product") == "0" + ean, "the GS1 code's product is read as %s", read.get("product"))
    run.expect(read.get("lot") == lot.name, "the GS1 code's lot is read as %s", read.get("lot"))
    # A number of fourteen digits is the product's own of thirteen, padded.
    _resolves(run, "product.product", "barcode", read["product"].lstrip("0").zfill(len(ean)), item)
    _resolves(run, "stock.lot", "name", read["lot"], lot)


def _get(parsed, name):
    return parsed.get(name) if isinstance(parsed, dict) else None


def _resolves(run, model, field, value, record):
    found = run.env[model].search([(field, "=", value)])
    run.expect(found == record, "%s of code %s is %s, not the one that bears it", model, value, found or "nothing")
