"""What a state event whose words are gone still says, since the room goes on by it."""

from typing import Any

from hutong.cells.cell import Cell
from hutong.cells.names import erased_id
from hutong.cells.records import Envelope
from hutong.cells.view import room_id_text
from hutong.ids import CellNo, Seq
from hutong.rooms import redaction
from hutong.rooms.event_types import STRUCTURAL, Membership

NOW = Seq(2**62)


class NameAway(Exception):
    """Somebody who is named cannot be asked for, since `cell` does not answer: to call them erased would be false."""

    def __init__(self, cell: CellNo) -> None:
        super().__init__(cell)
        self.cell = cell


class Governing:
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def content(self, env: Envelope) -> dict[str, Any] | None:
        """The content by which the room goes on; None for what governs nothing, now or ever.

        Raises: NameAway.
        Cost: nothing for other types; else one statement, and names.
        """
        if env.skey != 0 or env.type not in STRUCTURAL:
            return None
        room = await self._cell.view.room(env.room)
        current = await self._cell.reads.state_event(env.room, env.type, env.skey, NOW)
        if room is None or current is None or current.env.seq != env.seq:
            return None
        refs = redaction.refs_in(env.type, room.projection)
        users, away = await self._cell.names.look_up((room.room, ref) for ref in refs)
        if away:
            raise NameAway(next(iter(away.values())))
        server = self._cell.directory.server_name(room.home)
        return redaction.content_from_projection(
            env.type,
            room.projection,
            redaction.Names(
                user_id=lambda ref: users.get((room.room, ref)) or erased_id(ref, server),
                room_id=lambda raw: room_id_text(raw, room.version, server),
            ),
            Membership.LEAVE,
        )
