"""Sends from one region into rooms of another, with members of a third who wait for them.

The sends are those of `sends.py`. The readers are load like everybody else, and a check: each must be told of every
event that was answered, once. With all three in one region it is what the regions are compared with.
"""

import asyncio
from collections import Counter
from typing import Self

from bench.load import matrix, wire
from bench.load.commands import Places
from bench.load.matrix import Account, Progress, SyncRequest, Target
from bench.load.sends import Sends
from bench.load.window import Marks

DRAIN_S = 60.0
WARM_S = 1.0


class Across:
    """A prepared world: senders, and `readers` of each room with the requests they wait with."""

    def __init__(
        self, target: Target, sends: Sends, polls: list[SyncRequest], since: list[str], readers: int, drain_s: float
    ) -> None:
        self._target = target
        self._sends = sends
        self._polls = polls
        self._since = since
        self._readers = readers
        self._drain_s = drain_s

    @classmethod
    async def prepare(
        cls,
        target: Target,
        prefix: str,
        places: Places,
        rooms: int,
        at_once: int,
        readers: int,
        progress: Progress,
        *,
        drain_s: float = DRAIN_S,
    ) -> "Across":
        """Register everybody where `places` says; all else is asked of `target`, which serves every region."""

        async def people(kind: str, port: int, count: int) -> list[Account]:
            names = [f"{prefix}{kind}{number}" for number in range(count)]
            return await matrix.accounts(Target(target.host, port), names, progress)

        made = await matrix.rooms(target, await people("h", places.rooms, rooms), progress)
        sending = await people("s", places.senders, at_once)
        reading = await people("r", places.readers, readers * rooms)
        senders = [(person, made[number % rooms]) for number, person in enumerate(sending)]
        readers_of = [(person, made[number % rooms]) for number, person in enumerate(reading)]
        await matrix.joins(target, [*senders, *readers_of], progress)
        filters = await matrix.filters(target, reading, progress)
        since = await matrix.initial_syncs(target, list(zip(reading, filters, strict=True)), progress)
        polls = [SyncRequest.of(person.access_token, made) for person, made in zip(reading, filters, strict=True)]
        return cls(target, Sends(target, senders), polls, since, readers, drain_s)

    async def measure(self, seconds: float, marks: Marks) -> None:
        """One window of sends, while everybody reads. The readers end with the last event that was answered."""
        async with _Reading(self._target, self._polls, self._since) as reading:

            async def check(events: list[str]) -> tuple[int, int]:
                await reading.until(len(events) * self._readers, self._drain_s)
                return sum(self._readers - reading.told[event] for event in events), reading.duplicates

            await self._sends.measure(WARM_S, seconds, marks, check)


class _Reading:
    """Every reader polls, within, and remembers what it was told. An error ends a reader: it misses the rest."""

    def __init__(self, target: Target, polls: list[SyncRequest], since: list[str]) -> None:
        self._target = target
        self._polls = polls
        self._since = since
        self._connections: list[wire.Connection] = []
        self._seen: list[set[str]] = [set() for _ in polls]
        self._wanted = 0
        self._enough = asyncio.Event()
        self.told: Counter[str] = Counter()
        """How many readers know an event."""
        self.duplicates = 0

    async def __aenter__(self) -> Self:
        self._connections = await wire.connect_many(self._target.host, self._target.port, len(self._polls))
        for reader, connection in enumerate(self._connections):
            self._wait(reader, connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def _wait(self, reader: int, connection: wire.Connection) -> None:
        since, poll, seen = self._since, self._polls[reader], self._seen[reader]

        def done(status: int, body: bytes) -> None:
            if status != 200:
                return
            synced = matrix.SYNCED.decode(body)
            since[reader] = synced.next_batch
            connection.send(poll.since(synced.next_batch), done)
            for room in synced.rooms.join.values():
                told = [event.event_id for event in room.timeline.events if event.type == "m.room.message"]
                new = set(told) - seen
                seen.update(new)
                self.told.update(new)
                self.duplicates += len(told) - len(new)
            if self._wanted and self.told.total() >= self._wanted:
                self._enough.set()

        connection.send(poll.since(since[reader]), done)

    async def until(self, wanted: int, timeout_s: float) -> None:
        """Until `wanted` deliveries have been read, or the time is over."""
        self._wanted = wanted
        if self.told.total() < wanted:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._enough.wait()
            except TimeoutError:
                return
