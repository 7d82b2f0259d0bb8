import unittest
from xml.etree import ElementTree

from waybill_probe import prune


class Models:
    """A registry of the old release, and what the new one added to the database."""

    FIELDS = {
        "order": {"name": None, "note": None, "state": None, "partner_id": "partner", "line_ids": "line", "gone_id": "lane"},
        "line": {"qty": None, "product_id": "partner"},
        "partner": {"name": None, "parent_id": "partner"},
    }
    FOREIGN = {"order": {"lane"}, "line": {"line_lane"}, "partner": {"zone"}}
    METHODS = {"order": {"confirm"}, "line": {"split"}, "partner": set()}

    def known(self, model):
        return model in self.FIELDS

    def has_field(self, model, name):
        return name in self.FIELDS[model]

    def comodel(self, model, name):
        return self.FIELDS.get(model, {}).get(name)

    def has_method(self, model, name):
        return name in self.METHODS[model]

    def foreign(self, model, name):
        return name in self.FOREIGN.get(model, ())


class Prune(unittest.TestCase):
    def check(self, before, after, model="order"):
        arch = ElementTree.fromstring(before)
        prune.prune(arch, model, Models())
        expected = ElementTree.tostring(ElementTree.fromstring(after), encoding="unicode")
        self.assertEqual(ElementTree.tostring(arch, encoding="unicode"), expected)

    def test_nodes(self):
        for before, after in (
            ('<form><field name="note"/><field name="lane"/></form>', '<form><field name="note"/></form>'),
            ('<form><label for="lane"/><field name="lane"/></form>', "<form/>"),
            ('<form><label for="some_div"/></form>', '<form><label for="some_div"/></form>'),
            ('<form><button name="confirm" type="object"/><button name="go" type="object"/></form>',
             '<form><button name="confirm" type="object"/></form>'),
            ('<form><button name="%d" type="action"/></form>', '<form><button name="%d" type="action"/></form>'),
            ('<form><field name="gone_id"/></form>', "<form/>"),  # its model is not known
            ('<kanban><progressbar field="lane"/></kanban>', "<kanban/>"),
            ("<form>a<field name='lane'/>b<p/>c<field name='lane'/>d</form>", "<form>ab<p/>cd</form>"),
        ):  # fmt: skip
            with self.subTest(before):
                self.check(before, after)

    def test_embedded_views_are_about_the_comodel(self):
        self.check(
            '<form><field name="line_ids"><list><field name="qty"/><field name="line_lane"/>'
            '<button name="split" type="object"/><button name="confirm" type="object"/></list></field></form>',
            '<form><field name="line_ids"><list><field name="qty"/><button name="split" type="object"/></list></field></form>',
        )

    def test_search(self):
        self.check(
            '<search><field name="lane"/><field name="name" filter_domain="[(\'lane\', \'=\', self)]"/>'
            '<filter name="a" domain="[(\'lane\', \'=\', 1)]"/><filter name="b" context="{\'group_by\': \'lane:month\'}"/>'
            '<filter name="c" date="lane"/><filter name="d" domain="[(\'partner_id.zone\', \'=\', 1)]"/>'
            '<filter name="e" domain="[(\'note\', \'=\', 1)]"/></search>',
            '<search><field name="name"/><filter name="e" domain="[(\'note\', \'=\', 1)]"/></search>',
        )

    def test_attributes(self):
        for before, after in (
            ('<form><field name="note" invisible="lane == 1" readonly="state"/></form>',
             '<form><field name="note" readonly="state"/></form>'),
            ('<form><field name="partner_id" domain="[(\'zone\', \'=\', 1)]"/></form>', '<form><field name="partner_id"/></form>'),
            ('<form><field name="partner_id" domain="[(\'name\', \'=\', lane)]"/></form>', '<form><field name="partner_id"/></form>'),
            ('<form><field name="note" options="{\'currency_field\': \'lane\'}"/></form>', '<form><field name="note"/></form>'),
            ('<list decoration-danger="lane" default_order="lane desc, name"><field name="name"/></list>',
             '<list><field name="name"/></list>'),
            ('<list default_order="name desc"/>', '<list default_order="name desc"/>'),
            ('<form><field name="note" context="{\'lang\': uid, \'x\': unknown}" invisible="not an expression ("/></form>',
             '<form><field name="note" context="{\'lang\': uid, \'x\': unknown}" invisible="not an expression ("/></form>'),
        ):  # fmt: skip
            with self.subTest(before):
                self.check(before, after)

    def test_kanban_card(self):
        self.check(
            '<kanban><templates><t t-name="card"><div t-if="record.lane.raw_value">x</div>'
            '<div t-if="record.note.raw_value">y</div></t></templates></kanban>',
            '<kanban><templates><t t-name="card"><div t-if="record.note.raw_value">y</div></t></templates></kanban>',
        )

    def test_deep_expression_is_left_alone(self):
        text = "(" * 5000 + "1" + ")" * 5000
        self.check('<form><field name="note" invisible="%s"/></form>' % text, '<form><field name="note" invisible="%s"/></form>' % text)


if __name__ == "__main__":
    unittest.main()
