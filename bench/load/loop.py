"""A closed loop over requests that depend on the answers before them, several at once, each on its connection."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from time import perf_counter

from bench.load import wire
from bench.load.matrix import Target
from bench.load.window import Marks, Window

Work = Generator[bytes, bytes, None]
"""Yields the next request and is given the body of its answer. It ends when it has nothing more to ask."""
DRAIN_S = 60.0


@dataclass
class Tally:
    """What the works found wrong with the answers. The loop adds a refusal and a lost connection to the errors."""

    errors: int = 0
    missing: int = 0
    duplicates: int = 0


async def nothing_more() -> None:
    """The answers say it all."""


async def run(
    target: Target,
    works: Sequence[Work],
    seconds: float,
    marks: Marks,
    tally: Tally,
    check: Callable[[], Awaitable[None]] = nothing_more,
) -> None:
    """Let each of `works` ask, one request at a time, for `seconds` or until all have ended; every answer counts.

    An answer is timed before its work looks at it. What is under way at the end is still answered, and looked at; then
    `check` may look at what the server kept. A work ends with its first answer that is not 200.
    """
    connections = await wire.connect_many(target.host, target.port, len(works))
    loop = _Loop(tally)
    marks.opened(len(works))
    loop.window = window = Window(len(works))
    for connection, work in zip(connections, works, strict=True):
        loop.start(connection, work)
    try:
        async with asyncio.timeout(seconds):
            await loop.idle.wait()
    except TimeoutError:
        loop.stopping = True
    window.close(perf_counter())
    loop.window = None
    marks.closed()
    try:
        async with asyncio.timeout(DRAIN_S):
            await loop.idle.wait()
    except TimeoutError:
        tally.errors += loop.under_way
    finally:
        for connection, work in zip(connections, works, strict=True):
            connection.close()
            work.close()
    await check()
    marks.ended(window.result(errors=tally.errors, missing=tally.missing, duplicates=tally.duplicates))


class _Loop:
    """Each answer goes to its work, whose next request goes out."""

    def __init__(self, tally: Tally) -> None:
        self.window: Window | None = None
        self.stopping = False
        self.under_way = 0
        self.idle = asyncio.Event()
        self._tally = tally

    def start(self, connection: wire.Connection, work: Work) -> None:
        began = 0.0

        def send(request: bytes) -> None:
            nonlocal began
            began = perf_counter()
            connection.send(request, done)

        def done(status: int, body: bytes) -> None:
            if status != 200:
                self._tally.errors += 1
                self._end()
                return
            if self.window is not None:
                self.window.count(began, perf_counter())
            try:
                request = work.send(body)
            except StopIteration:
                self._end()
                return
            if self.stopping:
                self._end()
            else:
                send(request)

        self.under_way += 1
        try:
            send(next(work))
        except StopIteration:
            self._end()

    def _end(self) -> None:
        self.under_way -= 1
        if not self.under_way:
            self.idle.set()
