"""Reads Python sources and says what is in them. Runs none of them.

Runs on the interpreter of the base image, which will run the sources later: what it cannot
compile, it could not load either. Each source comes on standard input as a line with its length
in bytes, followed by the bytes; each answer is one line of JSON on standard output.
"""
import ast
import json
import resource
import sys
import warnings

KINDS = {"Model", "TransientModel", "AbstractModel", "BaseModel"}
CURSORS = {"cr", "_cr", "cursor", "_cursor"}
IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def constant(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def kind_of(base):
    if isinstance(base, ast.Attribute) and base.attr in KINDS:
        return base.attr
    if isinstance(base, ast.Name) and base.id in KINDS:
        return base.id
    return None


def assigned(statement):
    """Names and value of an assignment."""
    if isinstance(statement, ast.Assign):
        names = [t.id for t in statement.targets if isinstance(t, ast.Name)]
        for target in statement.targets:
            if isinstance(target, (ast.Tuple, ast.List)):
                names += [t.id for t in target.elts if isinstance(t, ast.Name)]
        return names, statement.value
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id], statement.value
    return [], None


def model(node):
    kind = next((k for k in map(kind_of, node.bases) if k), None)
    if kind is None:
        return None
    found = {"class": node.name, "kind": kind, "name": "", "inherit": [], "line": node.lineno, "dynamic": False}
    for statement in node.body:
        names, value = assigned(statement)
        if value is None:
            continue
        if "_name" in names:
            name = constant(value)
            if name is None and not (isinstance(value, ast.Constant) and value.value is None):
                found["dynamic"] = True
            found["name"] = name or ""
        if "_inherit" in names:
            single = constant(value)
            if single is not None:
                found["inherit"] = [single]
            elif isinstance(value, (ast.List, ast.Tuple)):
                many = [constant(e) for e in value.elts]
                found["dynamic"] = found["dynamic"] or None in many
                found["inherit"] = [m for m in many if m is not None]
            elif not (isinstance(value, ast.Constant) and value.value is None):
                found["dynamic"] = True
    return found


def forgives(node):
    """Whether a try catches that an import fails."""
    for handler in node.handlers:
        caught = handler.type
        if caught is None:
            return True
        for name in caught.elts if isinstance(caught, ast.Tuple) else [caught]:
            if isinstance(name, ast.Name) and name.id in IMPORT_ERRORS:
                return True
    return False


def type_checking(node):
    test = node.test
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING" or isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"


def facts(tree):
    found = {"models": [], "functions": [], "commits": [], "imports": [], "names": []}
    names = {}
    # A list instead of recursion: a source may nest as deeply as it likes. In each entry: the node,
    # whether it is at the top level (an if or try there is), whether an import may fail there.
    todo = [(node, True, False) for node in reversed(tree.body)]
    while todo:
        node, top, optional = todo.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                found["imports"].append({"name": alias.name.split(".")[0], "line": node.lineno, "optional": optional})
                if top:
                    names[alias.asname or alias.name.split(".")[0]] = True
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                found["imports"].append({"name": node.module.split(".")[0], "line": node.lineno, "optional": optional})
            if top:
                for alias in node.names:
                    names[alias.asname or alias.name] = True
        elif isinstance(node, ast.ClassDef) and top:
            one = model(node)
            if one:
                found["models"].append(one)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and top:
            arguments = node.args
            found["functions"].append({
                "name": node.name, "line": node.lineno, "end": getattr(node, "end_lineno", None) or 0,
                "args": [a.arg for a in getattr(arguments, "posonlyargs", []) + arguments.args],
                "decorated": bool(node.decorator_list),
            })
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("commit", "rollback"):
            on = node.func.value
            if isinstance(on, ast.Name) and on.id in CURSORS or isinstance(on, ast.Attribute) and on.attr in CURSORS:
                found["commits"].append(node.lineno)
        elif top:
            for name in assigned(node)[0]:
                names[name] = True
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        stays = top and isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ExceptHandler))
        guarded = set()
        if isinstance(node, ast.Try) and forgives(node):
            guarded = set(map(id, node.body))
        elif isinstance(node, ast.If) and type_checking(node):
            guarded = set(map(id, node.body))
        within = optional or inner or isinstance(node, ast.ExceptHandler) and optional
        children = list(ast.iter_child_nodes(node))
        for child in reversed(children):
            # A handler that catches a failed import tries something else: that may fail as well.
            may_fail = within or id(child) in guarded or bool(guarded) and isinstance(child, ast.ExceptHandler)
            todo.append((child, stays, may_fail))
    found["names"] = sorted(names)
    found["commits"].sort()
    return found


def answer(source):
    try:
        compile(source, "source", "exec", dont_inherit=True)
    except SyntaxError as e:
        return {"syntax_error": e.msg or "syntax error", "line": e.lineno or 0}
    except (ValueError, OverflowError) as e:
        return {"syntax_error": str(e), "line": 0}
    except RecursionError:
        return {"syntax_error": "it nests more deeply than Python's compiler goes", "line": 0}
    except MemoryError:
        return {"unknown": "Python's compiler needs more memory for it than it gets here"}
    try:
        return facts(ast.parse(source))
    except (RecursionError, MemoryError):
        return {"unknown": "it compiles, but nests more deeply than its tree can be read"}


def limit():
    """Bounds this process before it reads what others wrote: whatever its parser does with that."""
    for what, most in (
        (resource.RLIMIT_AS, 1 << 30),  # bytes
        (resource.RLIMIT_CPU, 3600),  # seconds; the deadline of each source is the caller's
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))


def main():
    limit()
    warnings.simplefilter("ignore")
    give, take = sys.stdout.buffer, sys.stdin.buffer
    give.write(json.dumps({"version": sys.version.split()[0]}).encode() + b"\n")
    give.flush()
    while True:
        head = take.readline()
        if not head:
            return
        source = take.read(int(head))
        try:
            result = json.dumps(answer(source))
        except MemoryError:
            result = json.dumps({"unknown": "it needs more memory than it gets here"})
        del source
        give.write(result.encode() + b"\n")
        give.flush()


main()
