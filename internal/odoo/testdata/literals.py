"""Reads Python literals with ast.literal_eval and writes what they stand for as JSON: the oracle
of ParseLiteral.

    python3 literals.py corpus > literals.json     the tricky ones, listed below
    python3 literals.py FOLDER …                   every manifest below the folders, one JSON a line
"""
import ast
import json
import pathlib
import sys
import warnings

warnings.simplefilter("ignore")


def plain(v):
    if v is None or isinstance(v, (bool, str)):
        return v
    if isinstance(v, int):
        return {"int": str(v)}
    if isinstance(v, float):
        return {"float": v.hex()}
    if isinstance(v, bytes):
        return {"bytes": v.hex()}
    if isinstance(v, list):
        return [plain(e) for e in v]
    if isinstance(v, tuple):
        return {"tuple": [plain(e) for e in v]}
    if isinstance(v, (set, frozenset)):
        return {"set": sorted((plain(e) for e in v), key=json.dumps)}
    if isinstance(v, dict):
        return {"dict": [[plain(k), plain(e)] for k, e in v.items()]}
    raise TypeError(type(v))


def read(source):
    try:
        return {"value": plain(ast.literal_eval(source))}
    except Exception as e:
        return {"error": type(e).__name__}


CORPUS = [
    "{}", "[]", "()", "(1)", "(1,)", "1,", "1, 2", "((((1))))", "{1}", "{1, 2, 1}", "set()", "set( )",
    "  {'a': 1}", "\t{'a': 1}", "\n{'a': 1}", "\n  {'a': 1}", "# c\n{'a': 1}", "# c\n {'a': 1}", "  # c\n{'a': 1}",
    "# -*- coding: latin-1 -*-\n{'a': 'é'}", "{'a': 1}\n\n# end\n", "{'a': 1}\n  # end", "{'a': 1}   ", "{'a': 1};", "{'a': 1} 2",
    "{'a': 1\n# inside\n,\n'b': 2,}", "{'a' 'b': 'c' \"d\"\n 'e'}", "'a'\n'b'", "('a'\n'b')", "'a' \\\n'b'",
    "'''a\nb'''", '"""a"b""c"""', "'''a\\\nb'''", "'a\\\nb'", "'a\nb'", "'a", "'''a", "'''a''", "''", "''''''", "'' ''",
    r"'\a\b\f\n\r\t\v\\\'\"'", r"'\0\12\123\1234\777'", r"'\x41\u00e9\U0001F600'", r"'\q\8\%\ '", r"'\x4'", r"'\u12'", r"'\U00110000'",
    r"r'\n\''", r"R'\\'", r"r'\'", r"rb'\x41'", r"bR'a'", r"b'\x41\377\n\u0041'", "b'é'", "u'a'", "U'a'", "ur'a'", "f'a'", "b'a' 'b'", "b'a' b'b'", "x'a'",
    r"u'\u00e9'", r"'\400'", r"b'\400'",
    "True", "False", "None", "true", "null", "NaN", "a", "a.b", "f()", "set(1)", "set([1])", "dict()", "[1 2]", "[1,,2]", "[,]", "[1,]", "(,)", "{,}", "{1:}", "{1:2,,}", "{:}", "{1:2, 3}", "{1, 2:3}",
    "0", "00", "0_0", "01", "1_000", "1__0", "1_", "_1", "0x1F", "0X_1f", "0o17", "0b101", "0x", "0b2", "0o8", "123456789012345678901234567890", "-9223372036854775808", "9223372036854775808",
    "1.", ".5", "1.5", "1e5", "1E-5", "1.e3", "1_0.2_5", "1e400", "0.1", "01.5", "0e0", "-0.0", "-1", "+1", "--1", "-+1", "- 1", "-(1)", "-((1.5))", "+(2)", "-(True)", "+(None)", "-(-9223372036854775808)", "-(9223372036854775808)", "-True", "-'a'", "~1", "1+2", "1-2", "[1+1]", "1.2.3", "1a", "1 .5",
    "1.0", "{1: 'a', 1.0: 'b', True: 'c'}", "{'a': 1, 'a': 2}", "{'b': 0, 'a': 1, 'b': 2}", "{(1, 2): 3}", "{[1]: 2}", "{(1, [2]): 3}", "{{1}}", "{{}}", "{b'a': 'b', 'a': 'c'}",
    "[*a]", "{**a}", "[x for x in y]", "lambda: 0", "(yield)", "not True", "1 if True else 2", "a = 1", "import os", "__import__('os').system('true')", "'a' % 1", "'a' + 'b'", "'a'.join([])", "[1][0]",
    "", " ", "\n", "# only", "\\\n1", "[\\\n1]", "1 \\", "\\", "[\\ 1]", "\x0c{'a': 1}", "[\x0c1]", "[1\r\n,2]\r\n", "'''a\r\nb\rc'''", "'a\r'",
    "[" * 30 + "]" * 30, "[" * 63 + "1" + "]" * 63, "(1", "1)", "[1)", "{'a': [1, {'b': (2, 'c')}]}",
    "{'é': 'ü', '日本': '語'}", "{'a': 'x', 'b': u'y', 'c': b'z', 'd': r'\\w'}", "\ufeff{}", "'\x00'", "é", "'\u2028'", "[1\u00a0]", "…",
    "{'depends': ('a', 'b'), 'version': 1.0, 'sequence': '10', 'auto_install': ['a'],}",
]

if __name__ == "__main__":
    if sys.argv[1:] == ["corpus"]:
        json.dump([{"source": s, **read(s)} for s in CORPUS], sys.stdout, indent=0, ensure_ascii=True)
        print()
    else:
        for folder in sys.argv[1:]:
            for file in sorted(pathlib.Path(folder).rglob("__manifest__.py")):
                with open(file, encoding="utf-8") as f:
                    print(json.dumps({"file": str(file), **read(f.read())}))
