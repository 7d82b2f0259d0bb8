"""Finds SQL that would begin or end a transaction, before it is sent."""
import re

_HINT = re.compile(r"\b(commit|end|abort|rollback|begin|start|prepare)\b", re.I)
# Quoted text, function bodies and comments say nothing about the transaction.
_OPAQUE = re.compile(
    r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.S
)
_TRANSACTION = re.compile(
    r"(?:^|;)\s*(?:(?:commit|end|abort|begin)\b|start\s+transaction\b|prepare\s+transaction\b"
    r"|rollback\b(?!\s+(?:(?:work|transaction)\s+)?to\b))",
    re.I,
)


def ends_transaction(query):
    """Whether an SQL text would begin or end a transaction."""
    if isinstance(query, bytes):
        query = query.decode("utf-8", "replace")
    if not isinstance(query, str) or not _HINT.search(query):
        return False
    return bool(_TRANSACTION.search(_OPAQUE.sub(" ", query)))
