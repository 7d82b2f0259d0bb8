"""What a flow is given, and what it may raise."""
import time

_STAGES = 200
_NAME = 100  # characters of a stage's name


class FlowError(Exception):
    """The flow did not end as a person would expect; its text says what was seen instead."""


class NotApplicable(Exception):
    """This database cannot run the flow for a reason that is no fault; its text says which."""


class Run:
    """An environment, the flow's marker, and the clock of its stages.

    ``env`` is the superuser's, in the flow's own transaction and in one company. ``marker`` is a text that
    nothing else in the database contains: every record of the flow bears it.
    """

    def __init__(self, env, marker):
        self.env = env
        self.marker = marker
        self.stages = []
        self.current = None  # the stage that was begun last
        self._since = None

    def stage(self, name):
        """Ends the stage before, and begins the one of that name."""
        if not isinstance(name, str) or not name:
            raise FlowError("the name of a stage is a text, not %r" % (name,))
        self.end()
        self.current, self._since = name[:_NAME], time.monotonic()

    def end(self):
        if self._since is not None:
            if len(self.stages) < _STAGES:
                self.stages.append({"name": self.current, "seconds": round(time.monotonic() - self._since, 4)})
            self._since = None

    def expect(self, condition, message, *args):
        """The flow fails with the message unless the condition holds."""
        if not condition:
            raise FlowError(message % args if args else message)

    def skip(self, reason, *args):
        """The flow does not apply to this database."""
        raise NotApplicable(reason % args if args else reason)
