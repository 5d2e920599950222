"""Fills a server through its public API: many accounts in small rooms that have said a lot. No figure, but a past.

Every worker makes one room after the other, with its people and its messages, one request at a time on a connection of
its own; enough of them at once fill the server's batches.
"""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass

import msgspec

from bench.load import matrix, wire
from bench.load.matrix import Account, Progress, Room, SendRequest, Target

GROUP = 10
"""Members of a room."""
EVENTS_OF_A_ROOM = 16
"""What a public room of GROUP has before anybody says anything, about: how it is set up, and who joined."""
AT_ONCE = 64
BUSY = (429, 503)
RETRY_S = 0.1
TEXT = "Said long ago, by somebody who was here before everybody who is measured now, and kept ever since."

Work = Generator[bytes, bytes, None]


@dataclass
class Filling:
    """`accounts` accounts, GROUP in a room, and messages until there are about `events` events."""

    target: Target
    prefix: str
    accounts: int
    events: int
    progress: Progress
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        self._rooms = iter(range(-(-self.accounts // GROUP)))
        self._of_room = max(EVENTS_OF_A_ROOM, self.events // -(-self.accounts // GROUP))
        self._made = 0

    async def run(self) -> None:
        """Raises: Refused, with the first answer that is not 200; OSError when the server goes away."""
        connections = await wire.connect_many(self.target.host, self.target.port, self.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                for connection in connections:
                    group.create_task(_carry_out(connection, self._rooms_of_one_worker()))
        finally:
            for connection in connections:
                connection.close()

    def _rooms_of_one_worker(self) -> Work:
        for room in self._rooms:
            yield from self._room(room)
            self._made += 1
            self.progress("events", self._made * self._of_room, self.events)

    def _room(self, number: int) -> Work:
        members = range(number * GROUP, min(self.accounts, (number + 1) * GROUP))
        people: list[Account] = []
        for member in members:
            answer = yield matrix.register(f"{self.prefix}{member}")
            people.append(msgspec.json.decode(answer, type=Account))
        room = msgspec.json.decode((yield matrix.create_room(people[0].access_token)), type=Room).room_id
        for person in people[1:]:
            yield matrix.join(room, person.access_token)
        sends = [SendRequest.to(room, person.access_token, TEXT) for person in people]
        for message in range(self._of_room - EVENTS_OF_A_ROOM):
            yield sends[message % len(sends)].with_transaction(b"f%d" % message)


async def _carry_out(connection: wire.Connection, work: Work) -> None:
    """Ask what `work` asks, until it ends. A call per answer, since there are a million of them."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    asked = b""

    def ask(answer: bytes | None) -> None:
        nonlocal asked
        try:
            asked = next(work) if answer is None else work.send(answer)
        except StopIteration:
            if not ended.done():
                ended.set_result(None)
        except msgspec.DecodeError as error:
            ended.set_exception(error)
        else:
            connection.send(asked, answered)

    def answered(status: int, body: bytes) -> None:
        if status == 200:
            ask(body)
        elif status in BUSY and not ended.done():  # nothing was done, and there is no hurry
            loop.call_later(RETRY_S, connection.send, asked, answered)
        elif not ended.done():
            line = asked.split(b"\r\n", 1)[0].decode()
            ended.set_exception(wire.Refused(f"{line} was answered {status}: {body[:300].decode(errors='replace')}"))

    ask(None)
    await ended
