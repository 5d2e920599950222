"""Durable sends: accounts that each send one message after the other, a fixed number of requests under way.

A closed loop, so a stall lowers the rate by its own length and is reported as the longest gap; it builds no backlog
that would be mistaken for saturation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from time import perf_counter

from bench.load import matrix, wire
from bench.load.matrix import Account, Progress, SendRequest, Target
from bench.load.window import Marks, Window

DRAIN_S = 30.0

Check = Callable[[list[str]], Awaitable[tuple[int, int]]]
"""Given the ids of all events that were sent, says how many deliveries of them are missing, and how many came twice."""


async def unread(events: list[str]) -> tuple[int, int]:
    """Nobody waits for what is sent."""
    return 0, 0


class Sends:
    """A prepared world: accounts in rooms, and the requests they repeat."""

    def __init__(self, target: Target, senders: list[tuple[Account, str]]) -> None:
        self._target = target
        self._senders = senders
        self._transactions = count()

    @classmethod
    async def prepare(cls, target: Target, prefix: str, rooms: int, at_once: int, progress: Progress) -> "Sends":
        """Register `at_once` accounts and spread them over `rooms` rooms, one creator and some members in each."""
        names = [f"{prefix}{number}" for number in range(at_once)]
        people = await matrix.accounts(target, names, progress)
        made = await matrix.rooms(target, people[:rooms], progress)
        senders = [(person, made[number % len(made)]) for number, person in enumerate(people)]
        await matrix.joins(target, senders[rooms:], progress)
        return cls(target, senders)

    async def measure(self, warm_s: float, seconds: float, marks: Marks, check: Check = unread) -> None:
        """Send for `warm_s`, count what is answered during `seconds`, let the rest be answered, and `check` all of it.

        An error is a status other than 200, a lost connection, an event id seen before, or a request that is not
        answered within DRAIN_S of the end.
        """
        connections = await wire.connect_many(self._target.host, self._target.port, len(self._senders))
        run = _Run(self._transactions)
        for connection, (sender, room) in zip(connections, self._senders, strict=True):
            run.start(connection, SendRequest.to(room, sender.access_token, matrix.TEXT))
        await asyncio.sleep(warm_s)
        marks.opened(len(connections))
        run.window = window = Window(len(connections))
        await asyncio.sleep(seconds)
        window.close(perf_counter())
        marks.closed()
        run.stop()
        try:
            async with asyncio.timeout(DRAIN_S):
                await run.idle.wait()
        except TimeoutError:
            run.errors += run.under_way
        finally:
            for connection in connections:
                connection.close()
        events = run.events()
        missing, duplicates = await check(events)
        repeated = len(events) - len(set(events))
        marks.ended(window.result(errors=run.errors + repeated, missing=missing, duplicates=duplicates))


class _Run:
    """The loop: each answer sends the next request of its connection."""

    def __init__(self, transactions: "count[int]") -> None:
        self.window: Window | None = None
        self.errors = 0
        self.under_way = 0
        self.idle = asyncio.Event()
        self._transactions = transactions
        self._answers: list[bytes] = []
        self._stopping = False

    def start(self, connection: wire.Connection, message: SendRequest) -> None:
        began = 0.0
        transactions, answers = self._transactions, self._answers

        def send() -> None:
            nonlocal began
            began = perf_counter()
            connection.send(message.with_transaction(b"b%d" % next(transactions)), done)

        def done(status: int, body: bytes) -> None:
            if status == 200:
                answers.append(body)
                if self.window is not None:
                    self.window.count(began, perf_counter())
            else:
                self.errors += 1
            if self._stopping or status == wire.BROKEN:
                self.under_way -= 1
                if not self.under_way:
                    self.idle.set()
            else:
                send()

        self.under_way += 1
        send()

    def stop(self) -> None:
        """Send nothing more; what is under way is still answered."""
        self._stopping = True
        self.window = None

    def events(self) -> list[str]:
        """The ids of all events that were sent, as they were answered."""
        return [matrix.SENT.decode(answer).event_id for answer in self._answers]
