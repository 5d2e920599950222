"""One request and its answer: the ASGI side of a connection."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hutong.errors import MatrixError, Unavailable
from hutong.http.admission import Kind, kind_of, token_of
from hutong.http.failures import error_bytes, status_line, where

if TYPE_CHECKING:
    from hutong.http.protocol import Connection

log = logging.getLogger("hutong.http")

ONE_WRITE_BYTES_MAX = 65_536
BODILESS = frozenset({204, 304})


class Exchange(RequestResponseCycle):
    """One request and its answer."""

    def __init__(self, connection: "Connection", *, keep_alive: bool) -> None:
        super().__init__(
            scope=connection.scope,
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=connection.expect_100_continue,
            keep_alive=keep_alive,
            on_response=lambda: None,
        )
        self.connection = connection
        self.close_after = not keep_alive
        self.kind = Kind.ALWAYS
        self.token = b""
        self.began = 0.0
        self.status = 0
        self.head = b""  # status and headers, held back until the first byte of the body
        self.head_written = False
        self.left = -1  # bytes of body still to come; -1: in chunks, or until the connection ends

    def disconnect(self) -> None:
        """Nobody listens any more."""
        self.disconnected = True
        self.message_event.set()
        self.let_go()

    def let_go(self) -> None:
        """Tell an endpoint that waits (`request.on_disconnect`) that it need not."""
        callback: Callable[[], object] | None = cast("dict[str, Any]", self.scope).pop("hutong.on_disconnect", None)
        if callback is not None:
            callback()

    def admitted(self) -> bool:
        """Whether this may begin now; `run_asgi` has to follow then. If not, its answer is a refusal, now or soon."""
        scope = cast("dict[str, Any]", self.scope)
        self.kind = kind_of(scope["method"], scope["raw_path"], scope["query_string"])
        self.token = token_of(scope["headers"])
        admission = self.connection.shared.admission
        refusal = admission.admit(self.kind, self.token)
        if refusal is None:
            self.began = self.connection.loop.time()
            return True
        admission.say(lambda: self._refuse(refusal))
        return False

    def _refuse(self, error: MatrixError) -> None:
        if self.disconnected:
            return
        head_only, headers = self.scope["method"] == "HEAD", self.connection.shared.headers
        self.transport.write(error_bytes(error, headers, head_only=head_only, close=self.close_after))
        self._complete()

    async def run_asgi(self, app: Any) -> None:
        try:
            if not self.disconnected:  # a client that has gone already wants nothing any more
                await self._run(app)
        finally:
            connection = self.connection
            connection.shared.admission.done(self.kind, self.token, connection.loop.time() - self.began)

    async def _run(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._fail(Unavailable("the request was broken off because the server stops; try again"))
            raise
        except Exception as error:
            log.error("answering a request failed: %s", where(error))
            self._fail(MatrixError("something went wrong on the server; the operator's log says where", status=500))
        else:
            if not self.response_complete and not self.disconnected:
                log.error("an endpoint returned without a complete answer")
                self._fail(MatrixError("something went wrong on the server", status=500))

    def _fail(self, error: MatrixError) -> None:
        if self.disconnected or self.response_complete:
            return
        if self.head_written:
            self.transport.abort()  # half an answer must not look like a whole one
            return
        head_only = self.scope["method"] == "HEAD"
        self.transport.write(error_bytes(error, self.connection.shared.headers, head_only=head_only))
        self.close_after = True
        self._complete()

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.response_complete:
            return
        if message["type"] == "http.response.start":
            self.head = self._head(message["status"], message.get("headers", ()))
            self.response_started = True
            self.waiting_for_100_continue = False
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if not self.head_written:
            head = self._framed(len(body), more)
            self.head_written = True
        else:
            head = b""
        if self.chunked_encoding is None:  # HEAD and the like: a length, but no bytes
            self.transport.write(head)
        else:
            self._write(head, body, more)
        if not more:
            self._complete()

    def _write(self, head: bytes, body: bytes, more: bool) -> None:
        if self.chunked_encoding:
            tail = b"" if more else b"0\r\n\r\n"
            self.transport.write(head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + tail)
            return
        if self.left >= 0:
            self.left -= len(body)
            if self.left < 0 or (self.left and not more):
                raise RuntimeError("the answer's body is not as long as its content-length says")
        if head and len(body) > ONE_WRITE_BYTES_MAX:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [status_line(status), self.connection.shared.headers]
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                raise RuntimeError("a line break in the value of a header")
            if name == b"content-length":
                self.left = int(value)
            lines.append(b"%b: %b\r\n" % (name, value))
        self.status = status
        return b"".join(lines)

    def _framed(self, length: int, more: bool) -> bytes:
        """The head, complete, and in `chunked_encoding` how the body is sent: None means not at all."""
        how = b"" if self.keep_alive else b"connection: close\r\n"
        self.chunked_encoding = False
        if self.status in BODILESS or self.scope["method"] == "HEAD":
            self.chunked_encoding = None
        elif self.left < 0 and not more:
            self.left = length
            how += b"content-length: %d\r\n" % length
        elif self.left < 0 and self.scope["http_version"] == "1.1":
            self.chunked_encoding = True
            how += b"transfer-encoding: chunked\r\n"
        elif self.left < 0:
            self.close_after = True
        return self.head + how + b"\r\n"

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.connection.answered(self)
