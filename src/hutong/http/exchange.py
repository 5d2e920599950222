"""One request and its answer through the ASGI application: a task of its own, a body that may come and go in parts."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from hutong.errors import MatrixError
from hutong.http.admission import READS, Kind, kind_of, token_of
from hutong.http.failures import broken_off, error_bytes, mistake, status_line, where
from hutong.http.reader import Head

if TYPE_CHECKING:
    from hutong.http.protocol import Connection

log = logging.getLogger("hutong.http")

READ_AHEAD_BYTES_MAX = 65_536
BODILESS = frozenset({204, 304})
ASGI = {"version": "3.0", "spec_version": "2.3"}


class Exchange:
    """One request and its answer. Source: ASGI, "HTTP & WebSocket ASGI Message Format" 2.3."""

    ready = True
    """It can begin before all of its body is there."""

    def __init__(self, connection: "Connection", head: Head) -> None:
        self.connection = connection
        self.keep_alive = head.keep_alive
        self.close_after = not head.keep_alive
        self.scope: dict[str, Any] = _scope(connection, head)
        self.disconnected = False
        self.answered = False
        self._kind = Kind.ALWAYS
        self._token = b""
        self._task: asyncio.Task[Any] | None = None
        self.head_written = False
        self._continue = head.expects_continue
        self._news = asyncio.Event()
        self._body = bytearray()
        self._more_body = True
        self._status = 0
        self._head = b""  # status and headers, held back until the first byte of the body
        self._left = -1  # bytes of body still to come; -1: in chunks, or until the connection ends
        self._chunked: bool | None = None

    # From the connection

    def begin(self) -> None:
        self.connection.shared.run(self._run())

    def feed(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > READ_AHEAD_BYTES_MAX:
            self.connection.pause_reading()
        self._news.set()

    def finish(self) -> None:
        self._more_body = False
        self._news.set()

    def disconnect(self) -> None:
        """Nobody listens any more."""
        self.disconnected = True
        self._news.set()
        self._let_go()
        if self._task is not None and self._kind in READS:
            self._task.cancel()

    def shutdown(self) -> None:
        """The server stops: whoever waits is let go, the rest is finished."""
        self.keep_alive = False
        self.close_after = True
        self._let_go()

    def _let_go(self) -> None:
        """Tell an endpoint that waits (`request.on_disconnect`) that it need not."""
        callback: Callable[[], object] | None = self.scope.pop("hutong.on_disconnect", None)
        if callback is not None:
            callback()

    def admitted(self) -> bool:
        """Whether this may begin now; `begin` has to follow then. If not, its answer is a refusal, now or soon."""
        scope = self.scope
        self._kind = kind_of(scope["method"], scope["raw_path"], scope["query_string"])
        self._token = token_of(scope["headers"])
        admission = self.connection.shared.admission
        refusal = admission.admit(self._kind, self._token)
        if refusal is None:
            return True
        admission.say(lambda: self._refuse(refusal))
        return False

    def _refuse(self, error: MatrixError) -> None:
        if self.disconnected:
            return
        head_only, headers = self.scope["method"] == "HEAD", self.connection.shared.headers
        self.connection.transport.write(error_bytes(error, headers, head_only=head_only, close=self.close_after))
        self._complete()

    # From and to the application

    async def _run(self) -> None:
        shared = self.connection.shared
        self._task = asyncio.current_task()
        try:
            if not self.disconnected:  # a client that has gone already wants nothing any more
                await self._ask(shared.app)
        finally:
            shared.admission.done(self._kind, self._token)

    async def _ask(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._fail(broken_off())
            raise
        except Exception as error:
            log.error("answering a request failed: %s", where(error))
            self._fail(mistake())
        else:
            if not self.answered and not self.disconnected:
                log.error("an endpoint returned without a complete answer")
                self._fail(mistake())

    async def receive(self) -> dict[str, Any]:
        if self._continue and not self.connection.transport.is_closing():
            self.connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._continue = False
        if not self.disconnected and not self.answered:
            self.connection.resume_reading()
            await self._news.wait()
            self._news.clear()
        if self.disconnected or self.answered:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: Any) -> None:
        if not self.disconnected:
            await self.connection.drain()
        if self.disconnected or self.answered:
            return
        if message["type"] == "http.response.start":
            self._head = self._lines(message["status"], message.get("headers", ()))
            self._continue = False
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if not self.head_written:
            head = self._framed(len(body), more)
            self.head_written = True
        else:
            head = b""
        if self._chunked is None:  # HEAD and the like: a length, but no bytes
            self.connection.transport.write(head)
        else:
            self._write(head, body, more)
        if not more:
            self._complete()

    def _write(self, head: bytes, body: bytes, more: bool) -> None:
        transport = self.connection.transport
        if self._chunked:
            tail = b"" if more else b"0\r\n\r\n"
            transport.write(head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + tail)
            return
        if self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the answer's body is not as long as its content-length says")
        self.connection.write(head, body)

    def _lines(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [status_line(status), self.connection.shared.headers]
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                raise RuntimeError("a line break in the value of a header")
            if name == b"content-length":
                self._left = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        self._status = status
        return b"".join(lines)

    def _framed(self, length: int, more: bool) -> bytes:
        """The head, complete, and in `_chunked` how the body is sent: None means not at all."""
        how = b"" if self.keep_alive else b"connection: close\r\n"
        self._chunked = False
        if self._status in BODILESS or self.scope["method"] == "HEAD":
            self._chunked = None
        elif self._left < 0 and not more:
            self._left = length
            how += b"content-length: %d\r\n" % length
        elif self._left < 0 and self.scope["http_version"] == "1.1":
            self._chunked = True
            how += b"transfer-encoding: chunked\r\n"
        elif self._left < 0:
            self.close_after = True
        return self._head + how + b"\r\n"

    def _fail(self, error: MatrixError) -> None:
        if self.disconnected or self.answered:
            return
        if self.head_written:
            self.connection.transport.abort()  # half an answer must not look like a whole one
            return
        head_only = self.scope["method"] == "HEAD"
        self.connection.transport.write(error_bytes(error, self.connection.shared.headers, head_only=head_only))
        self.close_after = True
        self._complete()

    def _complete(self) -> None:
        self.answered = True
        self._news.set()
        self.connection.done()


def _scope(connection: "Connection", head: Head) -> dict[str, Any]:
    path = head.path
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": ASGI,
        "http_version": head.version,
        "method": head.method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode(errors="replace") if b"%" in path else path.decode("latin-1"),
        "raw_path": path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.headers,
        "client": (connection.client_address(head), 0),
        "server": None,
        "hutong.region": connection.region,
    }
    if connection.proxied:
        schemes = {value.decode() for name, value in head.headers if name == b"x-forwarded-proto"}
        scope["scheme"] = next(iter(schemes & {"http", "https"}), "http")
    return scope
