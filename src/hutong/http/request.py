"""What an endpoint asks of a request: who calls, from which region, the query and the body. No socket is touched here.

Every function raises a `MatrixError` that names the parameter or field; an endpoint lets it pass.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypeVar, overload
from urllib.parse import unquote_to_bytes

import falcon.asgi
from falcon.asgi import Response
from msgspec import DecodeError, Meta, Struct, ValidationError
from msgspec.json import Decoder

from hutong.errors import BadJson, BadParam, MatrixError, MissingParam, MissingToken, NotJson, TooLarge
from hutong.http.jsonscan import checked_object
from hutong.ids import AccountNo, CellNo, DeviceNo

__all__ = [
    "EMPTY",
    "EVENT_BYTES_MAX",
    "JSON_BYTES_MAX",
    "Caller",
    "Int53",
    "Request",
    "Response",
    "body",
    "caller",
    "caller_or_none",
    "client_address",
    "decode",
    "on_disconnect",
    "only_while_wanted",
    "query_choice",
    "query_flag",
    "query_int",
    "query_text",
    "query_texts",
    "raw_body",
    "raw_object",
    "request_region",
]

EMPTY = b"{}"
EVENT_BYTES_MAX = 65_536
JSON_BYTES_MAX = 1_048_576
QUERY_CHARS_MAX = 4_096
INT_DIGITS_MAX = 18
SEGMENTS_KEPT_MAX = 4_096

Int53 = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
"""An integer as Matrix allows it in JSON. A plain `int` in a body also takes what no database column can hold."""

T = TypeVar("T")

_SLASH = "\udc2f"  # stands for a percent-encoded slash while the path is routed; strict UTF-8 can never decode to it
_OLD_API, _API = b"/_matrix/client/r0/", b"/_matrix/client/v3/"
_INT = re.compile(r"-?[0-9]+", re.ASCII)
_FIELD = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")
_RULE = re.compile(r"^Expected `\w+` (?:of length|matching|<|>|=|that's)|^Invalid enum value")


class Query(Protocol):
    """What was asked for behind the question mark: a request of the application, or a `Call`."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Decoded; a list where a name stands more than once."""

    @property
    def query_string(self) -> str: ...


class Caller(Struct, frozen=True):
    """Who calls: an account and its device, in the cell that serves them; `token` is the access token's SHA-256."""

    cell: CellNo
    account: AccountNo
    device: DeviceNo
    token: bytes


class Request(falcon.asgi.Request):
    """A request of the edge: its path is routed by segments, so that an encoded slash stays inside its parameter."""

    __slots__ = (
        "caller",
        "encoded_slash",
        "first_event",
        "json_bytes_max",
        "more_events",
        "refusal",
        "region_hosts",
        "started",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        first_event: Any = None,
        options: Any = None,
    ) -> None:
        self.refusal: MatrixError | None = None
        self.caller: Caller | None = None
        self.first_event = first_event
        self.more_events = receive
        self.region_hosts: Mapping[str, str] = {}
        self.json_bytes_max = JSON_BYTES_MAX
        self.started = 0.0
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        try:
            scope["path"] = routed(raw_path)
        except UnicodeDecodeError:
            scope["path"] = "/"
            self.refusal = BadParam("path", "is not percent-encoded UTF-8")
        if not scope["query_string"].isascii():
            scope["query_string"] = b""
            self.refusal = BadParam("query", "holds bytes that must be percent-encoded")
        super().__init__(scope, receive, first_event, options)
        self.encoded_slash = _SLASH in self.path
        if self.method == "HEAD":
            self.method = "GET"  # the connection still sees HEAD in the scope, and sends no body

    def mend(self, params: dict[str, Any]) -> None:
        """Put encoded slashes back into the parameters of the path, after routing."""
        if self.encoded_slash:
            mend(params)


def routed(raw_path: bytes) -> str:
    """The path as routes are looked up by it: decoded, old names made new. Raises: UnicodeDecodeError."""
    if raw_path.startswith(_OLD_API):
        raw_path = _API + raw_path[len(_OLD_API) :]
    if b"%" not in raw_path:
        return raw_path.decode()
    return "/".join([_segment(segment) if b"%" in segment else segment.decode() for segment in raw_path.split(b"/")])


@lru_cache(SEGMENTS_KEPT_MAX)
def _segment(segment: bytes) -> str:
    """Clients encode the same room and user ids again and again."""
    return unquote_to_bytes(segment).decode().replace("/", _SLASH)


def mend(params: dict[str, str]) -> None:
    """Put encoded slashes back into the parameters of a path that `routed` made."""
    for name, value in params.items():
        params[name] = value.replace(_SLASH, "/")


def _edge(req: falcon.asgi.Request) -> Request:
    assert isinstance(req, Request), "only build_app() makes requests"
    return req


def caller(req: falcon.asgi.Request) -> Caller:
    """Who calls. Raises: MissingToken (401) when nobody said who they are, on an endpoint that is open to both."""
    found = _edge(req).caller
    if found is None:
        raise MissingToken("access token: is missing; send it as `Authorization: Bearer ...`")
    return found


def caller_or_none(req: falcon.asgi.Request) -> Caller | None:
    """Who calls, on an endpoint whose `auth` is "optional"."""
    return _edge(req).caller


def request_region(req: falcon.asgi.Request) -> str | None:
    """The region whose own port or host name the request was sent to, or None on the address that serves them all."""
    bound: str | None = req.scope.get("hutong.region")
    if bound is not None:
        return bound
    host = req.get_header("host") or ""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    return _edge(req).region_hosts.get(name.lower())


def client_address(req: falcon.asgi.Request) -> str:
    """The address that the request comes from, in memory only: never store it, never log it."""
    client = req.scope.get("client")
    return client[0] if client else ""


def on_disconnect(req: falcon.asgi.Request, callback: Callable[[], object]) -> None:
    """Call `callback` once if the client goes away, or the server stops, before the answer."""
    req.scope["hutong.on_disconnect"] = callback


@contextmanager
def only_while_wanted(req: falcon.asgi.Request) -> Iterator[None]:
    """Break off what is awaited inside when the client goes away, or the server stops: nobody is left to tell."""
    task = asyncio.current_task()
    assert task is not None
    on_disconnect(req, task.cancel)
    try:
        yield
    finally:
        req.scope.pop("hutong.on_disconnect", None)


async def raw_body(req: falcon.asgi.Request, bytes_max: int | None = None) -> bytes:
    """The body as sent, of at most `bytes_max` or what the configuration allows for JSON.

    Raises: TooLarge (413) beyond `bytes_max`, before the rest is read.
    """
    request = _edge(req)
    bytes_max = bytes_max or request.json_bytes_max
    event = request.first_event or await request.more_events()
    chunks: list[bytes] = []
    size = 0
    while event["type"] == "http.request":
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > bytes_max or (req.content_length or 0) > bytes_max:
            raise TooLarge(f"body: more than {bytes_max:,} bytes")
        chunks.append(chunk)
        if not event.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        event = await request.more_events()
    raise NotJson("body: the connection ended before it was complete")


async def body(req: falcon.asgi.Request, decoder: Decoder[T], bytes_max: int | None = None) -> T:
    """The body as a typed record. No body at all counts as `{}`, which many clients mean by it.

    Raises: NotJson, TooLarge; MissingParam for a field that must be there, BadJson for a wrong type,
        BadParam for a value that breaks the field's rule. Each names the field.
    """
    return decode(await raw_body(req, bytes_max), decoder)


def decode(raw: bytes, decoder: Decoder[T], field: str = "") -> T:
    """A body that was read already, or its member `field`, as a typed record. Raises as `body`."""
    try:
        if not raw.isascii():
            raw.decode()  # the decoder does not look into what a record leaves out or keeps raw
        return decoder.decode(raw or EMPTY)
    except ValidationError as error:
        raise _wrong_field(str(error), field) from None
    except (DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"body: {_plain(error)}") from None
    except RecursionError:
        raise BadJson("body: nested too deep") from None


async def raw_object(req: falcon.asgi.Request, bytes_max: int = EVENT_BYTES_MAX) -> bytes:
    """The body, a JSON object, as it was sent; safe to be put into other JSON as it is (see `checked_object`).

    An event's content is checked further, and decoded, by `jsonscan.event_content`.

    Raises: NotJson, BadJson, TooLarge.
    """
    raw = await raw_body(req, bytes_max)
    if not raw:
        raise NotJson("body: is empty; it must be a JSON object")
    checked_object(raw)
    return raw.strip()


def _plain(error: Exception) -> str:
    return "is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _wrong_field(message: str, field: str = "") -> MatrixError:
    """The decoder's message as an error of the Client-Server API."""
    at = _FIELD.search(message)
    path = ".".join(part for part in (field, at["path"] if at else "") if part)
    if path.startswith("["):  # in the body itself, under a number or a name of the client's own
        path = "body" + path
    what = message[: at.start()] if at else message
    if missing := _MISSING.match(what):
        return MissingParam(f"{path}.{missing['name']}" if path else missing["name"])
    what = what[0].lower() + what[1:]
    if _RULE.match(message):
        return BadParam(path or "body", what)
    return BadJson(f"{path or 'body'}: {what}")


def _values(req: Query, name: str) -> list[str]:
    value = req.params.get(name)
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    for text in values:
        # The parser puts U+FFFD for bytes that are not UTF-8; the same character may also have been sent honestly.
        if "\ufffd" in text and "%EF%BF%BD" not in req.query_string.upper():
            raise BadParam(name, "is not percent-encoded UTF-8")
    return values


@overload
def query_text(req: Query, name: str, default: str, max: int = ...) -> str: ...
@overload
def query_text(req: Query, name: str, default: None = None, max: int = ...) -> str | None: ...
def query_text(req: Query, name: str, default: str | None = None, max: int = QUERY_CHARS_MAX) -> str | None:
    """A parameter of the query as text of at most `max` characters; of several, the first. Raises: BadParam."""
    values = _values(req, name)
    if not values:
        return default
    if len(values[0]) > max:
        raise BadParam(name, f"has more than {max:,} characters")
    return values[0]


def query_texts(req: Query, name: str, max: int = 255, count_max: int = 50) -> list[str]:
    """All values of a parameter that may be repeated, each of at most `max` characters. Raises: BadParam."""
    values = _values(req, name)
    if len(values) > count_max:
        raise BadParam(name, f"is given more than {count_max} times")
    if any(len(value) > max for value in values):
        raise BadParam(name, f"has more than {max:,} characters")
    return values


def query_int(req: Query, name: str, default: int, low: int, high: int) -> int:
    """A parameter of the query as an integer. More than `high` counts as `high`: too large a page is the largest.

    Raises: BadParam when it is no integer, or below `low`.
    """
    text = query_text(req, name)
    if text is None:
        return default
    if not _INT.fullmatch(text):
        raise BadParam(name, "is not an integer")
    value = int(text) if len(text) <= INT_DIGITS_MAX else (low - 1 if text[0] == "-" else high)
    if value < low:
        raise BadParam(name, f"is below {low}")
    return min(value, high)


def query_flag(req: Query, name: str, default: bool = False) -> bool:
    """A parameter of the query that is `true` or `false`. Raises: BadParam."""
    text = query_text(req, name)
    if text is None:
        return default
    if text not in {"true", "false"}:
        raise BadParam(name, "is neither true nor false")
    return text == "true"


def query_choice(req: Query, name: str, choices: tuple[str, ...], default: str | None = None) -> str:
    """A parameter of the query that is one of `choices`. Raises: BadParam; MissingParam when there is no default."""
    text = query_text(req, name) or default
    if text is None:
        raise MissingParam(name)
    if text not in choices:
        raise BadParam(name, f"is none of {', '.join(choices)}")
    return text
