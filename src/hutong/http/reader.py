"""Bytes to requests: a parser and the request whose bytes it has so far, with limits on everything in a head.

A reader is lent to a connection while a request arrives and taken back once it is whole, so a client that waits for an
answer has no parser.
"""

from typing import Any, Protocol, cast

import httptools

from hutong.errors import BadParam, MatrixError, TooLarge

VERSIONS = frozenset({"1.0", "1.1"})
HEADERS_MAX = 100
SPARE_MAX = 256


class Refused(Exception):
    """Raised inside a parser's callback, to leave the parser."""

    def __init__(self, error: MatrixError) -> None:
        self.error = error


class Head:
    """A request without its body. Names of headers are in lower case."""

    __slots__ = ("expects_continue", "headers", "keep_alive", "method", "path", "query", "version")

    def __init__(
        self,
        method: str,
        path: bytes,
        query: bytes,
        version: str,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue

    def header(self, name: bytes) -> bytes | None:
        """The value of the only header called `name`; None when there is none, or more than one."""
        values = [value for named, value in self.headers if named == name]
        return values[0] if len(values) == 1 else None


class Borrower(Protocol):
    """Who is told of what a reader reads. What it raises reaches it again as a `HttpParserCallbackError`."""

    def begun(self) -> None:
        """The first byte of a request is there."""

    def head(self, head: Head) -> None: ...
    def body(self, body: bytes) -> None: ...
    def complete(self) -> None: ...


class Reader:
    """`read` calls the borrower for each part that is complete."""

    __slots__ = ("_borrower", "_expects_continue", "_head_bytes", "_headers", "_limit", "_parser", "_spoiled", "_url")

    def __init__(self, header_bytes_max: int) -> None:
        self._limit = header_bytes_max
        self._borrower: Borrower | None = None
        self._parser = self._fresh_parser()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._expects_continue = False
        self._spoiled = False

    def _fresh_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Else nothing that comes after a request with `Connection: close` could be read and dropped.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    @property
    def reusable(self) -> bool:
        """Whether another connection may have it, once a request is whole."""
        return not self._spoiled

    def lend(self, borrower: Borrower | None) -> None:
        self._borrower = borrower

    def read(self, data: bytes) -> None:
        """Raises: httptools.HttpParserError; afterwards nothing more can be read."""
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    return
                except httptools.HttpParserUpgrade as upgrade:
                    data = self._without_upgrade() + data[upgrade.args[0] :]
        except BaseException:
            self._spoiled = True
            raise

    def _without_upgrade(self) -> bytes:
        """The head of the request again, for a fresh parser: the old one takes its body for another protocol."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserInvalidMethodError
        self._parser = self._fresh_parser()
        lines = [b"%b %b HTTP/1.1" % (method, self._url)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] not in {b"upgrade", b"connection"}]
        return b"\r\n".join((*lines, b"\r\n"))

    # httptools calls these

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._expects_continue = False
        self._told.begun()

    def on_url(self, url: bytes) -> None:
        self._url += url
        limit = self._limit // 2
        if len(self._url) > limit:
            raise Refused(TooLarge(f"request line: more than {limit:,} bytes", status=414))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limit or len(self._headers) >= HEADERS_MAX:
            raise Refused(too_large_head(self._limit))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser.should_upgrade():
            return  # see `_without_upgrade`
        version = parser.get_http_version()
        if version not in VERSIONS:
            raise Refused(MatrixError("this is not HTTP/1.1"))
        keep_alive = version == "1.1" and parser.should_keep_alive()
        if not keep_alive:
            self._spoiled = True
        path, _, query = self._target().partition(b"#")[0].partition(b"?")
        self._told.head(
            Head(
                parser.get_method().decode("ascii"), path, query, version, self._headers,
                keep_alive=keep_alive, expects_continue=self._expects_continue,
            )
        )  # fmt: skip

    def on_body(self, body: bytes) -> None:
        self._told.body(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():
            self._told.complete()

    @property
    def _told(self) -> Borrower:
        return cast("Borrower", self._borrower)

    def _target(self) -> bytes:
        """The path and query of the request, without scheme and host where a client sends them along."""
        if self._url.startswith((b"/", b"*")):
            return self._url
        try:
            parsed: Any = httptools.parse_url(self._url)
        except httptools.HttpParserError:
            raise Refused(BadParam("path", "is no URL")) from None
        return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")


class Readers:
    """Readers that nobody has borrowed."""

    def __init__(self, header_bytes_max: int) -> None:
        self._limit = header_bytes_max
        self._spare: list[Reader] = []

    def lend(self, borrower: Borrower) -> Reader:
        reader = self._spare.pop() if self._spare else Reader(self._limit)
        reader.lend(borrower)
        return reader

    def take_back(self, reader: Reader) -> None:
        """Only between two requests."""
        reader.lend(None)
        if reader.reusable and len(self._spare) < SPARE_MAX:
            self._spare.append(reader)


def too_large_head(limit: int) -> TooLarge:
    return TooLarge(f"headers: more than {limit:,} bytes, or more than {HEADERS_MAX} of them", status=431)
