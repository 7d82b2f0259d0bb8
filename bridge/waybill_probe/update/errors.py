"""Why an update did not commit. The codes are those of internal/bridge/protocol.go."""

COMMITTED = 0
FAILED = 10
FLOW_FAILED = 11
DEADLINE = 12
BUSY = 13
CONFLICT = 14
OWN_COMMIT = 15
NO_DATABASE = 16
NOT_AN_ODOO_BASE = 17

# lock_not_available is one of them: Odoo gives up waiting for a lock after 15 s.
CONFLICT_STATES = ("40001", "40P01", "55P03")


class Stop(Exception):
    """Ends the update with a code; nothing of it is committed."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class OwnCommit(Stop):
    """A script ends the transaction by itself, or leaves it through a connection of its own."""

    def __init__(self, message):
        super().__init__(OWN_COMMIT, message)


class DeadlinePassed(Stop):
    def __init__(self, message="the deadline has passed"):
        super().__init__(DEADLINE, message)


def code_of(error):
    """Exit code for whatever was raised, looking through the chain of causes."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, Stop):
            return error.code
        if getattr(error, "pgcode", None) in CONFLICT_STATES:
            return CONFLICT
        error = error.__cause__ or error.__context__
    return FAILED
