"""What a module names to be timed: the file waybill_signals.py, which is read and never run.

    CALLS = {"lane_plan": [("acme.lane", "action_plan")]}
"""
import ast
import re

FILE = "waybill_signals.py"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_CALLS = 20  # that one module may name
_SIZE = 64 << 10


def read(path):
    """parse() of a file; OSError when it cannot be read."""
    with open(path, "rb") as file:
        raw = file.read(_SIZE + 1)
    if len(raw) > _SIZE:
        raise ValueError("is larger than %d bytes" % _SIZE)
    return parse(raw)


def parse(raw):
    """{name: [(model, method), …]} of a waybill_signals.py; ValueError says what is wrong with it."""
    form = 'say CALLS = {"name": [("model", "method")]}, in literals'
    try:
        tree = ast.parse(raw)
        found = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["CALLS"]
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError("cannot be read (%s); %s" % (error, form)) from error
    if len(found) != 1 or not isinstance(found[0], dict):
        raise ValueError(form)
    if len(found[0]) > _CALLS:
        raise ValueError("names %d calls; %d are possible" % (len(found[0]), _CALLS))
    calls = {}
    for name, methods in found[0].items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("%r is no name: small letters, digits and _, 41 at most" % (name,))
        if not isinstance(methods, (list, tuple)) or not methods or len(methods) > _CALLS:
            raise ValueError("%s: %s" % (name, form))
        for one in methods:
            if not isinstance(one, (list, tuple)) or len(one) != 2 or not all(isinstance(part, str) for part in one):
                raise ValueError("%s: %s" % (name, form))
        calls[name] = [tuple(one) for one in methods]
    return calls
