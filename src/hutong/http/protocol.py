"""One connection: requests in, answers out in the same order, with limits and time-outs on everything in between.

Headers have a size and a time, bodies a slowest pace, idle connections an age, answers that nobody reads a deadline; no
request is kept for ever. Refusals are Matrix errors with CORS headers like every other answer, and come in turn when
earlier requests of the same connection are still being answered.

A request is either hot (`hot.py`: answered without a task where that can be) or goes through the ASGI application
(`exchange.py`). A connection is in neither list of `Shared` while its request is at work or waits, and has no parser
then: a waiting client costs this object, its transport, and what the endpoint keeps.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, cast

import httptools

from hutong.config import Limits
from hutong.errors import BadParam, MatrixError, Unavailable, Unrecognized
from hutong.http.admission import Admission
from hutong.http.exchange import Exchange
from hutong.http.failures import error_bytes, where
from hutong.http.hot import HotCall, HotRoutes
from hutong.http.reader import Head, Reader, Readers, Refused, too_large_head

log = logging.getLogger("hutong.http")

PIPELINED_MAX = 64
BODY_BYTES_PER_SECOND_MIN = 4_096
CHUNK_OVERHEAD_MAX = 8  # bytes of chunk headers for each byte of body: chunks of one byte are slow, but legal
DRAIN_BYTES_MAX = 64 << 20  # a body that nobody wants any more is read and dropped, so that the answer can be read
LINGER_SECONDS = 5.0
ONE_WRITE_BYTES_MAX = 65_536
UNREAD_ANSWER_SECONDS = 60.0
TRUSTED_PROXIES = frozenset({"127.0.0.1", "::1"})

Stage = IntEnum("Stage", "BETWEEN HEAD BODY", start=0)
Turn = Exchange | HotCall


@dataclass
class Shared:
    """What all connections of a server have in common."""

    app: Any
    hot: HotRoutes | None
    limits: Limits
    headers: bytes  # complete lines that every answer carries
    admission: Admission
    trusted_proxies: frozenset[str] = TRUSTED_PROXIES
    stopping: bool = False
    all_gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the last connection ends."""
    connections: set["Connection"] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    idle: dict["Connection", float] = field(default_factory=dict)
    """Connections between two requests, and when each has been idle for too long: the oldest first."""
    due: dict["Connection", float] = field(default_factory=dict)
    """Connections that owe us something (the rest of a request, the reading of an answer), and until when."""

    loop: asyncio.AbstractEventLoop = field(init=False)

    def __post_init__(self) -> None:
        self.readers = Readers(self.limits.header_bytes_max)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin `work`, which a stop waits for."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def sweep(self, now: float) -> None:
        """Deal with what is overdue. Cost: the connections in `due`, which are few, and those idle for too long."""
        for connection in [connection for connection, until in self.due.items() if until <= now]:
            connection.overdue(now)
        while self.idle:
            connection, until = next(iter(self.idle.items()))
            if until > now:
                break
            connection.close()


class Connection(asyncio.Protocol):
    """A client's connection. `region` is that of the port it came in by, or None."""

    __slots__ = (
        "_advancing",
        "_drained",
        "_incoming",
        "_lingering",
        "_overhead",
        "_reader",
        "_reading_paused",
        "_running",
        "_stage",
        "_waiting",
        "_writable",
        "address",
        "proxied",
        "region",
        "shared",
        "transport",
    )

    def __init__(self, shared: Shared, region: str | None) -> None:
        self.shared = shared
        self.region = region
        self.transport = cast("asyncio.Transport", None)
        self.address = ""
        self.proxied = False
        self._stage = Stage.BETWEEN
        self._reader: Reader | None = None
        self._incoming: Turn | None = None  # whose bytes are arriving
        self._running: Turn | None = None
        self._waiting: list[Turn | bytes] | None = None  # what comes after it, in order; bytes end it all
        self._overhead = 0  # bytes received since the last request or body byte that was handed on
        self._drained = 0
        self._lingering = False
        self._advancing = False
        self._reading_paused = False
        self._writable: asyncio.Event | None = None  # there, and not set, while the client does not read

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.shared.connections.add(self)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, list | tuple) else ""
        self.proxied = self.address in self.shared.trusted_proxies
        if len(self.shared.connections) > self.shared.limits.connections_max:
            self._lingering = True
            self._end(error_bytes(Unavailable("too many connections; try again"), self.shared.headers))
        else:
            self.shared.idle[self] = self.shared.loop.time() + self.shared.limits.idle_seconds_max

    def connection_lost(self, exc: Exception | None) -> None:
        shared = self.shared
        shared.idle.pop(self, None)
        shared.due.pop(self, None)
        shared.connections.discard(self)
        waiting, self._waiting = self._waiting or (), None
        for turn in (self._running, *waiting):
            if turn is not None and not isinstance(turn, bytes):
                turn.disconnect()
        self._reader = self._incoming = self._running = None
        if self._writable is not None:
            self._writable.set()
        if not shared.connections:
            shared.all_gone.set()

    def data_received(self, data: bytes) -> None:
        self.shared.idle.pop(self, None)
        if self._lingering:
            self._drain(len(data))
            return
        self._overhead += len(data)
        reader = self._reader
        if reader is None:
            reader = self._reader = self.shared.readers.lend(self)
        try:
            reader.read(data)
        except httptools.HttpParserError as error:
            self.refuse(_refusal(error))
            return
        if self._stage is Stage.BETWEEN and not self._lingering:
            self.shared.readers.take_back(reader)
            self._reader = None
        self._advance()
        if self._stage is not Stage.BETWEEN and not self._lingering:
            self._expect_more()

    def _expect_more(self) -> None:
        """The client owes the rest of a request."""
        limits = self.shared.limits
        if self._overhead > limits.header_bytes_max:
            self.refuse(too_large_head(limits.header_bytes_max))
        elif self not in self.shared.due:
            seconds = limits.header_seconds_max if self._stage is Stage.HEAD else limits.request_seconds_max
            self.shared.due[self] = self.shared.loop.time() + seconds

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()
        self.shared.due[self] = self.shared.loop.time() + UNREAD_ANSWER_SECONDS

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self.shared.due.pop(self, None)
        self._advance()

    # From the reader

    def begun(self) -> None:
        self._stage = Stage.HEAD
        self._overhead = 0

    def head(self, head: Head) -> None:
        hot = self.shared.hot
        turn: Turn = (None if hot is None else hot.call(self, head)) or Exchange(self, head)
        self._stage = Stage.BODY
        self._incoming = turn
        self._in_time()
        if self._waiting is None:
            self._waiting = []
        if self._running is not None or self._waiting:
            if len(self._waiting) - (self._running is None) >= PIPELINED_MAX:
                raise Refused(Unavailable("too many requests at once on one connection"))
            self.pause_reading()
        self._waiting.append(turn)

    def body(self, body: bytes) -> None:
        self._overhead = max(0, self._overhead - (CHUNK_OVERHEAD_MAX + 1) * len(body))
        if self._incoming is not None:
            if self._incoming.answered:
                self._drain(len(body))
            else:
                self._incoming.feed(body)
        if self in self.shared.due:
            self.shared.due[self] += len(body) / BODY_BYTES_PER_SECOND_MIN

    def complete(self) -> None:
        self._stage = Stage.BETWEEN
        self._in_time()
        if self._incoming is not None:
            self._incoming.finish()
            self._incoming = None

    def _in_time(self) -> None:
        if self._writable is None:  # else `due` is about the reading of an answer
            self.shared.due.pop(self, None)

    def client_address(self, head: Head) -> str:
        """Where a request comes from: the peer, or whom a proxy that is believed says it comes from."""
        if self.proxied:
            told = [value for name, value in head.headers if name == b"x-forwarded-for"]
            if told:
                return told[-1].rpartition(b",")[2].strip().decode("latin-1")
        return self.address

    # Flow

    def pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()

    async def drain(self) -> None:
        """Wait until the client has read enough of what was written."""
        if self._writable is not None:
            await self._writable.wait()

    def write(self, head: bytes, body: bytes) -> None:
        """In one piece, unless joining the two costs more than it saves."""
        if head and len(body) > ONE_WRITE_BYTES_MAX:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    # Requests and their answers, in order

    def _advance(self) -> None:
        """Begin what may begin. An answer that is there at once lets the next request begin in this very loop."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._running is None and self._waiting and self._writable is None:
                turn = self._waiting[0]
                if isinstance(turn, bytes):
                    self._waiting.clear()
                    self._end(turn)
                    break
                if not turn.ready:
                    break
                del self._waiting[0]
                self._running = turn
                if turn.admitted():
                    turn.begin()
        finally:
            self._advancing = False
        if self._running is None and not self._waiting and self._stage is Stage.BETWEEN and not self._lingering:
            self._rest()

    def done(self) -> None:
        """The request whose turn it is has written all of its answer: go on with the next, or rest."""
        turn, self._running = self._running, None
        if self.transport.is_closing():
            return
        self.resume_reading()
        if turn is not None and turn.close_after:
            self._end(b"")
        else:
            self._advance()

    def refuse(self, error: MatrixError) -> None:
        """Say `error` and end the connection, once the requests before have been answered."""
        partial = self._incoming if self._stage is Stage.BODY else None  # a request of which only a part arrived
        head_only = isinstance(partial, Exchange) and partial.scope["method"] == "HEAD"
        answer = error_bytes(error, self.shared.headers, head_only=head_only)
        self._lingering = True
        self.shared.due.pop(self, None)
        if partial is not None and partial.answered:
            answer = b""  # its answer was given before all of it had arrived
        elif partial is not None and self._running is partial:
            self._running = None
            partial.disconnect()
            if isinstance(partial, Exchange) and partial.head_written:
                self.transport.abort()
                return
        elif self._waiting and self._waiting[-1] is partial:
            self._waiting.pop()
        self._waiting = [*(self._waiting or ()), answer]
        self._advance()

    def _rest(self) -> None:
        if self.transport.is_closing():
            return
        if self.shared.stopping:
            self.close()
        else:
            self.shared.idle[self] = self.shared.loop.time() + self.shared.limits.idle_seconds_max

    # Ends

    def _end(self, last_words: bytes) -> None:
        """Write `last_words` and close without losing them: a close with bytes still unread resets the connection."""
        if last_words:
            self.transport.write(last_words)
        if self._stage is Stage.BETWEEN and not self._lingering:
            self.close()
            return
        self._lingering = True
        self.resume_reading()
        with contextlib.suppress(OSError):  # the client may have gone
            self.transport.write_eof()
        self.shared.due[self] = self.shared.loop.time() + LINGER_SECONDS

    def _drain(self, count: int) -> None:
        self._drained += count
        if self._drained > DRAIN_BYTES_MAX:
            self.transport.abort()

    def close(self) -> None:
        """Close once everything is written; not waiting for ever for a client that does not read."""
        self.shared.idle.pop(self, None)
        self.shared.due[self] = self.shared.loop.time() + UNREAD_ANSWER_SECONDS
        self.transport.close()

    def overdue(self, now: float) -> None:
        """The time is over in which the client should have done its part."""
        if self._lingering or self.transport.is_closing() or self._writable is not None:
            self.shared.due.pop(self, None)
            self.transport.abort()
        elif self._reading_paused:
            self.shared.due[self] = now + self.shared.limits.request_seconds_max  # it is we who do not read
        else:
            what = "headers" if self._stage is Stage.HEAD else "body"
            self.refuse(MatrixError(f"{what}: did not arrive in time", status=408))

    def shutdown(self) -> None:
        """The server stops: let go of who waits, close what is idle, let the rest finish."""
        if self._running is None:
            self.close()
        else:
            self._running.shutdown()


def _refusal(error: httptools.HttpParserError) -> MatrixError:
    """What a client is told whose bytes cannot be read."""
    if isinstance(error, httptools.HttpParserCallbackError):
        cause = error.__context__
        if isinstance(cause, Refused):
            return cause.error
        log.error("reading a request failed: %s", where(error))
        return MatrixError("the request cannot be read")
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return BadParam("path", "holds bytes that must be percent-encoded")
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return Unrecognized("method: is none that HTTP knows", status=405)
    return MatrixError("this is not HTTP/1.1")
