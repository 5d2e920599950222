"""What somebody who is invited sees of a room before they are in it. Asked of the room's home, kept in memory only."""

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import Stripped
from hutong.cells.records import Envelope, Words
from hutong.cells.view import RoomInfo
from hutong.errors import MatrixError, NotFound
from hutong.ids import CellNo, MemberRef, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms import event_types, render

TYPES = (
    event_types.CREATE,
    event_types.NAME,
    event_types.AVATAR,
    event_types.TOPIC,
    event_types.JOIN_RULES,
    event_types.CANONICAL_ALIAS,
    event_types.ENCRYPTION,
)
"""Source: "Stripped state"."""
LATEST = Seq(2**62)


class StrippedState:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def of(self, room: RoomInfo, invited: MemberRef) -> list[bytes] | None:
        """The stripped state for `invited`, their own membership last; None when the room's home is away now."""
        home = self._cell.cell_of(room.home)
        request = Stripped(room=room.room, ref=invited)
        if home == self._cell.number:
            return await self.answer(home, request)
        try:
            return await self._cell.link.call(home, request)
        except (LinkDown, MatrixError):
            self._cell.cuts.leave_out(home, room.room)
            return None

    async def answer(self, _: CellNo, request: Stripped) -> list[bytes]:
        """At the room's home, for whoever is invited here."""
        room = await self._cell.view.room(request.room)
        if room is None:
            raise NotFound("room_id: no such room")
        events = [await self._piece(request.room, type, 0) for type in TYPES]
        own = await self._piece(request.room, event_types.MEMBER, request.ref)
        if own is not None:
            inviter = await self._piece(request.room, event_types.MEMBER, own.sender)
            events += [inviter] if own.sender != request.ref else []
            events.append(own)
        envelopes = [env for env in events if env is not None]
        words = await self._cell.words.fetch(envelopes)
        names = await self._cell.names.fetch((request.room, ref) for env in envelopes for ref in env.people)
        shown = []
        for env in envelopes:
            said, sender = words.get(env.event_id), names.get((request.room, env.sender))
            if not isinstance(said, Words) or sender is None:
                continue
            state_key = said.state_key or ""
            if env.target is not None:
                state_key = names.get((request.room, env.target), "")
            shown.append(render.stripped(said, sender, state_key))
        return shown

    async def _piece(self, room: RoomNo, type: TypeCode, skey: int) -> Envelope | None:
        event = await self._cell.reads.state_event(room, type, StateKeyCode(skey), LATEST)
        return None if event is None else event.env
