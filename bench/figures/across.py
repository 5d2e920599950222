"""Sends across regions, beside the same within one."""

from bench.figures import Plan, Progress
from bench.figures.goals import Times
from bench.figures.units import PER_SECOND
from bench.generator import Generator, Measured
from bench.load.commands import MeasureWorld, PrepareAcross, World
from bench.servers.regions import Placed

READERS = 2
"""Of each room."""


class SendsAcross:
    """Durable sends of one region's people into another region's rooms, which people of a third wait for."""

    key = "across"
    unit = PER_SECOND
    goal = Times(0.5)
    has_peer = True  # it is one region of the same node
    has_ceiling = False

    def __init__(self, at_once: int, rooms: int) -> None:
        self._at_once = at_once
        self._rooms = rooms
        self.title = f"sends/s from ru into {rooms} rooms of cn, read in eu, {at_once} at once"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        server = generator.server
        assert isinstance(server, Placed), "it is measured on a node of several regions"
        command = PrepareAcross(places=server.places, rooms=self._rooms, at_once=self._at_once, readers=READERS)
        await generator.tell(command, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        _, [measured] = await generator.tell(MeasureWorld(world=World.ACROSS, seconds=plan.window_s), progress)
        return measured
