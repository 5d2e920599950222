"""HTTP/1.1 over a kept-alive connection, one request at a time, answered by a plain call instead of a task."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from httptools import HttpParserError, HttpResponseParser

Done = Callable[[int, bytes], None]
BROKEN = 0
"""The status of a request whose connection was lost before the answer was whole."""


class Connection(asyncio.Protocol):
    """One connection. `send` takes a request and calls `done(status, body)` once, with `BROKEN` when it was lost."""

    __slots__ = ("_body", "_done", "_parser", "_transport")

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._done: Done | None = None
        self._body: list[bytes] = []

    @property
    def open(self) -> bool:
        return self._transport is not None

    def send(self, request: bytes, done: Done) -> None:
        """Write `request`. One at a time: the next one goes out after `done`, or from within it."""
        assert self._done is None, "a connection carries one request at a time"
        if self._transport is None:
            done(BROKEN, b"")
            return
        self._done = done
        self._transport.write(request)

    def close(self) -> None:
        """Close without calling back: whoever closes does not want the answer any more."""
        self._done = None
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._answer(BROKEN, b"")

    # httptools calls these

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
            self._transport = None
        self._answer(status, body)

    def _answer(self, status: int, body: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(status, body)


async def connect(host: str, port: int) -> Connection:
    """A new connection. Raises: OSError when nobody listens."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


async def connect_many(host: str, port: int, count: int, *, at_once: int = 64) -> list[Connection]:
    """`count` connections, no more than `at_once` handshakes at a time, so that no backlog overflows."""
    connections: list[Connection] = []
    while len(connections) < count:
        some = min(at_once, count - len(connections))
        connections += await asyncio.gather(*(connect(host, port) for _ in range(some)))
    return connections


async def ask(connection: Connection, request: bytes, *, timeout_s: float = 60.0) -> tuple[int, bytes]:
    """Send and wait: for set-up, where a future per request does not matter. Raises: TimeoutError."""
    answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

    def done(status: int, body: bytes) -> None:
        if not answered.done():
            answered.set_result((status, body))

    connection.send(request, done)
    async with asyncio.timeout(timeout_s):
        return await answered


class Refused(Exception):
    """The server answered something other than 200 during set-up."""


async def ask_all(
    host: str, port: int, requests: Sequence[bytes], *, at_once: int, progress: Callable[[int], None]
) -> list[bytes]:
    """Send `requests` in order, `at_once` at a time, and return their bodies. `progress` hears how many are answered.

    Raises: Refused, with the first answer that is not 200.
    """
    answers: list[bytes] = [b""] * len(requests)
    left = iter(range(len(requests)))
    answered = 0

    async def work() -> None:
        nonlocal answered
        connection = await connect(host, port)
        for number in left:
            if not connection.open:
                connection = await connect(host, port)
            status, body = await ask(connection, requests[number])
            if status != 200:
                line = requests[number].split(b"\r\n", 1)[0].decode()
                raise Refused(f"{line} was answered {status}: {body[:300].decode(errors='replace')}")
            answers[number] = body
            answered += 1
            progress(answered)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(requests))):
            group.create_task(work())
    return answers
