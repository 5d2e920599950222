"""One connection: uvicorn's httptools protocol with limits and time-outs on everything a client can hold up.

Headers have a size and a time, bodies a slowest pace, idle connections an age, answers that nobody reads a deadline; no
request is kept for ever. Refusals are Matrix errors with CORS headers like every other answer, and come in turn when
earlier requests of the same connection are still being answered.

A connection is in neither list of `Shared` while its request is at work or waits: a waiting client costs no timer.
An endpoint that must not cost a task either can be answered in `on_message_complete`, if `_begin` has left it alone.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from hutong.config import Limits
from hutong.errors import BadParam, MatrixError, TooLarge, Unavailable, Unrecognized
from hutong.http.admission import Admission
from hutong.http.exchange import Exchange
from hutong.http.failures import error_bytes, where

log = logging.getLogger("hutong.http")

VERSIONS = frozenset({"1.0", "1.1"})
HEADERS_MAX = 100
PIPELINED_MAX = 64
BODY_BYTES_PER_SECOND_MIN = 4_096
CHUNK_OVERHEAD_MAX = 8  # bytes of chunk headers for each byte of body: chunks of one byte are slow, but legal
DRAIN_BYTES_MAX = 64 << 20  # a body that nobody wants any more is read and dropped, so that the answer can be read
LINGER_SECONDS = 5.0
UNREAD_ANSWER_SECONDS = 60.0
TRUSTED_PROXIES = frozenset({"127.0.0.1", "::1"})

Stage = IntEnum("Stage", "BETWEEN HEAD BODY", start=0)


class Refused(Exception):
    """Raised inside a parser's callback, to leave the parser."""

    def __init__(self, error: MatrixError) -> None:
        self.error = error


@dataclass
class Shared:
    """What all connections of a server have in common."""

    limits: Limits
    headers: bytes  # complete lines that every answer carries
    admission: Admission
    trusted_proxies: frozenset[str] = TRUSTED_PROXIES
    stopping: bool = False
    all_gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever the last connection ends."""
    idle: dict["Connection", float] = field(default_factory=dict)
    """Connections between two requests, and when each has been idle for too long: the oldest first."""
    due: dict["Connection", float] = field(default_factory=dict)
    """Connections that owe us something (the rest of a request, the reading of an answer), and until when."""

    def sweep(self, now: float) -> None:
        """Deal with what is overdue. Cost: the connections in `due`, which are few, and those idle for too long."""
        for connection in [connection for connection, until in self.due.items() if until <= now]:
            connection.overdue(now)
        while self.idle:
            connection, until = next(iter(self.idle.items()))
            if until > now:
                break
            connection.close()


class Connection(HttpToolsProtocol):
    """A client's connection. `region` is that of the port it came in by, or None."""

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        shared: Shared,
        region: str | None,
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {}, _loop)
        self.shared = shared
        self.region = region
        self.stage = Stage.BETWEEN
        self.overhead = 0  # bytes received since the last request or body byte that was handed on
        self.head_bytes = 0
        self.running: Exchange | None = None
        self.waiting: deque[Exchange | bytes] = deque()  # what comes after `running`, in order; bytes end it all
        self.lingering = False
        self.drained = 0
        self.proxied = False

    # From the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.proxied = self.client is not None and self.client[0] in self.shared.trusted_proxies
        if len(self.connections) > self.shared.limits.connections_max:
            self.lingering = True
            self._end(error_bytes(Unavailable("too many connections; try again"), self.shared.headers))
        else:
            self.shared.idle[self] = self.loop.time() + self.shared.limits.idle_seconds_max

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.idle.pop(self, None)
        self.shared.due.pop(self, None)
        for exchange in (self.running, *self.waiting):
            if isinstance(exchange, Exchange):
                exchange.disconnect()
        self.waiting.clear()
        super().connection_lost(exc)
        if not self.connections:
            self.shared.all_gone.set()

    def data_received(self, data: bytes) -> None:
        self.shared.idle.pop(self, None)
        if self.lingering:
            self._drain(len(data))
            return
        self.overhead += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError as error:
            refused = error.__context__
            if isinstance(refused, Refused):
                self.refuse(refused.error)
            else:
                log.error("reading a request failed: %s", where(error))
                self.refuse(MatrixError("the request cannot be read"))
            return
        except httptools.HttpParserInvalidURLError:
            self.refuse(BadParam("path", "holds bytes that must be percent-encoded"))
            return
        except httptools.HttpParserInvalidMethodError:
            self.refuse(Unrecognized("method: is none that HTTP knows", status=405))
            return
        except httptools.HttpParserError:
            self.refuse(MatrixError("this is not HTTP/1.1"))
            return
        if self.stage is Stage.BETWEEN or self.lingering:
            return
        if self.overhead > self.shared.limits.header_bytes_max:
            self.refuse(self._too_large_head())
        elif self not in self.shared.due:
            limits = self.shared.limits
            seconds = limits.header_seconds_max if self.stage is Stage.HEAD else limits.request_seconds_max
            self.shared.due[self] = self.loop.time() + seconds

    def pause_writing(self) -> None:
        super().pause_writing()
        self.shared.due[self] = self.loop.time() + UNREAD_ANSWER_SECONDS

    def resume_writing(self) -> None:
        super().resume_writing()
        self.shared.due.pop(self, None)

    # From the parser

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]

    def _without_upgrade(self) -> bytes:
        """The head of the request again, for a fresh parser: the old one takes its body for another protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError
        self.parser = httptools.HttpRequestParser(self)
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in {b"upgrade", b"connection"}]
        return b"\r\n".join((*lines, b"\r\n"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.stage = Stage.HEAD
        self.overhead = 0
        self.head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        limit = self.shared.limits.header_bytes_max // 2
        if len(self.url) > limit:
            raise Refused(TooLarge(f"request line: more than {limit:,} bytes", status=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head_bytes += len(name) + len(value) + 4
        if self.head_bytes > self.shared.limits.header_bytes_max or len(self.headers) >= HEADERS_MAX:
            raise Refused(self._too_large_head())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # see `_without_upgrade`
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            raise Refused(MatrixError("this is not HTTP/1.1"))
        path, _, query = self._target().partition(b"#")[0].partition(b"?")
        scope: dict[str, Any] = cast("dict[str, Any]", self.scope)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["raw_path"] = path
        scope["path"] = unquote_to_bytes(path).decode(errors="replace") if b"%" in path else path.decode("latin-1")
        scope["query_string"] = query
        scope["hutong.region"] = self.region
        if self.proxied:
            self._believe_proxy(scope)
        exchange = Exchange(self, keep_alive=version == "1.1" and self.parser.should_keep_alive())
        self.cycle = exchange
        self.stage = Stage.BODY
        self._in_time()
        if self.running is None:
            self._begin(exchange)
        elif len(self.waiting) < PIPELINED_MAX:
            self.flow.pause_reading()
            self.waiting.append(exchange)
        else:
            raise Refused(Unavailable("too many requests at once on one connection"))

    def on_body(self, body: bytes) -> None:
        self.overhead = max(0, self.overhead - (CHUNK_OVERHEAD_MAX + 1) * len(body))
        if self.cycle.response_complete:
            self._drain(len(body))
        super().on_body(body)
        if self in self.shared.due:
            self.shared.due[self] += len(body) / BODY_BYTES_PER_SECOND_MIN

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.stage = Stage.BETWEEN
        self._in_time()
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self.running is None:
            self._rest()

    def _in_time(self) -> None:
        if not self.flow.write_paused:  # then `due` is about the reading of an answer
            self.shared.due.pop(self, None)

    def _target(self) -> bytes:
        """The path and query of the request, without scheme and host where a client sends them along."""
        if self.url.startswith((b"/", b"*")):
            return self.url
        try:
            parsed = httptools.parse_url(self.url)
        except httptools.HttpParserError:
            raise Refused(BadParam("path", "is no URL")) from None
        return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")

    def _believe_proxy(self, scope: dict[str, Any]) -> None:
        for name, value in self.headers:
            if name == b"x-forwarded-for":
                scope["client"] = (value.rpartition(b",")[2].strip().decode("latin-1"), 0)
            elif name == b"x-forwarded-proto" and value in {b"http", b"https"}:
                scope["scheme"] = value.decode()

    # Requests and their answers, in order

    def _begin(self, exchange: Exchange) -> None:
        self.running = exchange
        if exchange.admitted():
            self._start_asgi_task(exchange, self.app)

    def answered(self, exchange: Exchange) -> None:
        """`exchange` has written all of its answer: go on with the next, or rest."""
        self.server_state.total_requests += 1
        self.running = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if exchange.close_after:
            self._end(b"")
        elif self.waiting:
            following = self.waiting.popleft()
            if isinstance(following, Exchange):
                self._begin(following)
            else:
                self._end(following)
        elif self.stage is Stage.BETWEEN:
            self._rest()

    def refuse(self, error: MatrixError) -> None:
        """Say `error` and end the connection, once the requests before have been answered."""
        partial = self.cycle if self.stage is Stage.BODY else None  # a request of which only a part arrived
        head_only = partial is not None and self.scope["method"] == "HEAD"
        answer = error_bytes(error, self.shared.headers, head_only=head_only)
        self.lingering = True
        self.shared.due.pop(self, None)
        if partial is not None and partial.response_complete:
            answer = b""  # its answer was given before all of it had arrived
        elif self.running is not None and self.running is partial:
            running, self.running = self.running, None
            running.disconnect()
            if running.head_written:
                self.transport.abort()
                return
        elif self.waiting and self.waiting[-1] is partial:
            self.waiting.pop()
        if self.running is None:
            self._end(answer)
        else:
            self.waiting.append(answer)

    def _rest(self) -> None:
        if self.shared.stopping:
            self.close()
        else:
            self.shared.idle[self] = self.loop.time() + self.shared.limits.idle_seconds_max

    # Ends

    def _end(self, last_words: bytes) -> None:
        """Write `last_words` and close without losing them: a close with bytes still unread resets the connection."""
        if last_words:
            self.transport.write(last_words)
        if self.stage is Stage.BETWEEN and not self.lingering:
            self.close()
            return
        self.lingering = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.shared.due[self] = self.loop.time() + LINGER_SECONDS

    def _drain(self, count: int) -> None:
        self.drained += count
        if self.drained > DRAIN_BYTES_MAX:
            self.transport.abort()

    def close(self) -> None:
        """Close once everything is written; not waiting for ever for a client that does not read."""
        self.shared.idle.pop(self, None)
        self.shared.due[self] = self.loop.time() + UNREAD_ANSWER_SECONDS
        self.transport.close()

    def overdue(self, now: float) -> None:
        """The time is over in which the client should have done its part."""
        if self.lingering or self.transport.is_closing() or self.flow.write_paused:
            self.shared.due.pop(self, None)
            self.transport.abort()
        elif self.flow.read_paused:
            self.shared.due[self] = now + self.shared.limits.request_seconds_max  # it is we who do not read
        else:
            what = "headers" if self.stage is Stage.HEAD else "body"
            self.refuse(MatrixError(f"{what}: did not arrive in time", status=408))

    def shutdown(self) -> None:
        """The server stops: let go of who waits, close what is idle, let the rest finish."""
        if self.running is None:
            self.close()
        else:
            self.running.keep_alive = False
            self.running.close_after = True
            self.running.let_go()

    def _too_large_head(self) -> TooLarge:
        limit = self.shared.limits.header_bytes_max
        return TooLarge(f"headers: more than {limit:,} bytes, or more than {HEADERS_MAX} of them", status=431)
