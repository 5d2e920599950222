"""Which room a room id means, where its home is, and what of it somebody may see.

A room is always looked up through the caller's membership of it, so that the look-up is the permission.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import Locate, RoomFacts, SightOf, SightReply
from hutong.cells.records import Envelope, Member
from hutong.cells.relations import END_OF_ROOM, EVERYTHING
from hutong.cells.view import RoomInfo, raw_room_id, room_id_text
from hutong.errors import BadParam, Forbidden, NotFound
from hutong.ids import AccountNo, CellNo, Seq, StateKeyCode, room_no
from hutong.rooms.event_types import HISTORY_VISIBILITY, MEMBER, HistoryVisibility, Membership
from hutong.rooms.visibility import seen_ranges, value_at, visible

ROOM_ID_BYTES_MAX = 255
_ROOM_ID = re.compile(r"![^:\0]{1,255}(?::[^\0\s]{1,230})?")
_STRANGE = "you are not in this room"
_NOWHERE = "roomId: no such room"


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Somebody in a room. `upto`: the last seq they may know of, when they are not in it any more."""

    room: RoomInfo
    member: Member
    upto: Seq | None = None

    @property
    def joined(self) -> bool:
        return self.member.membership == Membership.JOIN


class Sight:
    """What one member may see of a room's past, from the history of its visibility and of their membership."""

    def __init__(self, reply: SightReply, seat: Seat) -> None:
        self._visibility = reply.visibility
        self._membership = reply.membership
        self._upto = seat.upto
        self._ref = seat.member.ref
        joins = [seq for seq, value in reply.membership if value == Membership.JOIN]
        self._last_join = joins[-1] if joins else Seq(0)
        shared = all(value <= HistoryVisibility.SHARED for _, value in reply.visibility)
        self._all = shared and seat.joined
        self.ranges = (
            EVERYTHING
            if self._all
            else tuple(seen_ranges(reply.visibility, reply.membership, seat.upto or END_OF_ROOM))
        )
        """The seqs that the member sees, from and to."""

    def sees(self, env: Envelope) -> bool:
        """Whether the member may see `env`. Cost: two binary searches, or nothing in a room with shared history."""
        if self._all:
            return True
        if self._upto is not None and env.seq > self._upto:
            return False
        visibility = value_at(self._visibility, env.seq, HistoryVisibility.SHARED)
        membership = value_at(self._membership, env.seq, Membership.LEAVE)
        own = env.type == MEMBER and env.skey == StateKeyCode(self._ref)
        changes = env.type == HISTORY_VISIBILITY and env.skey == 0
        before = Seq(env.seq - 1)
        return visible(
            HistoryVisibility(visibility),
            Membership(membership),
            joined_later=self._last_join > env.seq,
            visibility_before=(
                HistoryVisibility(value_at(self._visibility, before, HistoryVisibility.SHARED)) if changes else None
            ),
            membership_before=Membership(value_at(self._membership, before, Membership.LEAVE)) if own else None,
        )

    def nearest(self, at: Seq) -> Seq:
        """`at` if the member sees the room of then; else the next place from which they do: their leaving at last."""
        if self._upto is not None and at >= self._upto:
            return self._upto
        seen = (max(at, first) for first, last in self.ranges if at <= last)
        return next(seen, self._upto or at)

    def membership_at(self, seq: Seq) -> int:
        """The member's own membership after event `seq`."""
        moves = self._membership
        if moves and seq >= moves[-1][0]:
            return moves[-1][1]
        return value_at(moves, seq, Membership.LEAVE)


class Access:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def seat(self, account: AccountNo, room_id: str) -> Seat:
        """The caller's place in a room that they are in, or were.

        Raises: BadParam for no room id, Forbidden (403) for a room that they never were in, or that is none.
        """
        room, member = await self._look(account, room_id)
        if member.forgotten:
            raise Forbidden("you have forgotten this room")
        if member.membership == Membership.JOIN:
            return Seat(room=room, member=member)
        if member.membership in (Membership.LEAVE, Membership.BAN):
            # Their last event may be younger than their leaving: a ban, or another invitation that they declined.
            left = await self._cell.reads.left_at(room.room, member.ref)
            if left is not None:
                return Seat(room=room, member=member, upto=left)
        raise Forbidden(_STRANGE)

    async def joined(self, account: AccountNo, room_id: str) -> Seat:
        """The caller's place in a room that they are in now. Raises: BadParam, Forbidden."""
        room, member = await self._look(account, room_id)
        if member.membership != Membership.JOIN:
            raise Forbidden(_STRANGE)
        return Seat(room=room, member=member)

    async def involved(self, account: AccountNo, room_id: str) -> Seat:
        """The caller's place in a room that they have to do with: invited, banned, left. Raises as `joined`."""
        room, member = await self._look(account, room_id)
        return Seat(room=room, member=member)

    async def sight(self, seat: Seat) -> Sight:
        """Cost: nothing lately, at the room's home; else one statement, or one call when the past before this cell's
        copy of the room may matter.
        """
        request = SightOf(room=seat.room.room, ref=seat.member.ref)
        home = self._cell.cell_of(seat.room.home)
        if home == self._cell.number:
            return Sight(await self._cell.view.sight(seat.room.room, seat.member.ref), seat)
        if seat.room.from_seq == 1:
            return Sight(await self._cell.answer_sight(self._cell.number, request), seat)
        try:
            return Sight(await self._cell.link.call(home, request), seat)
        except LinkDown:
            return Sight(await self._cell.answer_sight(self._cell.number, request), seat)

    async def locate(self, room_id: str, via: Iterable[str] = ()) -> RoomFacts:
        """The room with this id, wherever its home is: known here, said by its domain, by `via`, else by asking all.

        Raises: BadParam, NotFound, RegionAway when the only region that could know does not answer.
        """
        raw = checked_room_id(room_id)
        known = await self._cell.view.room(room_no(raw))
        if known is not None and known.raw_id == raw:
            return self._named(known.facts, room_id)
        asked, away = set(), None
        for cell in self._candidates(room_id, via):
            if cell in asked:
                continue
            asked.add(cell)
            try:
                facts = await self._cell.link.call(cell, Locate(room_id=raw))
            except LinkDown:
                away = cell
                continue
            if facts is not None:
                return self._named(facts, room_id)
        if away is not None:
            raise self._cell.away(away)
        raise NotFound(_NOWHERE)

    def _named(self, facts: RoomFacts, room_id: str) -> RoomFacts:
        """`facts`, if they are about a room that is called so: the same id with another server's name is no room."""
        if room_id_text(facts.room_id, facts.version, self._cell.directory.server_name(facts.home)) != room_id:
            raise NotFound(_NOWHERE)
        return facts

    def _candidates(self, room_id: str, via: Iterable[str]) -> list[CellNo]:
        directory = self._cell.directory
        named = [room_id.partition(":")[2], *via]
        regions = [region for name in named if (region := directory.region_of_server(name)) is not None]
        cells = [cell.number for region in regions for cell in region.cells]
        return cells if ":" in room_id else [*cells, *directory.cells()]

    async def _look(self, account: AccountNo, room_id: str) -> tuple[RoomInfo, Member]:
        room = room_no(checked_room_id(room_id))
        info = await self._cell.view.room(room)
        if info is None or info.room_id != room_id:
            raise Forbidden(_STRANGE)
        member = await self._cell.view.member(account, room)
        if member is None or member.membership == 0:
            raise Forbidden(_STRANGE)
        return info, member


def checked_room_id(room_id: str) -> bytes:
    """The 128-bit id within `room_id`. Raises: BadParam for what is no room id, NotFound for another server's."""
    if not _ROOM_ID.fullmatch(room_id) or len(room_id.encode()) > ROOM_ID_BYTES_MAX:
        raise BadParam("roomId", "is not a room id")
    raw = raw_room_id(room_id)
    if raw is None:
        raise Forbidden(_STRANGE)
    return raw
