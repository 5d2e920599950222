"""NewTypes for every number and id of the core, so that they cannot be mixed up, and how ids are made and written.

Event ids and room ids are 128 bits: 32 bits of minute, then 96 random bits. The minute keeps fresh index entries
together; nothing in an id says who made it or what it names.
"""

import base64
import binascii
from collections.abc import Callable
from typing import NewType

RegionNo = NewType("RegionNo", int)
"""A region's number in the configuration, 1 to 32,767. It is never used again for another region."""
CellNo = NewType("CellNo", int)
"""A cell: its region's number * 256 + its place within the region."""
HomeNo = NewType("HomeNo", int)
"""Where the truth about an account or a room is: region number * 4,096 + bucket."""
AccountNo = NewType("AccountNo", int)
"""An account within its cell: the number of its slot in the keystore. Never leaves its cell."""
DeviceNo = NewType("DeviceNo", int)
"""A device of an account: a keyed hash of the device id that the client chose. Never leaves its cell."""
RoomNo = NewType("RoomNo", int)
"""A room, the same number in every cell: the last 63 bits of its room id."""
MemberRef = NewType("MemberRef", int)
"""One account in one room: random, says nothing about the person, joins nothing across rooms."""
Seq = NewType("Seq", int)
"""The place of an event in its room's timeline, from 1, dense, given by the room's home."""
Pos = NewType("Pos", int)
"""The place of a record in a cell's log, from 1, dense, in the order of commits."""
Minute = NewType("Minute", int)
"""Minutes since 1970: the coarse time of an envelope."""
TypeCode = NewType("TypeCode", int)
"""An event type: the specification's types have small positive codes, any other is a keyed hash (negative)."""
StateKeyCode = NewType("StateKeyCode", int)
"""A state key: 0 for the empty one, a MemberRef for a user id, a keyed hash for any other."""
ContentId = NewType("ContentId", bytes)
"""16 bytes: the id that content is sealed for; an event's content bears the event's id."""

BUCKETS = 4_096
ID_BYTES = 16
_RANDOM_BYTES = 12


def home_no(region: RegionNo, bucket: int) -> HomeNo:
    """The home in `region` at `bucket` (0 to 4,095)."""
    assert 0 <= bucket < BUCKETS
    return HomeNo(region * BUCKETS + bucket)


def region_of(home: HomeNo) -> RegionNo:
    return RegionNo(home // BUCKETS)


def bucket_of(home: HomeNo) -> int:
    return home % BUCKETS


def new_id(minute: Minute, random: Callable[[int], bytes]) -> bytes:
    """A fresh 128-bit id: the minute first, then 96 bits from `random`."""
    return minute.to_bytes(4, "big") + random(_RANDOM_BYTES)


def room_no(room_id: bytes) -> RoomNo:
    """The number of the room whose 128-bit id is `room_id`."""
    return RoomNo(int.from_bytes(room_id[8:], "big") >> 1)


def id_text(raw: bytes) -> str:
    """22 characters of unpadded base64url for 16 bytes."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def id_bytes(text: str) -> bytes | None:
    """The 16 bytes that 22 characters of base64url stand for, or None when they stand for no id of ours."""
    if len(text) != 22 or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if id_text(raw) == text else None  # 22 characters carry 132 bits: the last 4 must be zero


def event_id_text(raw: bytes) -> str:
    """`$` and 22 characters."""
    return "$" + id_text(raw)


def event_id_bytes(text: str) -> bytes | None:
    """The 16 bytes of an event id of ours, or None for any other text."""
    return id_bytes(text[1:]) if text.startswith("$") else None


def signed64(raw: bytes) -> int:
    """Eight bytes as PostgreSQL's int8."""
    return int.from_bytes(raw, "big", signed=True)
