"""What a writer knows of the rooms it writes: counters, the projection, members and state that operations asked for.

It runs ahead of the tables by the batch under way; readers use `View` instead. When a batch fails, the rooms that it
touched are dropped and read again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asyncpg import Pool

from hutong.cells.records import Leaving, Member
from hutong.cells.rows import leaving_of, member_of
from hutong.ids import CellNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms.event_types import Membership
from hutong.rooms.projection import Projection, decode

ROOMS_MAX = 50_000
NO_SEQ = Seq(0)
SEQ_BITS_PER_MINUTE = 20
Counters = tuple[dict[CellNo, int], dict[CellNo, int]]
"""What `Memory.cursors` and `Memory.out_numbers` were."""
StateKey = tuple[TypeCode, StateKeyCode]
ReceiptKey = tuple[MemberRef, int, int]
"""Whose marker, its type, its thread."""


_CURSORS = "SELECT src, max(n) AS n FROM in_cursor GROUP BY src"
_OUT_NUMBERS = "SELECT dest, max(n) AS n FROM out GROUP BY dest"


class NotLoaded(Exception):
    """An operation met a room that was dropped after it was prepared: prepare it again."""


@dataclass(slots=True)
class RoomState:
    """One room as the next event will find it. In a copy of another cell's room, only what arrived here."""

    room: RoomNo
    room_id: bytes
    home: HomeNo
    version: int
    from_seq: Seq
    head: Seq = NO_SEQ
    notes: int = 0
    shouts: int = 0
    projection: Projection | None = None
    members: dict[MemberRef, Member] = field(default_factory=dict)
    state: dict[StateKey, Seq | None] = field(default_factory=dict)
    receipts: dict[ReceiptKey, Seq] = field(default_factory=dict)
    cells: dict[CellNo, int] = field(default_factory=dict)
    """Other cells that hear of this room, with their role."""
    joined: dict[HomeNo, int] = field(default_factory=dict)
    """Joined members by home."""
    leaving: dict[MemberRef, Leaving] = field(default_factory=dict)
    """People of this cell who have left, of which the room's home has not heard."""


_LOAD = """
    SELECT r.room_id, r.home, r.version, r.from_seq, r.proj, coalesce(e.seq, 0) AS head, coalesce(e.notes, 0) AS notes,
        coalesce(e.shouts, 0) AS shouts, coalesce(e.pos, 0) AS pos
    FROM rooms r
    LEFT JOIN LATERAL (
        SELECT seq, notes, shouts, pos FROM events WHERE room = r.room ORDER BY seq DESC LIMIT 1
    ) e ON true
    WHERE r.room = $1"""
_CELLS = "SELECT cell, role FROM room_cells WHERE room = $1"
_JOINED = f"SELECT home, count(*) AS n FROM members WHERE room = $1 AND membership = {Membership.JOIN} GROUP BY home"
_LEAVING = "SELECT room, ref, account, event_id, seq, ends, pos, minute FROM leaving WHERE room = $1"
_MEMBERS = "SELECT room, ref, account, home, membership, seq, forgotten FROM members WHERE room = $1 AND ref = ANY($2)"
_STATE = """
    SELECT s.type, s.skey, s.seq FROM unnest($2::int8[], $3::int8[]) AS k(type, skey)
    JOIN state s ON s.room = $1 AND s.type = k.type AND s.skey = k.skey"""

_RECEIPTS = """
    SELECT r.ref, r.rtype, r.thread, r.seq FROM unnest($2::int8[], $3::int2[], $4::int8[]) AS k(ref, rtype, thread)
    JOIN receipts r ON r.room = $1 AND r.ref = k.ref AND r.rtype = k.rtype AND r.thread = k.thread"""


class Memory:
    """The rooms of one writer. Loading is asynchronous and adds only what is absent, so it never undoes a batch."""

    def __init__(
        self, pool: "Pool[Any]", restored: Minute = Minute(0), restored_pos: Pos = Pos(0), rooms_max: int = ROOMS_MAX
    ) -> None:
        """`restored`: when the database was last restored, with its log ending at `restored_pos`; 0: never.

        What it had numbered after the backup was taken is gone here and may still be in other cells. So numbering goes
        on from the clock, above anything that was given out: once per room, and in every outbox.
        """
        self._pool = pool
        self._restored = restored
        self._restored_pos = restored_pos
        self._rooms_max = rooms_max
        self._rooms: OrderedDict[RoomNo, RoomState] = OrderedDict()
        self.voided: set[bytes] = set()
        """Ids of events that must never come to be: their sender's home was told so."""
        self.cursors: dict[CellNo, int] = {}
        """The last number ingested from the `out` of each other cell."""
        self.out_numbers: dict[CellNo, int] = {}
        """The last number given out in the `out` for each other cell."""

    def room(self, room: RoomNo) -> RoomState:
        """The room as the batch under way has made it. Raises NotLoaded."""
        state = self._rooms.get(room)
        if state is None:
            raise NotLoaded
        self._rooms.move_to_end(room)
        return state

    def get(self, room: RoomNo) -> RoomState | None:
        return self._rooms.get(room)

    def add(self, state: RoomState) -> None:
        """A room that this batch makes."""
        self._rooms[state.room] = state

    def drop(self, rooms: Iterable[RoomNo]) -> None:
        """Forget `rooms`: what the tables say is the truth again."""
        for room in rooms:
            self._rooms.pop(room, None)

    async def load_counters(self) -> None:
        """Read them from the tables, while nobody writes."""
        cursors, numbers = await self._pool.fetch(_CURSORS), await self._pool.fetch(_OUT_NUMBERS)
        self.undo((), (dict(map(tuple, cursors)), dict(map(tuple, numbers))))

    def counters(self) -> Counters:
        """As they are now, for `undo`."""
        return dict(self.cursors), dict(self.out_numbers)

    def undo(self, rooms: Iterable[RoomNo], counters: Counters) -> None:
        """Take back what a batch did that is not in the tables: a number given out but never written is a gap."""
        self.drop(rooms)
        for counter, before in zip((self.cursors, self.out_numbers), counters, strict=True):
            counter.clear()
            counter.update(before)

    def clear(self) -> None:
        self._rooms.clear()

    def trim(self) -> None:
        """Forget the rooms longest unused beyond the limit. Only between batches."""
        while len(self._rooms) > self._rooms_max:
            self._rooms.popitem(last=False)

    async def load(self, room: RoomNo) -> RoomState | None:
        """The room, read when it is not here. Cost: four statements the first time, none afterwards."""
        if room in self._rooms:
            return self._rooms[room]
        row = await self._pool.fetchrow(_LOAD, room)
        if row is None:
            return None
        state = RoomState(
            room=room,
            room_id=row["room_id"].bytes,
            home=row["home"],
            version=row["version"],
            from_seq=row["from_seq"],
            head=self._head(row["head"], row["pos"]),
            notes=row["notes"],
            shouts=row["shouts"],
            projection=decode(row["proj"]),
        )
        state.cells = dict(map(tuple, await self._pool.fetch(_CELLS, room)))
        state.joined = dict(map(tuple, await self._pool.fetch(_JOINED, room)))
        state.leaving = {row["ref"]: leaving_of(row) for row in await self._pool.fetch(_LEAVING, room)}
        return self._rooms.setdefault(room, state)

    def _head(self, head: Seq, pos: Pos) -> Seq:
        """The seq after which the room goes on, given its last event in the tables."""
        lost = self._restored and pos <= self._restored_pos
        return max(head, Seq(self._restored << SEQ_BITS_PER_MINUTE)) if lost else head

    def know(self, member: Member) -> None:
        """A member record was made a moment ago, and nothing was said about it yet."""
        state = self._rooms.get(member.room)
        if state is not None:
            state.members.setdefault(member.ref, member)

    async def load_members(self, state: RoomState, refs: Iterable[MemberRef]) -> None:
        """Make sure that `state.members` knows each of `refs` that has a row."""
        missing = [ref for ref in refs if ref not in state.members]
        if missing:
            for row in await self._pool.fetch(_MEMBERS, state.room, missing):
                state.members.setdefault(row["ref"], member_of(row))

    async def load_state(self, state: RoomState, keys: Iterable[StateKey]) -> None:
        """Make sure that `state.state` knows each of `keys`; None stands for "never set"."""
        missing = [key for key in keys if key not in state.state]
        if missing:
            types, skeys = zip(*missing, strict=True)
            found = {(r["type"], r["skey"]): r["seq"] for r in await self._pool.fetch(_STATE, state.room, types, skeys)}
            for key in missing:
                state.state.setdefault(key, found.get(key))

    async def load_receipts(self, state: RoomState, keys: Iterable[ReceiptKey]) -> None:
        """Make sure that `state.receipts` knows each of `keys`; 0 stands for "never set"."""
        missing = [key for key in keys if key not in state.receipts]
        if missing:
            refs, rtypes, threads = zip(*missing, strict=True)
            rows = await self._pool.fetch(_RECEIPTS, state.room, refs, rtypes, threads)
            found = {(row["ref"], row["rtype"], row["thread"]): row["seq"] for row in rows}
            for key in missing:
                state.receipts.setdefault(key, found.get(key, Seq(0)))
