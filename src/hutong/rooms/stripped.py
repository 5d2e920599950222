"""What somebody who is invited sees of a room before they are in it. Asked of the room's home, kept in memory only."""

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import Stripped
from hutong.cells.records import Envelope, Words
from hutong.cells.view import RoomInfo
from hutong.errors import MatrixError, NotFound
from hutong.ids import CellNo, MemberRef
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
        """At the room's home, for whoever is invited here.

        Cost: one statement, and one each for words and names that were not shown lately.
        """
        room = await self._cell.view.room(request.room)
        if room is None:
            raise NotFound("room_id: no such room")
        events = await self._cell.reads.stripped(request.room, request.ref, TYPES)
        envelopes = sorted((event.env for event in events), key=lambda env: _order(env, request.ref))
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


def _order(env: Envelope, invited: MemberRef) -> tuple[bool, int]:
    """As in TYPES, then who invites, then the invited one."""
    return env.target == invited, len(TYPES) if env.target is not None else TYPES.index(env.type)
