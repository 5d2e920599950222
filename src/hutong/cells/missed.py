"""What a cell is told that was away for longer than `out` is kept: the same rows, made anew from the timelines.

The mark that the sweep left says that rows are missing before it. The cell asks which rooms it hears of and up to where
each is no longer in `out`, then for the events that it lacks, room by room; what is still in `out` follows as always.
So a cell that was away for a year ends where it would be had it never been away, and its people see no gap.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool

from hutong.cells.codes import OutKind
from hutong.cells.directory import Directory
from hutong.cells.messages import Missed, MissedReply, MissedRooms, OutRow
from hutong.cells.rows import TOLD_COLUMNS, TOLD_JOINS, told_of
from hutong.ids import CellNo, MemberRef, RoomNo, Seq
from hutong.rooms.event_types import MEMBER, Membership

EVENTS_MAX = 500

_ROOMS = f"""
    SELECT c.room, coalesce(kept.seq - 1, head.seq) AS upto
    FROM room_cells c
    LEFT JOIN (
        SELECT room, min(seq) AS seq FROM out WHERE dest = $1 AND n > $2 AND kind = {OutKind.EVENT} GROUP BY room
    ) kept ON kept.room = c.room
    CROSS JOIN LATERAL (SELECT seq FROM events WHERE room = c.room ORDER BY seq DESC LIMIT 1) head
    WHERE c.cell = $1"""
_EVENTS = f"""
    SELECT {TOLD_COLUMNS} FROM events e {TOLD_JOINS}
    WHERE e.room = $1 AND e.seq > $2 AND e.seq <= $3 ORDER BY e.seq LIMIT $4"""
_PEOPLE = "SELECT ref, home FROM members WHERE room = $1 AND membership > 0"
_MOVES = f"""
    SELECT seq, skey, value FROM events
    WHERE room = $1 AND type = {MEMBER} AND skey = ANY($2::int8[]) AND seq <= $3 ORDER BY seq"""


@dataclass(frozen=True)
class MissedRows:
    """The asked side: the cell whose `out` no longer has everything."""

    pool: "Pool[Any]"
    directory: Directory

    async def answer_rooms(self, src: CellNo, request: MissedRooms) -> list[tuple[RoomNo, Seq]]:
        """Cost: reads all that `out` has for the asking cell."""
        return [tuple(row) for row in await self.pool.fetch(_ROOMS, src, request.mark)]

    async def answer(self, src: CellNo, request: Missed) -> MissedReply:
        """Cost: three statements; reads the members of the room, and each move of those of the asking cell."""
        room = request.room
        members = await self.pool.fetch(_PEOPLE, room)
        people = {MemberRef(ref) for ref, home in members if self.directory.cell_of(home) == src}
        moves = deque(await self.pool.fetch(_MOVES, room, people, request.upto))
        rows = await self.pool.fetch(_EVENTS, room, request.after, request.upto, EVENTS_MAX)
        told: list[OutRow] = []
        seq = request.after
        joined: set[MemberRef] = set()
        for row in rows:
            env, redacts = told_of(row)
            assert env is not None
            seq = env.seq
            while moves and moves[0][0] <= env.seq:
                _, ref, value = moves.popleft()
                (joined.add if value == Membership.JOIN else joined.discard)(ref)
            # As when it was numbered: all of it to a cell with somebody in the room, else what is about its people.
            if joined or (env.target is not None and env.target in people):
                told.append(OutRow(n=0, room=room, seq=env.seq, kind=OutKind.EVENT, envelope=env, redacts=redacts))
        whole = len(rows) < EVENTS_MAX
        return MissedReply(rows=told, upto=request.upto if whole else seq)
