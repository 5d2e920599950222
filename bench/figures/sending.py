"""Sends, and what comes of them where everybody waits: durable sends, the fan-out, and deliveries at saturation."""

from bench.figures import Plan, Progress
from bench.figures.goals import Times
from bench.figures.units import PER_SECOND
from bench.generator import Generator, Measured
from bench.load.commands import MeasureDeliveries, MeasureSends, PrepareDeliveries, PrepareSends, RampDeliveries


class Sends:
    """Durable sends: each is answered after its commit."""

    key = "sends"
    unit = PER_SECOND
    goal = Times(50, 100)
    has_peer = True
    has_ceiling = True

    def __init__(self, at_once: int, rooms: int) -> None:
        self._at_once = at_once
        self._rooms = rooms
        self.title = f"durable sends/s, {at_once} at once, {rooms} rooms"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await generator.tell(PrepareSends(rooms=self._rooms, at_once=self._at_once), progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        _, [measured] = await generator.tell(MeasureSends(warm_s=plan.warm_s, seconds=plan.window_s), progress)
        return measured


class WaitingRoom:
    """One room whose members all wait in `/sync`, on each server: made once, for all figures that are taken in it."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._made: set[Generator] = set()

    async def make(self, generator: Generator, progress: Progress) -> None:
        if generator not in self._made:
            await generator.tell(PrepareDeliveries(members=self.members), progress)
            self._made.add(generator)

    async def measure(self, generator: Generator, under_way: int, seconds: float, progress: Progress) -> Measured:
        command = MeasureDeliveries(members=self.members, under_way=under_way, seconds=seconds)
        _, [measured] = await generator.tell(command, progress)
        return measured


class FanOut:
    """Deliveries of one message after the other: what a message costs with all members waiting."""

    unit = PER_SECOND
    goal = None
    has_peer = True
    has_ceiling = True

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self.key = f"fan-out-{room.members}"
        self.title = f"deliveries/s, one message at a time, {room.members:,} waiting members"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await self._room.make(generator, progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        return await self._room.measure(generator, 1, plan.window_s, progress)


class Deliveries:
    """Deliveries at saturation: as many messages under way as make the rate best, whatever the latency."""

    unit = PER_SECOND
    goal = Times(15, 30, p99_ms_aimed_at=100)
    has_peer = True
    has_ceiling = True

    def __init__(self, room: WaitingRoom, saturation: dict[Generator, int]) -> None:
        """`saturation`: how many under way saturate each server, as far as a smaller room has shown it already.

        A larger room than that takes a slow server minutes for each step of a ramp.
        """
        self._room = room
        self._saturation = saturation
        self.key = f"deliveries-{room.members}"
        self.title = f"deliveries/s at saturation, {room.members:,} waiting members"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await self._room.make(generator, progress)
        if generator in self._saturation:
            return []
        ramp = RampDeliveries(members=self._room.members, seconds=plan.step_s)
        done, steps = await generator.tell(ramp, progress)
        self._saturation[generator] = done.saturation
        return steps

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        return await self._room.measure(generator, self._saturation[generator], plan.window_s, progress)
