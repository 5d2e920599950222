"""Reading: first syncs, warm and after a restart, and pages of history."""

from bench.figures import Plan, Progress
from bench.figures.goals import Times
from bench.figures.units import MILLISECONDS, PER_SECOND
from bench.generator import Generator, Measured
from bench.load.commands import LogIn, MeasureWorld, PrepareFirstSyncs, PreparePages, World

DEVICES = 20
"""First syncs of one window, at most."""


class ManyRooms:
    """The world of the first syncs, on each server: made once, for both figures that are taken in it."""

    def __init__(self, rooms: int, events: int) -> None:
        self.rooms = rooms
        self.events = events
        self._made: set[Generator] = set()

    async def make(self, generator: Generator, progress: Progress) -> None:
        if generator not in self._made:
            await generator.tell(PrepareFirstSyncs(rooms=self.rooms, events=self.events), progress)
            self._made.add(generator)

    async def measure(self, generator: Generator, seconds: float, progress: Progress) -> Measured:
        """The first syncs of the devices that were logged in since the last time."""
        _, [measured] = await generator.tell(MeasureWorld(world=World.FIRST_SYNCS, seconds=seconds), progress)
        return measured


class InitialSync:
    """A new device's first sync, by a server that has answered such a sync before."""

    key = "initial-sync"
    unit = MILLISECONDS
    goal = Times(20, 50)
    has_peer = True
    has_ceiling = True

    def __init__(self, world: ManyRooms) -> None:
        self._world = world
        self.title = f"initial sync, {world.rooms} rooms x {world.events} events, warm"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await self._world.make(generator, progress)
        await generator.tell(LogIn(devices=1), progress)
        await self._world.measure(generator, plan.window_s, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        await generator.tell(LogIn(devices=DEVICES), progress)
        return await self._world.measure(generator, plan.window_s, progress)


class InitialSyncAfterRestart:
    """A new device's first sync, which is also the first thing that the server is asked after it was started."""

    key = "initial-sync-restart"
    unit = MILLISECONDS
    goal = Times(5, 15)
    has_peer = True
    has_ceiling = False

    def __init__(self, world: ManyRooms) -> None:
        self._world = world
        self.title = f"initial sync, {world.rooms} rooms x {world.events} events, first after a restart"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await self._world.make(generator, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        await generator.tell(LogIn(devices=1), progress)
        await generator.server.restart()
        return await self._world.measure(generator, plan.window_s, progress)


class Pages:
    """Pages of history, read backwards."""

    key = "pages"
    unit = PER_SECOND
    goal = Times(5, 10)
    has_peer = True
    has_ceiling = True

    def __init__(self, rooms: int, pages: int, at_once: int) -> None:
        self._command = PreparePages(rooms=rooms, pages=pages, at_once=at_once)
        self.title = f"`/messages?limit=100` pages/s, {at_once} at once, rooms of {pages * 100:,} events"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await generator.tell(self._command, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        _, [measured] = await generator.tell(MeasureWorld(world=World.PAGES, seconds=plan.window_s), progress)
        return measured
