"""The chat mix: how many messages per second groups of ten can say, type and read before somebody waits too long."""

from bench.figures import Plan, Progress
from bench.figures.goals import Times
from bench.figures.units import Unit
from bench.generator import Generator, Measured
from bench.load.chat import kept_up
from bench.load.commands import HoldChat, PrepareChat, SearchChat
from bench.load.groups import GROUP

KEPT_UP = Unit("per second", lambda measured: measured.result.rate if kept_up(measured.result) else 0.0)
"""Messages per second with the p99 of their deliveries below the limit; a window that was too much for it has none."""


class Chat:
    """The highest rate of messages that is kept up with. An operation is a message, with all that it brings about."""

    key = "chat"
    unit = KEPT_UP
    goal = Times(50, 200)
    has_peer = True
    has_ceiling = True

    def __init__(self, groups: int) -> None:
        self._groups = groups
        self._rates: dict[Generator, float] = {}
        self.title = (
            f"chat mix, {groups} groups of {GROUP}: messages/s with p99 delivery under 500 ms "
            "(1 in 3 typed, 2 or 3 receipts for each)"
        )

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await generator.tell(PrepareChat(groups=self._groups), progress)
        done, steps = await generator.tell(SearchChat(seconds=plan.step_s), progress)
        self._rates[generator] = done.rate
        return steps

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        command = HoldChat(rate=self._rates[generator], seconds=plan.window_s)
        _, windows = await generator.tell(command, progress)
        return max(windows, key=KEPT_UP.of)
