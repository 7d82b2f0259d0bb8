"""Drops from a view what this release does not know, and leaves everything else as it is.

The old release serves a database whose views the new one has written. A field that the server
never described breaks the browser, although every answer is 200. What is asked of ``models``:

    known(model), has_field(model, name), comodel(model, name), has_method(model, name)
    foreign(model, name)    the database describes the field, this release does not have it

Identifiers inside expressions are judged by ``foreign`` alone: a name there may be anything.
"""
import ast
import re

# Attributes with a Python expression over the record; without it the node is as it was before.
_EXPRESSIONS = ("invisible", "readonly", "required", "column_invisible", "context", "options", "attrs")
# Attributes that name fields of the view's model, alone or in a comma-separated list.
_NAMES = (
    "default_order", "default_group_by", "date_start", "date_stop", "date_delay", "all_day", "color",
    "create_name_field", "highlight_color", "parent_field", "sum", "quick_create_view_field",
)  # fmt: skip
_EMBEDDED = ("form", "list", "tree", "kanban", "calendar", "graph", "pivot", "activity", "gantt", "cohort", "map")
_RECORD = re.compile(r"\brecord\.(\w+)")
_LIMIT = 100_000  # characters of an expression that is looked into


def prune(arch, model, models):
    """Changes ``arch`` (an lxml or ElementTree element of a view of ``model``) in place; returns what was dropped."""
    dropped = []
    _children(arch, model, models, dropped)
    _attributes(arch, model, models, dropped)
    return dropped


def _children(node, model, models, dropped):
    for child in list(node):
        if not isinstance(child.tag, str):  # comment
            continue
        why = _reason(child, model, models)
        if why:
            dropped.append(why)
            _remove(node, child)
            continue
        inner = _inner_model(child, model, models)
        _children(child, inner, models, dropped)
        _attributes(child, model, models, dropped)


def _reason(node, model, models):
    """Why the whole node goes; empty when it stays."""
    tag, name = node.tag, node.get("name") or ""
    if tag in ("field", "groupby") and name:
        return _missing_field(model, name, models)
    if tag == "label" and node.get("for"):
        target = node.get("for")
        if models.foreign(model, target):
            return "label for %s.%s" % (model, target)
    elif tag == "progressbar" and node.get("field"):
        return _missing_field(model, node.get("field"), models)
    elif tag in ("button", "a") and node.get("type") == "object" and name:
        if not models.has_method(model, name):
            return "button %s.%s()" % (model, name)
    elif tag == "filter":
        for attribute in ("date", "domain", "context"):
            value = node.get(attribute) or ""
            if attribute == "date":
                found = models.foreign(model, value.partition(".")[0])
            else:
                found = _mentions(value, model, model, models)
            if found:
                return "filter %s of %s" % (name, model)
    for attribute, value in node.attrib.items():
        # QWeb inside kanban cards
        if attribute.startswith("t-") and any(models.foreign(model, f) for f in _RECORD.findall(value)):
            return "%s of %s" % (attribute, model)
    return ""


def _missing_field(model, name, models):
    if not models.has_field(model, name):
        return "field %s.%s" % (model, name)
    comodel = models.comodel(model, name)
    if comodel and not models.known(comodel):
        return "field %s.%s to %s" % (model, name, comodel)
    return ""


def _inner_model(node, model, models):
    """The model that the children of a node are about."""
    if node.tag in ("field", "groupby") and node.get("name"):
        comodel = models.comodel(model, node.get("name"))
        if comodel and (node.tag == "groupby" or any(child.tag in _EMBEDDED for child in node)):
            return comodel
    return model


def _attributes(node, model, models, dropped):
    target = model
    if node.tag == "field" and node.get("name"):
        target = models.comodel(model, node.get("name")) or model
    for attribute, value in list(node.attrib.items()):
        gone = False
        if attribute in _EXPRESSIONS or attribute.startswith("decoration-"):
            gone = _mentions(value, model, target, models)
        elif attribute in ("domain", "filter_domain"):
            gone = _mentions(value, model, target if attribute == "domain" else model, models)
        elif attribute in _NAMES:
            names = [part.split()[0].split(":")[0] for part in value.split(",") if part.strip()]
            gone = any(models.foreign(model, name) for name in names)
        if gone:
            dropped.append("%s of %s %s" % (attribute, node.tag, node.get("name") or ""))
            del node.attrib[attribute]


def _mentions(text, model, target, models):
    """Whether an expression names a foreign field: of ``model`` as an identifier or an option's
    value, of ``target`` as the left side of a domain's leaf."""
    if not text or len(text) > _LIMIT:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and models.foreign(model, node.id):
            return True
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "parent":
            continue  # the parent's model is not known here; its own view is pruned by itself
        if isinstance(node, (ast.Tuple, ast.List)) and len(node.elts) == 3:
            left = node.elts[0]
            if isinstance(left, ast.Constant) and isinstance(left.value, str) and _foreign_path(left.value, target, models):
                return True
        if isinstance(node, ast.Dict):
            for value in node.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    if models.foreign(model, value.value.partition(":")[0]):
                        return True
    return False


def _foreign_path(path, model, models):
    for name in path.split("."):
        if not model or not models.known(model):
            return False
        if models.foreign(model, name):
            return True
        model = models.comodel(model, name)
    return False


def _remove(parent, node):
    """Takes a node out, and keeps the text behind it."""
    if node.tail:
        at = list(parent).index(node)
        if at:
            before = parent[at - 1]
            before.tail = (before.tail or "") + node.tail
        else:
            parent.text = (parent.text or "") + node.tail
        node.tail = None
    parent.remove(node)
