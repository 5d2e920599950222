"""The order of the published rooms, their pages and the tokens between them. No I/O.

A token names a place between two rooms, by the rank of a neighbour, so that a page goes on from there whatever came and
went meanwhile, and the lists of several cells are merged by asking each for its rooms from that place on.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from heapq import merge
from hmac import compare_digest, digest

import msgspec
from msgspec import Struct

from hutong.cells.directory_messages import Place, PublicRoomsReply, PublishedRoom, Wanted
from hutong.errors import BadParam

TAG_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode


class Turn(Struct, frozen=True, array_like=True):
    """Where a page begins and which way it goes; without a place, at the top."""

    place: Place | None = None
    backwards: bool = False


class Page(Struct, frozen=True, kw_only=True):
    """A page of the list, in its order. `before` and `after`: how to go on, where there is more that way."""

    rooms: list[PublishedRoom]
    total: int
    before: Turn | None
    after: Turn | None


def admits(wanted: Wanted, room: PublishedRoom) -> bool:
    """Whether `room` is asked for. A term is looked for in its name, topic and canonical alias, in any case."""
    if wanted.room_types is not None and room.room_type not in wanted.room_types:
        return False
    if not wanted.term:
        return True
    term = wanted.term.casefold()
    return any(term in text.casefold() for text in (room.name, room.topic, room.canonical_alias) if text)


def cut(rooms: Iterable[PublishedRoom], turn: Turn, limit: int) -> PublicRoomsReply:
    """Up to `limit` of one cell's `rooms`, which are all asked for."""
    ordered = sorted(rooms, key=lambda room: room.rank)
    ahead = [room for room in ordered if is_ahead(room, turn)]
    found = ahead[-limit:] if turn.backwards else ahead[:limit]
    return PublicRoomsReply(rooms=found, total=len(ordered), behind=len(ahead) < len(ordered))


def is_ahead(room: PublishedRoom, turn: Turn) -> bool:
    if turn.place is None:
        return True
    if room.rank == turn.place.rank:
        return turn.place.after == turn.backwards
    return (room.rank < turn.place.rank) == turn.backwards


def page(replies: Sequence[PublicRoomsReply], turn: Turn, limit: int) -> Page:
    """The page of `limit` rooms that begins where `turn` says, out of what each cell found with a limit of one more."""
    merged = list(merge(*(reply.rooms for reply in replies), key=lambda room: room.rank))
    rooms = merged[-limit:] if turn.backwards else merged[:limit]
    more, behind = len(merged) > limit, any(reply.behind for reply in replies)
    first = Place(rooms[0].rank, after=False) if rooms else turn.place
    last = Place(rooms[-1].rank, after=True) if rooms else turn.place
    return Page(
        rooms=rooms,
        total=sum(reply.total for reply in replies),
        before=Turn(first, backwards=True) if (more if turn.backwards else behind) else None,
        after=Turn(last) if (behind if turn.backwards else more) else None,
    )


class ListTokens:
    """Writes and reads tokens. `key` is secret and lasts; a token holds for the list that it was given out for."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._decoder = msgspec.msgpack.Decoder(Turn)

    def write(self, turn: Turn, server: str | None, wanted: Wanted) -> str:
        raw = _encode(turn)
        return "d1." + base64.urlsafe_b64encode(raw + self._tag(raw, server, wanted)).decode().rstrip("=")

    def read(self, text: str, server: str | None, wanted: Wanted) -> Turn:
        """Raises: BadParam naming `since`."""
        try:
            body = text.removeprefix("d1.")
            both = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            both = b""
        raw, tag = both[:-TAG_BYTES], both[-TAG_BYTES:]
        if not text.startswith("d1.") or not compare_digest(tag, self._tag(raw, server, wanted)):
            raise BadParam("since", "is no token of this list; with another server or filter, begin anew")
        return self._decoder.decode(raw)

    def _tag(self, raw: bytes, server: str | None, wanted: Wanted) -> bytes:
        return digest(self._key, _encode((raw, server, wanted)), "sha256")[:TAG_BYTES]
