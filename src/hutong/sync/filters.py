"""What a client asked `/sync` to tell: the whole filter's JSON, read once.

No I/O. Source: Client-Server API v1.19, "Filtering"; the schemas Filter and RoomFilter. What chooses among the events
of one list is in `rooms.event_filter`.
"""

import re
from collections import OrderedDict
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from hutong.errors import BadJson, BadParam, NotJson
from hutong.rooms.event_filter import EventFilterBody, Matcher, RoomEventFilterBody, RoomIds, Texts

TIMELINE_LIMIT_DEFAULT: Final = 10
TIMELINE_LIMIT_MAX: Final = 100
FILTER_BYTES_MAX: Final = 65_536
_CACHED_MAX: Final = 1_024


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


class Filter:
    """A whole filter, as `/sync` uses it.

    `limit` bounds the timeline alone: what is left out there can be paged for. The other lists are what a client adds
    up, and nothing would ever tell it what a limit had left out.
    """

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
        self.lazy = self.state.lazy
        """Source: GET /sync, "only supported on the `state` part"."""
        self.redundant = self.state.redundant
        self.fields = None if body.event_fields is None else tuple(_path(text) for text in body.event_fields)
        self._rooms = None if room.rooms is None else frozenset(room.rooms)
        self._not_rooms = frozenset(room.not_rooms)

    def admits_room(self, room_id: str) -> bool:
        return (self._rooms is None or room_id in self._rooms) and room_id not in self._not_rooms

    def shows_timeline(self, room_id: str) -> bool:
        """Whether any event of the room's timeline may pass."""
        return not self.timeline.nothing and self.timeline.admits_room(room_id)

    def shows_state(self, room_id: str) -> bool:
        return not self.state.nothing and self.state.admits_room(room_id)

    def shows_receipts(self, room_id: str) -> bool:
        """Whether a receipt in the room may pass, whoever it is of."""
        matcher = self.ephemeral
        hidden = matcher.nothing or matcher.wants_url or not matcher.admits_room(room_id)
        return not hidden and matcher.types.admits("m.receipt")

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
        body = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise BadJson(f"filter: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"filter: {error}") from None
    except RecursionError:
        raise BadJson("filter: nested too deep") from None
    if body.event_format == "federation":
        raise BadParam("event_format", "is federation; there is none here, events have the client's format only")
    return Filter(body)


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
