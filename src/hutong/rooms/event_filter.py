"""What a client asked to be shown of a list of events: the filter's JSON, read once into matchers.

They run on type codes where they can. No I/O. Source: Client-Server API v1.19, "Filtering"; the schemas EventFilter and
RoomEventFilter.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from hutong.errors import BadParam
from hutong.ids import TypeCode
from hutong.rooms.event_types import text_of
from hutong.rooms.type_patterns import TypePatterns

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


_DECODER: Final = msgspec.json.Decoder(RoomEventFilterBody)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


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
        self.wants_url = room.contains_url is True
        self.by_sender = self._senders is not None or bool(self._not_senders)
        self.by_words = self.by_sender or self._contains_url is not None
        """Whether it asks for more than the type."""
        self.all = self.types.all and not self.by_words
        """Whether every event passes, of the rooms that do."""
        self.nothing = body.types == () or body.senders == () or room.rooms == ()

    @classmethod
    def read(cls, text: str | None, field: str = "filter") -> "Matcher":
        """A RoomEventFilter's JSON, as `/messages` takes it. Raises: BadParam."""
        if text is None:
            return EVERY_EVENT
        try:
            return cls(_DECODER.decode(text))
        except msgspec.DecodeError as error:
            raise BadParam(field, str(error)) from None
        except RecursionError:
            raise BadParam(field, "is nested too deep") from None

    def admits_room(self, room_id: str) -> bool:
        return (self._rooms is None or room_id in self._rooms) and room_id not in self._not_rooms

    def admits_sender(self, user_id: str) -> bool:
        return user_id not in self._not_senders and (self._senders is None or user_id in self._senders)

    def admits(self, type: str, sender: str, content: bytes) -> bool:
        """Whether an event passes, everything about it known."""
        if not self.types.admits(type) or not self.admits_sender(sender):
            return False
        return self._contains_url is None or self._contains_url == _has_url(content)

    def admits_event(self, json: bytes) -> bool:
        """Whether a whole event of a room that passes does so too. Cost: decodes it when anything is asked for."""
        if self.all:
            return True
        event = _EVENT.decode(json)
        return self.admits(event.type, event.sender, bytes(event.content))


class _Event(Struct):
    type: str
    sender: str
    content: msgspec.Raw


_EVENT: Final = msgspec.json.Decoder(_Event)


def _has_url(content: bytes) -> bool:
    """Whether the content has the key `url`. An escape may hide it."""
    return (b'"url"' in content or b"\\u" in content) and "url" in _OBJECT.decode(content)


EVERY_EVENT: Final = Matcher(RoomEventFilterBody())
NO_EVENT: Final = Matcher(RoomEventFilterBody(types=()))
