"""How a failure is told: to the client as a Matrix error, to the operator as a place in the code without any words."""

import http
import traceback
from collections.abc import Iterable

import msgspec

from hutong.errors import MatrixError, Unavailable


def retry_after(error: MatrixError) -> str | None:
    """The value of `Retry-After`, in whole seconds, where the error says when to come back."""
    retry_after_ms = error.extra.get("retry_after_ms")
    return None if retry_after_ms is None else str(-(-int(retry_after_ms) // 1000))


def error_body(error: MatrixError) -> bytes:
    return msgspec.json.encode(error.body())


def error_bytes(error: MatrixError, headers: bytes, *, head_only: bool = False, close: bool = True) -> bytes:
    """A whole HTTP answer that says `error`; `headers` are lines that every answer carries."""
    body = error_body(error)
    head = json_answer(error.status, len(body), headers, retry_after=retry_after(error), close=close)
    return head if head_only else head + body


def json_answer(status: int, length: int, headers: bytes, *, retry_after: str | None = None, close: bool) -> bytes:
    """The head of an answer whose body is `length` bytes of JSON; `headers` are lines that every answer carries."""
    how = b"connection: close\r\n" if close else b""
    if retry_after is not None:
        how += b"retry-after: %b\r\n" % retry_after.encode()
    # No browser keeps on its disk what people wrote.
    return b"%b%b%bcontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: %d\r\n\r\n" % (
        status_line(status), headers, how, length
    )  # fmt: skip


def mistake() -> MatrixError:
    """What a client is told of a mistake of ours."""
    return MatrixError("something went wrong on the server; the operator's log says where", status=500)


def broken_off() -> Unavailable:
    return Unavailable("the request was broken off because the server stops; try again")


def status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)


def where(error: BaseException) -> str:
    """The type of an exception and the places it passed, innermost first. Never its message: that may hold words."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = " < ".join(f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)
    cause = error.__cause__ or error.__context__
    return f"{type(error).__name__} at {places}" + (f"; after {where(cause)}" if cause is not None else "")


def _short(filename: str) -> str:
    return "/".join(filename.rsplit("/", 2)[1:])


_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in http.HTTPStatus}
