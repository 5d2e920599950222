"""What a client asked to be told: the filter's JSON, read once into matchers that run on type codes where they can.

No I/O. Source: Client-Server API v1.19, "Filtering"; the schemas Filter, RoomFilter, RoomEventFilter, EventFilter.
"""

import re
from collections import OrderedDict
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from hutong.errors import BadJson, BadParam, NotJson
from hutong.ids import TypeCode
from hutong.rooms.event_types import text_of
from hutong.rooms.type_patterns import TypePatterns

TIMELINE_LIMIT_DEFAULT: Final = 10
TIMELINE_LIMIT_MAX: Final = 100
FILTER_BYTES_MAX: Final = 65_536
_CACHED_MAX: Final = 1_024
_CODES: Final = tuple((TypeCode(code), text) for code in range(1, 256) if (text := text_of(TypeCode(code))))

Texts = Annotated[tuple[str, ...], Meta(max_length=1_000)]
UserIds = Annotated[tuple[Annotated[str, Meta(pattern="^@")], ...], Meta(max_length=1_000)]
RoomIds = Annotated[tuple[Annotated[str, Meta(pattern="^!")], ...], Meta(max_length=10_000)]


class EventFilterBody(Struct, frozen=True):
    limit: Annotated[int, Meta(ge=0)] | None = None
    types: Texts | None = None
    not_types: Texts = ()
    senders: UserIds | None = None
    not_senders: UserIds = ()


class RoomEventFilterBody(EventFilterBody, frozen=True):
    rooms: RoomIds | None = None
    not_rooms: RoomIds = ()
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    contains_url: bool | None = None


class RoomFilterBody(Struct, frozen=True):
    rooms: RoomIds | None = None
    not_rooms: RoomIds = ()
    include_leave: bool = False
    timeline: RoomEventFilterBody = RoomEventFilterBody()
    state: RoomEventFilterBody = RoomEventFilterBody()
    ephemeral: RoomEventFilterBody = RoomEventFilterBody()
    account_data: RoomEventFilterBody = RoomEventFilterBody()


class FilterBody(Struct, frozen=True):
    event_fields: Texts | None = None
    event_format: Literal["client", "federation"] = "client"
    presence: EventFilterBody = EventFilterBody()
    account_data: EventFilterBody = EventFilterBody()
    room: RoomFilterBody = RoomFilterBody()


_DECODER: Final = msgspec.json.Decoder(FilterBody)
_PIECES: Final = re.compile(r"\\[.\\]|.", re.DOTALL)
_ESCAPED: Final = ("\\.", "\\\\")
_ESSENTIAL: Final[tuple[str, ...]] = ("type", "event_id", "sender", "origin_server_ts", "state_key", "content")
_CONTENT: Final = msgspec.json.Decoder(dict[str, Any])


class TypeRule:
    """`types` and `not_types`, by text and by code; `*` stands for any characters."""

    def __init__(self, types: Texts | None, not_types: Texts) -> None:
        self.all = types is None and not not_types
        self._types = None if types is None else TypePatterns(types)
        self._not_types = TypePatterns(not_types)
        self.codes: list[TypeCode] | None = None if self.all else [code for code, text in _CODES if self.admits(text)]
        """The specification's types that pass; None: every type. What is no type of the specification must be asked."""
        self._codes = frozenset(self.codes or ())

    def admits(self, type: str) -> bool:
        return (self._types is None or type in self._types) and type not in self._not_types

    def admits_code(self, code: TypeCode) -> bool | None:
        """Whether the type behind `code` passes; None when only its text can tell."""
        if self.all:
            return True
        return code in self._codes if code > 0 else None


class Matcher:
    """One EventFilter or RoomEventFilter."""

    def __init__(self, body: EventFilterBody) -> None:
        room = body if isinstance(body, RoomEventFilterBody) else RoomEventFilterBody()
        self.limit = body.limit
        self.types = TypeRule(body.types, body.not_types)
        self.lazy = room.lazy_load_members
        self.redundant = room.include_redundant_members
        self.threads = room.unread_thread_notifications
        self._senders = None if body.senders is None else frozenset(body.senders)
        self._not_senders = frozenset(body.not_senders)
        self._rooms = None if room.rooms is None else frozenset(room.rooms)
        self._not_rooms = frozenset(room.not_rooms)
        self._contains_url = room.contains_url
        self.by_words = self._senders is not None or bool(self._not_senders) or self._contains_url is not None
        """Whether it asks for more than the type."""
        self.all = self.types.all and not self.by_words
        self.nothing = body.types == () or body.senders == () or room.rooms == ()

    def admits_room(self, room_id: str) -> bool:
        return (self._rooms is None or room_id in self._rooms) and room_id not in self._not_rooms

    def admits(self, type: str, sender: str, content: bytes) -> bool:
        """Whether an event passes, everything about it known."""
        if not self.types.admits(type) or sender in self._not_senders:
            return False
        if self._senders is not None and sender not in self._senders:
            return False
        return self._contains_url is None or self._contains_url == _has_url(content)


def _has_url(content: bytes) -> bool:
    return b'"url"' in content and isinstance(_CONTENT.decode(content).get("url"), str)


class Filter:
    """A whole filter, as `/sync` uses it."""

    def __init__(self, body: FilterBody) -> None:
        room = body.room
        self.account_data = Matcher(body.account_data)
        self.timeline = Matcher(room.timeline)
        self.state = Matcher(room.state)
        self.ephemeral = Matcher(room.ephemeral)
        self.room_account_data = Matcher(room.account_data)
        self.include_leave = room.include_leave
        limit = self.timeline.limit
        self.limit = TIMELINE_LIMIT_DEFAULT if limit is None else min(limit, TIMELINE_LIMIT_MAX)
        self.lazy = self.state.lazy or self.timeline.lazy
        self.redundant = self.state.redundant or self.timeline.redundant
        self.fields = None if body.event_fields is None else tuple(_path(text) for text in body.event_fields)
        self._rooms = None if room.rooms is None else frozenset(room.rooms)
        self._not_rooms = frozenset(room.not_rooms)

    def admits_room(self, room_id: str) -> bool:
        return (self._rooms is None or room_id in self._rooms) and room_id not in self._not_rooms

    def cut(self, event: bytes) -> bytes:
        """`event` with what makes it an event and the fields that `event_fields` names.

        Cost: decodes and encodes; nothing without `event_fields`.
        """
        if self.fields is None:
            return event
        whole = _CONTENT.decode(event)
        kept: dict[str, Any] = {name: {} if name == "content" else whole[name] for name in _ESSENTIAL if name in whole}
        for path in self.fields:
            _copy(whole, kept, path)
        return msgspec.json.encode(kept)


def _path(text: str) -> tuple[str, ...]:
    """A dot-separated path; a backslash keeps the dot or backslash after it. Source: Appendices, same heading."""
    parts = [""]
    for piece in _PIECES.findall(text):
        if piece == ".":
            parts.append("")
        else:
            parts[-1] += piece[1:] if piece in _ESCAPED else piece
    return tuple(parts)


def _copy(source: dict[str, Any], target: dict[str, Any], path: tuple[str, ...]) -> None:
    for name in path[:-1]:
        inner = source.get(name)
        if not isinstance(inner, dict):
            return
        source, target = inner, target.setdefault(name, {})
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]


EVERYTHING: Final = Filter(FilterBody())


def parse(text: str | bytes) -> Filter:
    """Read a filter's JSON. Raises: NotJson, BadJson, BadParam naming the field."""
    try:
        return Filter(_DECODER.decode(text))
    except msgspec.ValidationError as error:
        raise BadJson(f"filter: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"filter: {error}") from None
    except RecursionError:
        raise BadJson("filter: nested too deep") from None


class FilterCache:
    """Filters read lately, by their text. A client repeats its filter with every poll."""

    def __init__(self, filters_max: int = _CACHED_MAX) -> None:
        self._filters_max = filters_max
        self._filters: OrderedDict[str | bytes, Filter] = OrderedDict()

    def get(self, text: str | bytes) -> Filter:
        """Raises: what `parse` raises."""
        found = self._filters.get(text)
        if found is None:
            if len(text) > FILTER_BYTES_MAX:
                raise BadParam("filter", f"is longer than {FILTER_BYTES_MAX:,} bytes")
            found = self._filters[text] = parse(text)
            if len(self._filters) > self._filters_max:
                self._filters.popitem(last=False)
        else:
            self._filters.move_to_end(text)
        return found
