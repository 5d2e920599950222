"""Who may say that they type, and which cells hear of it. Client-Server API v1.19, "Typing Notifications"."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hutong.cells.directory import Directory
from hutong.cells.link import Link
from hutong.cells.messages import Typing
from hutong.cells.view import View
from hutong.errors import Forbidden
from hutong.ids import AccountNo, CellNo, RoomNo
from hutong.rooms.event_types import Membership
from hutong.typing_notices.board import TypingBoard

TIMEOUT_MS_DEFAULT: Final = 30_000
TIMEOUT_MS_MAX: Final = 120_000


@dataclass(frozen=True, kw_only=True)
class TypingNotices:
    cell: CellNo
    view: View
    directory: Directory
    link: Link
    board: TypingBoard
    member_cells: Callable[[RoomNo], Awaitable[Iterable[CellNo]]]
    """The other cells with joined members of a room that is at home here."""

    async def say(self, account: AccountNo, room_id: str, ms: int) -> None:
        """`account` types in a room for `ms` milliseconds from now on; 0: no longer.

        Raises: Forbidden (403) for who is not in the room.
        Cost: no statement, no log record; one message to the room's home when that is another cell.
        """
        room = self.view.room_no(room_id)
        member = None if room is None else await self.view.member(account, room)
        if room is None or member is None or member.membership != Membership.JOIN:
            raise Forbidden("roomId: you are not in this room")
        await self._spread(Typing(room=room, ref=member.ref, ms=min(ms, TIMEOUT_MS_MAX)), self.cell)

    async def heard(self, src: CellNo, notice: Typing) -> None:
        """Another cell says so: the room's home, or, when that is this cell, a member's. Unknown rooms are ignored."""
        await self._spread(notice, src)

    async def _spread(self, notice: Typing, src: CellNo) -> None:
        info = await self.view.room(notice.room)
        if info is None:
            return
        self.board.set(notice.room, notice.ref, min(notice.ms, TIMEOUT_MS_MAX))
        home = self.directory.cell_of(info.home)
        if home == self.cell:
            for cell in await self.member_cells(notice.room):
                if cell != src:
                    self.link.send(cell, notice)
        elif src == self.cell:
            self.link.send(home, notice)
