"""Clients that only wait: accounts in small rooms, each in `/sync` on a connection of its own, and nothing happens.

What a server keeps for each of them is its memory with all of them waiting, less what it had before they connected.
Then others were waiting already, and had been told something, so that what the first clients bring about (caches,
pools, the allocator's reserve) is not counted. They stay, since whoever goes leaves room that would be used again.
None of those who count has synced before, so that nothing is kept for them yet.
"""

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter, process_time
from typing import NamedTuple, Self, TypeVar

from bench.load import matrix, wire
from bench.load.matrix import Account, Progress, SendRequest, SyncRequest, Target
from bench.load.window import Marks, Result, quantile_ms

GROUP = 10
"""Members of a room."""
POLL_MS = 110_000
"""How long a client waits: longer than the rest takes to connect. Who is answered earlier asks again."""
CONNECT_AT_ONCE = 64
SENDS_AT_ONCE = 8
CALM_S = 3.0
"""After the last client has asked, before memory is read: what answered it is put away meanwhile."""
DRAIN_S = 60.0


T = TypeVar("T")


class Client(NamedTuple):
    account: Account
    filter_id: str
    room: str


class Waiting:
    """A prepared world: `clients` who will be counted, and `guests` who wait before and meanwhile."""

    def __init__(
        self,
        target: Target,
        guests: Sequence[Client],
        clients: Sequence[Client],
        *,
        calm_s: float = CALM_S,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._target = target
        self._guests = guests
        self._clients = clients
        self._calm_s = calm_s
        self._drain_s = drain_s
        self._messages = 0

    @classmethod
    async def prepare(
        cls,
        target: Target,
        prefix: str,
        clients: int,
        guests: int,
        progress: Progress,
        *,
        calm_s: float = CALM_S,
        drain_s: float = DRAIN_S,
    ) -> "Waiting":
        """Register `clients` and `guests` accounts, GROUP in a room."""
        people = await matrix.accounts(target, [f"{prefix}{number}" for number in range(guests + clients)], progress)
        groups = [*_parts(people[:guests], GROUP), *_parts(people[guests:], GROUP)]
        rooms = await matrix.rooms(target, [group[0] for group in groups], progress)
        entered = [(person, room) for group, room in zip(groups, rooms, strict=True) for person in group]
        creators = {group[0].user_id for group in groups}
        await matrix.joins(target, [entry for entry in entered if entry[0].user_id not in creators], progress)
        filters = await matrix.filters(target, people, progress)
        made = [Client(person, made, room) for (person, room), made in zip(entered, filters, strict=True)]
        return cls(target, made[:guests], made[guests:], calm_s=calm_s, drain_s=drain_s)

    async def measure(self, marks: Marks) -> None:
        """One window: from before the clients connect until all of them wait. Then each is told one message.

        Raises: TimeoutError when one is not answered.
        """
        guest = self._guests[0]
        [since] = await matrix.initial_syncs(self._target, [(guest.account, guest.filter_id)], _untold)
        async with (
            _Visit(self._target, self._guests, since) as guests,
            _Visit(self._target, self._clients, since) as clients,
        ):
            await guests.enter(self._drain_s)
            await self._tell(guests)
            await asyncio.sleep(self._calm_s)
            marks.opened(len(self._clients))
            began, cpu_s = perf_counter(), process_time()
            await clients.enter(self._drain_s)
            await asyncio.sleep(self._calm_s)
            seconds, cpu_s = perf_counter() - began, process_time() - cpu_s
            marks.closed()
            await self._tell(clients)
        latencies_s = sorted(clients.latencies_s)
        result = Result(
            operations=len(self._clients),
            seconds=seconds,
            concurrency=len(self._clients),
            p50_ms=quantile_ms(latencies_s, 0.50),
            p99_ms=quantile_ms(latencies_s, 0.99),
            longest_gap_ms=0.0,
            generator_cpu_s=cpu_s,
            errors=clients.errors,
            missing=len(self._clients) - len(latencies_s),
            duplicates=clients.duplicates,
        )
        marks.ended(result)

    async def _tell(self, visit: "_Visit") -> None:
        """One message to each room, and wait until everybody has it or `drain_s` are over."""
        self._messages += 1
        await visit.tell(self._messages, self._drain_s)


class _Visit:
    """`clients`, connected and waiting from `enter` to the end of the context."""

    def __init__(self, target: Target, clients: Sequence[Client], since: str) -> None:
        self._target = target
        self._clients = clients
        self._since = since
        self._connections: list[wire.Connection] = []
        self._waiting = 0
        self._all_wait = asyncio.Event()
        self._number = 0
        self._told: set[int] = set()
        self._told_at: dict[str, float] = {}
        self._all_told = asyncio.Event()
        self.latencies_s: list[float] = []
        self.duplicates = 0
        self.errors = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    async def enter(self, timeout_s: float) -> None:
        """Everybody connects and asks once without waiting, as clients do that come back, and then waits.

        Raises: TimeoutError when one is not answered within `timeout_s`.
        """
        for part in _parts(range(len(self._clients)), CONNECT_AT_ONCE):
            connections = await wire.connect_many(self._target.host, self._target.port, len(part))
            self._connections += connections
            self._all_wait.clear()
            for number, connection in zip(part, connections, strict=True):
                self._wait(number, connection)
            async with asyncio.timeout(timeout_s):
                await self._all_wait.wait()

    def _wait(self, number: int, connection: wire.Connection) -> None:
        account, filter_id, room = self._clients[number]
        at_once = SyncRequest.of(account.access_token, filter_id, timeout_ms=0)
        later = SyncRequest.of(account.access_token, filter_id, timeout_ms=POLL_MS)

        def first(status: int, body: bytes) -> None:
            if status == 200:
                poll(body)
            else:
                self.errors += 1
            self._waiting += 1
            if self._waiting == len(self._connections):
                self._all_wait.set()

        def done(status: int, body: bytes) -> None:
            if status == 200:
                poll(body)
            else:
                self.errors += 1

        def poll(body: bytes) -> None:
            synced = matrix.SYNCED.decode(body)
            connection.send(later.since(synced.next_batch), done)
            joined = synced.rooms.join.get(room)
            for event in () if joined is None else joined.timeline.events:
                if event.type == "m.room.message":
                    self._heard(number, room, int(event.content.body.split(" ", 1)[0]))

        connection.send(at_once.since(self._since), first)

    def _heard(self, client: int, room: str, number: int) -> None:
        if number != self._number or client in self._told:
            self.duplicates += number == self._number  # else it is what another visit was told
            return
        self._told.add(client)
        self.latencies_s.append(perf_counter() - self._told_at[room])
        if len(self._told) == len(self._clients):
            self._all_told.set()

    async def tell(self, number: int, timeout_s: float) -> None:
        """The first of each room says `number`; returns when all have heard it, or after `timeout_s`."""
        self._number = number
        speakers = {client.room: client.account for client in reversed(self._clients)}
        connections = await wire.connect_many(self._target.host, self._target.port, min(SENDS_AT_ONCE, len(speakers)))
        left = iter(speakers.items())

        def say(connection: wire.Connection) -> None:
            following = next(left, None)
            if following is None:
                connection.close()
                return
            room, account = following
            request = SendRequest.to(room, account.access_token, f"{number} said to all who wait here")

            def said(status: int, body: bytes) -> None:
                self.errors += status != 200
                say(connection)

            self._told_at[room] = perf_counter()
            connection.send(request.with_transaction(b"w%d" % number), said)

        for connection in connections:
            say(connection)
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_told.wait()
        except TimeoutError:
            return
        finally:
            for connection in connections:
                connection.close()


def _untold(what: str, done: int, total: int) -> None:
    """It is one request."""


def _parts(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]
