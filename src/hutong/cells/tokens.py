"""The tokens that clients hold: where in the log a sync stopped, and where in a room a page ends.

`h1.<gen>.<pos>.<boot>.<eph>`: everything up to `pos` of this cell's log was told; `boot` and `eph` do the same for
what is only in memory (typing). `r1.<gen>.<tag>.<seq>`: just after event `seq` of the room whose keyed tag it bears.
`gen` is the database's generation: what a token says holds in no other, such as one restored from a backup.
"""

import re
from hmac import compare_digest, digest
from typing import Final

from msgspec import Struct

from hutong.errors import BadParam
from hutong.ids import Pos, RoomNo, Seq

_SYNC: Final = re.compile(r"h1\.([0-9a-f]{1,16})\.([0-9]{1,18})\.([0-9a-f]{1,16})\.([0-9]{1,18})", re.ASCII)
_ROOM: Final = re.compile(r"r1\.([0-9a-f]{1,16})\.([0-9a-f]{12})\.([0-9]{1,18})", re.ASCII)
_TAG_BYTES: Final = 6
_TAGS_MAX: Final = 50_000
_NOT_OURS: Final = "is no token of this server"


class SyncToken(Struct, frozen=True):
    pos: Pos
    boot: int
    eph: int


class RoomToken(Struct, frozen=True):
    """The place just after event `seq`; 0 is the start of the room."""

    seq: Seq


class Tokens:
    """Writes and reads the tokens of one cell. `key` is secret and lasts; `boot` is another number after each start."""

    def __init__(self, gen: int, boot: int, key: bytes) -> None:
        self.boot = boot
        self._gen = f"{gen:x}"
        self._key = key
        self._tags: dict[RoomNo, str] = {}

    def sync(self, pos: Pos, eph: int) -> str:
        return f"h1.{self._gen}.{pos}.{self.boot:x}.{eph}"

    def room(self, room: RoomNo, seq: int) -> str:
        """A token for the place just after event `seq` of `room`."""
        return f"r1.{self._gen}.{self._tag(room)}.{seq}"

    def parse_sync(self, text: str, head: Pos, field: str = "since") -> SyncToken | None:
        """What a sync token says; None for one of another generation or region: begin anew.

        Raises: BadParam naming `field`: malformed, or ahead of `head`.
        """
        match = _SYNC.fullmatch(text)
        if match is None:
            raise BadParam(field, _NOT_OURS)
        gen, pos, boot, eph = match.groups()
        if gen != self._gen:
            return None
        if int(pos) > head:
            raise BadParam(field, "is ahead of what this server has told anybody")
        return SyncToken(Pos(int(pos)), int(boot, 16), int(eph))

    def parse(self, text: str, room: RoomNo, head: Pos, field: str = "from") -> RoomToken | SyncToken | None:
        """What a token for a page of `room` says, be it a room's or a sync's; None for one of another generation.

        Raises: BadParam naming `field`: malformed, ahead of `head`, or a token of another room.
        """
        match = _ROOM.fullmatch(text)
        if match is None:
            return self.parse_sync(text, head, field)
        gen, tag, seq = match.groups()
        if gen != self._gen:
            return None
        if not compare_digest(tag, self._tag(room)):
            raise BadParam(field, "is a token of another room")
        return RoomToken(Seq(int(seq)))

    def _tag(self, room: RoomNo) -> str:
        tag = self._tags.get(room)
        if tag is None:
            if len(self._tags) >= _TAGS_MAX:
                self._tags.clear()
            raw = digest(self._key, b"room token" + room.to_bytes(8, "big", signed=True), "sha256")
            tag = self._tags[room] = raw[:_TAG_BYTES].hex()
        return tag
