"""The figures: what each measures, how its world is prepared, and how one window of it is taken."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from bench.generator import Generator, Measured
from bench.load.commands import (
    MeasureDeliveries,
    MeasureSends,
    PrepareDeliveries,
    PrepareSends,
    Progressed,
    RampDeliveries,
)

Progress = Callable[[Progressed], None]


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    window_s: float
    warm_s: float
    step_s: float

    def with_rounds(self, rounds: int) -> "Plan":
        return replace(self, rounds=rounds)


DEFAULT = Plan(rounds=3, window_s=6.0, warm_s=2.0, step_s=3.0)
QUICK = Plan(rounds=3, window_s=2.0, warm_s=0.5, step_s=1.0)


class Figure(Protocol):
    """One row of the results."""

    key: str
    title: str

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        """Make its world on one server; returns what a ramp measured on the way, if it has one."""

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        """One window."""


class Sends:
    """Durable sends: each is answered after its commit."""

    key = "sends"

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

    def __init__(self, room: WaitingRoom) -> None:
        self._room = room
        self._saturation: dict[Generator, int] = {}
        self.key = f"deliveries-{room.members}"
        self.title = f"deliveries/s at saturation, {room.members:,} waiting members"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await self._room.make(generator, progress)
        ramp = RampDeliveries(members=self._room.members, seconds=plan.step_s)
        done, steps = await generator.tell(ramp, progress)
        self._saturation[generator] = done.saturation
        return steps

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        return await self._room.measure(generator, self._saturation[generator], plan.window_s, progress)
