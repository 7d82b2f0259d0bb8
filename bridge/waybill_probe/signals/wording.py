"""Texts without the values that stand in them: a value may be a password or a customer's name.

Of a log line only those words are kept that stand in the code that logged it; of a query no
literal.
"""
import functools
import itertools
import re

_WORD = re.compile(r"[^\W\d_](?:[\w.-]*\w)?|%(?:\(\w+\))?[sdrfx]|[\d_]\w*")
_GAPS = re.compile(r"…(?:[\s,;:=|/@.+-]*…)+")
_TEXT = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.S)
_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\b")
_LIST = re.compile(r"\((?:\s*(?:\?|%s)\s*,)+\s*(?:\?|%s)\s*\)")


def message(text, path, line):
    """A log line's text, logged by the code at a line of a file; empty for what is no text."""
    if not isinstance(text, str):  # an exception, or an object
        return ""
    known = _words(path, line)

    def keep(match):
        word = match[0]
        return word if word.startswith("%") or (word in known and not word[0].isdigit()) else "…"

    return _GAPS.sub("…", " ".join(_WORD.sub(keep, text[:2000]).split()))


@functools.lru_cache(maxsize=512)
def _words(path, line):
    """The words of the code around a line: the call that logged, and its text."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            code = "".join(itertools.islice(file, max(0, line - 3), line + 12))
    except (OSError, TypeError, ValueError):
        return frozenset()
    # "\n" in the code is a line's end, and the word after it a word.
    return frozenset(_WORD.findall(re.sub(r"\\[nrt]", " ", code)))


def query(query):
    """An SQL text without any value that may stand in it."""
    if isinstance(query, bytes):
        query = query.decode("utf-8", "replace")
    if not isinstance(query, str):
        return type(query).__name__
    query = _NUMBER.sub("?", _TEXT.sub("?", query[:4000]))
    if "'" in query:  # cut within a text
        query = query[: query.index("'")] + "?"
    return _LIST.sub("(…)", " ".join(query.split()))[:300]


def short(path):
    """A source file's name from the module on."""
    for mark in ("/addons/", "/dist-packages/", "/site-packages/"):
        if mark in path:
            return path.rpartition(mark)[2]
    return "/".join(path.rsplit("/", 2)[-2:])
