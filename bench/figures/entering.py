"""Coming in: joins and logins."""

from bench.figures import Plan, Progress
from bench.figures.goals import Times
from bench.figures.units import PER_SECOND
from bench.generator import Generator, Measured
from bench.load.commands import MeasureWorld, PrepareJoins, PrepareLogins, World
from bench.load.entering import RESIDENTS


class Joins:
    """Joins of public rooms. Every window has accounts of its own, so that each joins a room for the first time."""

    key = "joins"
    unit = PER_SECOND
    goal = Times(20, 50)
    has_peer = True
    has_ceiling = True

    def __init__(self, rooms: int, group: int, at_once: int) -> None:
        self._rooms = rooms
        self._group = group
        self._at_once = at_once
        self.title = f"joins/s, {at_once} at once, {rooms} public rooms of {RESIDENTS} members"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        command = PrepareJoins(rooms=self._rooms, windows=plan.rounds, group=self._group, at_once=self._at_once)
        await generator.tell(command, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        _, [measured] = await generator.tell(MeasureWorld(world=World.JOINS, seconds=plan.window_s), progress)
        return measured


class Logins:
    """Logins with a password, each server's hash as it comes."""

    key = "logins"
    unit = PER_SECOND
    goal = Times(2)
    has_peer = True
    has_ceiling = True

    def __init__(self, people: int, at_once: int) -> None:
        self._command = PrepareLogins(people=people, at_once=at_once)
        self.title = f"logins/s with a password, {at_once} at once"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        async with generator.server.default_hashing():
            await generator.tell(self._command, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        _, [measured] = await generator.tell(MeasureWorld(world=World.LOGINS, seconds=plan.window_s), progress)
        return measured
