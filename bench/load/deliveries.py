"""Deliveries: one room, every member waiting in `/sync`; a message is delivered once per member.

A closed loop over whole deliveries: a number of messages is under way, and the next one is sent when every member has
got one. So a server that falls behind is asked for less, and a stall is a gap, not a backlog. One message at a time
is the fan-out alone; the ramp looks for the number under way at which the rate is best: that is saturation.
"""

import asyncio
from math import inf
from time import perf_counter
from typing import Self

from bench.load import matrix, wire
from bench.load.matrix import Account, Progress, SendRequest, SyncRequest, Target
from bench.load.window import Marks, Result, Window

SENDERS = 20
"""Members who also send, in turn."""
DRAIN_S = 120.0
RAMP = (1, 4, 16, 64)
"""Messages under way. With more of them a sync carries several, which is cheaper for each, and later for all."""
TURNS = 1
ENOUGH = 0.95
"""Saturation is the smallest number under way that reaches this share of the best rate: more would only add latency."""


class Lost(Exception):
    """Deliveries went missing, so that no rate means anything."""


class Deliveries:
    """A prepared world: one room, its members, and where the sync of each stands."""

    def __init__(
        self,
        target: Target,
        room: str,
        members: list[Account],
        polls: list[SyncRequest],
        since: list[str],
        drain_s: float = DRAIN_S,
    ) -> None:
        self.target = target
        self.room = room
        self.members = members
        self.polls = polls
        self.since = since
        self.drain_s = drain_s
        self.messages = 0

    @classmethod
    async def prepare(
        cls, target: Target, prefix: str, members: int, progress: Progress, *, drain_s: float = DRAIN_S
    ) -> "Deliveries":
        """Register `members` accounts, let them join one room, and sync each of them once.

        What is not delivered `drain_s` after a window is missing.
        """
        people = await matrix.accounts(target, [f"{prefix}{number}" for number in range(members)], progress)
        [room] = await matrix.rooms(target, people[:1], progress)
        await matrix.joins(target, [(person, room) for person in people[1:]], progress)
        filters = await matrix.filters(target, people, progress)
        since = await matrix.initial_syncs(target, list(zip(people, filters, strict=True)), progress)
        polls = [SyncRequest.of(person.access_token, made) for person, made in zip(people, filters, strict=True)]
        return cls(target, room, people, polls, since, drain_s)

    async def ramp(self, seconds: float, marks: Marks) -> int:
        """Measure a step for each of RAMP; returns the number under way that saturates.

        A step that stalled is measured once more before it is believed. Raises: Lost.
        """
        async with _Waiting(self) as waiting:
            results: list[Result] = []
            for under_way in RAMP:
                result = await waiting.step(under_way, seconds, marks)
                if result.stalled:
                    result = await waiting.step(under_way, seconds, marks)
                if result.missing:
                    raise Lost(f"{result.missing} deliveries were missing with {under_way} messages under way")
                results.append(result)
        return saturation(results)

    async def measure(self, under_way: int, seconds: float, marks: Marks) -> None:
        """One window with `under_way` messages at a time."""
        async with _Waiting(self) as waiting:
            await waiting.step(under_way, seconds, marks)


def saturation(results: list[Result]) -> int:
    """The smallest number under way that reaches ENOUGH of the best rate. `results` must not be empty."""
    best = max(result.rate for result in results)
    return min(result.concurrency for result in results if result.rate >= best * ENOUGH)


class _Message:
    """One message under way: who has it, when it was sent, and whether its sender knows."""

    __slots__ = ("acknowledged", "left", "seen", "sent_at")

    def __init__(self, members: int, sent_at: float) -> None:
        self.sent_at = sent_at
        self.seen = bytearray(members)
        self.left = members
        self.acknowledged = False

    @property
    def complete(self) -> bool:
        return self.left == 0 and self.acknowledged


class _Waiting:
    """Every member waits on a connection of its own, from `__aenter__` to `__aexit__`."""

    def __init__(self, world: Deliveries) -> None:
        self._world = world
        self._members = len(world.members)
        self._window: Window | None = None
        self._messages: dict[int, _Message] = {}
        self._errors = 0
        self._duplicates = 0
        self._under_way = 0
        self._wanted = 0
        self._ends_at = inf
        self._to_complete = 0
        self._closed = asyncio.Event()
        self._idle = asyncio.Event()
        self._pollers: list[wire.Connection] = []
        self._free: list[wire.Connection] = []

    async def __aenter__(self) -> Self:
        target = self._world.target
        self._pollers = await wire.connect_many(target.host, target.port, self._members)
        for member, connection in enumerate(self._pollers):
            self._wait(member, connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in (*self._pollers, *self._free):
            connection.close()

    def _wait(self, member: int, connection: wire.Connection) -> None:
        """Poll for ever: read what came, then ask again from there."""
        since, request = self._world.since, self._world.polls[member]
        room = self._world.room
        messages = self._messages

        def done(status: int, body: bytes) -> None:
            if status != 200:
                self._errors += 1  # this member hears no more, so its deliveries go missing and are reported
                return
            synced = matrix.SYNCED.decode(body)
            since[member] = synced.next_batch
            connection.send(request.since(synced.next_batch), done)
            joined = synced.rooms.join.get(room)
            if joined is None:
                return
            now = perf_counter()
            for event in joined.timeline.events:
                if event.type != "m.room.message":
                    continue
                number = int(event.content.body.split(" ", 1)[0])
                message = messages.get(number)
                if message is None or message.seen[member]:  # None: of an earlier step, by a server that forgot
                    self._duplicates += 1
                else:
                    message.seen[member] = 1
                    message.left -= 1
                    if self._window is not None:
                        self._window.count(message.sent_at, now)
                    if message.complete:
                        self._completed()

        connection.send(request.since(since[member]), done)

    def _completed(self) -> None:
        self._under_way -= 1
        if self._window is not None:
            self._to_complete -= 1
            if self._to_complete <= 0 and (now := perf_counter()) >= self._ends_at:
                self._close(self._window, now)
        while self._under_way < self._wanted:
            self._send()
        if not self._under_way:
            self._idle.set()

    def _close(self, window: Window, now: float) -> None:
        window.close(now)
        self._window = None
        self._wanted = 0
        self._closed.set()

    def _send(self) -> None:
        world = self._world
        number = world.messages
        world.messages += 1
        sender = world.members[number % min(SENDERS, self._members)]
        request = SendRequest.to(world.room, sender.access_token, f"{number} said one of many in a room that listens")
        connection = self._free.pop()
        message = self._messages[number] = _Message(self._members, perf_counter())
        self._under_way += 1

        def done(status: int, body: bytes) -> None:
            self._free.append(connection)
            if status == 200:
                message.acknowledged = True
            else:
                self._errors += 1  # it stays under way: whether it was delivered is not known
            if message.complete:
                self._completed()

        connection.send(request.with_transaction(b"d%d" % number), done)

    async def step(self, under_way: int, seconds: float, marks: Marks) -> Result:
        """Keep `under_way` messages under way for `seconds`, then wait until the last of them is everywhere.

        The first one, sent before the window opens, makes sure that every member is waiting. The window closes with a
        complete message, and not before TURNS times as many as are under way are complete: a slow server delivers in
        bursts, and a part of a cycle would be a figure of chance.
        """
        target = self._world.target
        while len(self._free) < under_way:
            self._free.append(await wire.connect(target.host, target.port))
        self._errors = self._duplicates = 0
        await self._round(1)
        marks.opened(under_way)
        self._window = window = Window(under_way)
        self._ends_at = perf_counter() + seconds
        self._to_complete = TURNS * under_way
        self._closed.clear()
        self._fill(under_way)
        try:
            async with asyncio.timeout(seconds + self._world.drain_s):
                await self._closed.wait()
        except TimeoutError:
            self._close(window, perf_counter())
        marks.closed()
        await self._drain()
        missing = sum(message.left for message in self._messages.values())
        self._messages.clear()
        self._under_way = 0
        result = window.result(missing=missing, duplicates=self._duplicates, errors=self._errors)
        marks.ended(result)
        return result

    async def _round(self, messages: int) -> None:
        """Send `messages` at once and wait for all of them."""
        self._fill(messages)
        await self._drain()

    def _fill(self, wanted: int) -> None:
        self._idle.clear()
        self._wanted = wanted
        while self._under_way < wanted:
            self._send()

    async def _drain(self) -> None:
        self._wanted = 0
        try:
            async with asyncio.timeout(self._world.drain_s):
                await self._idle.wait()
        except TimeoutError:
            return
