"""What the list of published rooms reads of the positioned tables, at the rooms' home. One statement each."""

from collections.abc import Sequence
from typing import Any

from asyncpg import Pool
from msgspec import Struct

from hutong.cells.records import Event
from hutong.cells.rows import EVENT_COLUMNS, event_of
from hutong.ids import HomeNo, RoomNo, TypeCode
from hutong.rooms.event_types import Membership
from hutong.rooms.projection import Projection, decode

_FACTS = f"""
    SELECT room, room_id, home, version, proj, (
        SELECT count(*) FROM members m WHERE m.room = r.room AND m.membership = {Membership.JOIN}) AS joined
    FROM rooms r WHERE room = ANY($1::int8[])"""
_SHOWN = f"""
    SELECT {", ".join("e." + name for name in EVENT_COLUMNS.split(", "))} FROM state s
    JOIN events e ON e.room = s.room AND e.seq = s.seq
    WHERE s.room = ANY($1::int8[]) AND s.type = ANY($2::int8[]) AND s.skey = 0"""


class RoomCount(Struct, frozen=True, kw_only=True):
    """A room and how many are joined to it."""

    room: RoomNo
    room_id: bytes
    home: HomeNo
    version: int
    projection: Projection
    joined: int


async def counts(pool: "Pool[Any]", rooms: Sequence[RoomNo]) -> list[RoomCount]:
    """Those of `rooms` that there are. Cost: grows with their members."""
    return [
        RoomCount(
            room=row["room"],
            room_id=row["room_id"].bytes,
            home=row["home"],
            version=row["version"],
            projection=decode(row["proj"]),
            joined=row["joined"],
        )
        for row in await pool.fetch(_FACTS, rooms)
    ]


async def shown(pool: "Pool[Any]", rooms: Sequence[RoomNo], types: Sequence[TypeCode]) -> list[Event]:
    """The current state events of these types with an empty state key."""
    return [event_of(row) for row in await pool.fetch(_SHOWN, rooms, types)]
