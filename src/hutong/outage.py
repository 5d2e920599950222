"""Something that is away for a while: one line in the log when that begins, one when it is over, none between."""

from logging import Logger


class Outage:
    def __init__(self, log: Logger, what: str) -> None:
        """`what`: how the lines begin, such as `cell 256`."""
        self._log = log
        self._what = what
        self._why: str | None = None

    def goes_on(self, why: str) -> None:
        """It is so, because of `why`. Another reason is another line."""
        if why != self._why:
            self._why = why
            self._log.warning("%s: %s", self._what, why)

    def is_over(self) -> None:
        if self._why is not None:
            self._log.info("%s: no longer so: %s", self._what, self._why)
            self._why = None
