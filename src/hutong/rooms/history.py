"""A room's timeline and state at any place: from this cell's copy where that is complete, else from the room's home."""

from collections.abc import Collection
from typing import Any

from hutong.cells.cell import Cell
from hutong.cells.messages import EventById, Page, StateAt
from hutong.cells.records import Envelope
from hutong.cells.tokens import RoomToken, SyncToken, Tokens
from hutong.errors import BadParam, NotFound
from hutong.ids import MemberRef, Seq, event_id_bytes
from hutong.rooms.access import Access, Seat, Sight

PAGE_MAX = 1_000
OUT_OF_SIGHT = "eventId: no such event in your sight"


class History:
    """Cost of each method: one statement, or one call."""

    def __init__(self, cell: Cell, access: Access, tokens: Tokens) -> None:
        self._cell = cell
        self._access = access
        self._tokens = tokens

    async def visible(self, seat: Seat, event_id: str) -> tuple[Envelope, Sight]:
        """The event with this id, if it is in this room and in the caller's sight, and what else they may see.

        Raises: NotFound, RegionAway.
        """
        raw = event_id_bytes(event_id)
        env = None if raw is None else await self._by_id(seat, raw)
        sight = await self._access.sight(seat)
        if env is None or not sight.sees(env):
            raise NotFound(OUT_OF_SIGHT)
        return env, sight

    async def _by_id(self, seat: Seat, raw: bytes) -> Envelope | None:
        event = await self._cell.reads.event_by_id(raw)
        if event is not None:
            return event.env if event.env.room == seat.room.room else None
        home = self._cell.cell_of(seat.room.home)
        if home == self._cell.number:
            return None
        return await self._cell.ask(home, EventById(room=seat.room.room, event_id=raw))

    async def page(self, seat: Seat, start: Seq, limit: int, *, backwards: bool) -> list[Envelope]:
        """Envelopes after `start`, or at and before it, in that order. Raises: RegionAway."""
        if limit <= 0:
            return []
        room, own_from = seat.room.room, seat.room.from_seq
        limit = min(limit, PAGE_MAX)
        edge = Seq(start + 1) if backwards else start
        home = self._cell.cell_of(seat.room.home)
        if home == self._cell.number:
            found = await self._cell.reads.page(room, edge, limit, backwards=backwards)
            return _upto(seat, [event.env for event in found])
        envelopes: list[Envelope] = []
        if seat.joined and ((not backwards and start >= own_from - 1) or (backwards and start >= own_from)):
            found = await self._cell.reads.page(room, edge, limit, backwards=backwards, floor=own_from)
            envelopes = [event.env for event in found]
        if not envelopes and not (not backwards and seat.joined and start >= own_from - 1):
            reply = await self._cell.ask(home, Page(room=room, start=edge, backwards=backwards, limit=limit))
            envelopes = reply.envelopes
        return _upto(seat, envelopes)

    async def state_at(self, seat: Seat, at: Seq, members: Collection[MemberRef] | None = None) -> list[Envelope]:
        """The state as it was after `at`; with `members` no m.room.member but theirs. Raises: RegionAway."""
        home, room = self._cell.cell_of(seat.room.home), seat.room.room
        if home == self._cell.number or at >= seat.room.from_seq > 0:
            return [event.env for event in await self._cell.reads.state_at(room, at, members)]
        asked = StateAt(room=room, at=at, members=None if members is None else list(members))
        return (await self._cell.ask(home, asked)).envelopes

    async def place(self, seat: Seat, token: str | None, field: str, default: Any) -> Any:
        """The seq that a pagination token stands for. Raises: BadParam naming `field`."""
        if token is None:
            return default
        place = self._tokens.parse(token, seat.room.room, self._cell.tail.head, field)
        if isinstance(place, RoomToken):
            return place.seq
        if isinstance(place, SyncToken):
            return await self._cell.reads.seq_at(seat.room.room, place.pos)
        raise BadParam(field, "is a token of before this server's data was restored, or of another region; begin anew")

    def token(self, seat: Seat, seq: int) -> str:
        """A token for the place just after event `seq`."""
        return self._tokens.room(seat.room.room, seq)

    def token_at(self, seat: Seat, env: Envelope, *, backwards: bool) -> str:
        """A token for a page in that direction that begins with `env`."""
        return self.token(seat, env.seq if backwards else env.seq - 1)


def _upto(seat: Seat, envelopes: list[Envelope]) -> list[Envelope]:
    return [env for env in envelopes if seat.upto is None or env.seq <= seat.upto]
