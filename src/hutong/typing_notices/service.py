"""Who may say that they type, and which cells hear of it. Client-Server API v1.19, "Typing Notifications"."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hutong.cells.directory import Directory
from hutong.cells.link import Link
from hutong.cells.messages import Typing
from hutong.cells.records import Member
from hutong.cells.view import RoomInfo, View
from hutong.ids import AccountNo, CellNo, MemberRef, RoomNo
from hutong.rooms.access import Access
from hutong.rooms.event_types import Membership
from hutong.typing_notices.board import TypingBoard

TIMEOUT_MS_DEFAULT: Final = 30_000
TIMEOUT_MS_MAX: Final = 120_000


@dataclass(frozen=True, kw_only=True)
class TypingNotices:
    cell: CellNo
    access: Access
    view: View
    directory: Directory
    link: Link
    board: TypingBoard
    member_cells: Callable[[RoomNo], Awaitable[Iterable[CellNo]]]
    """The other cells with joined members of a room that is at home here."""
    members: Callable[[RoomNo, Iterable[MemberRef]], Awaitable[dict[MemberRef, Member]]]

    async def say(self, account: AccountNo, room_id: str, ms: int) -> None:
        """`account` types in a room for `ms` milliseconds from now on; 0: no longer.

        Raises: Forbidden (403) for who is not in the room.
        Cost: no statement, no log record; one message to the room's home when that is another cell.
        """
        seat = await self.access.joined(account, room_id)
        await self._spread(seat.room, Typing(room=seat.room.room, ref=seat.member.ref, ms=ms), self.cell)

    async def heard(self, src: CellNo, notice: Typing) -> None:
        """Another cell says so: the room's home, or, when that is this cell, a member's. Nobody else is listened to."""
        info = await self.view.room(notice.room)
        if info is None:
            return
        home = self.directory.cell_of(info.home)
        if src == home or (home == self.cell and await self._lives_in(src, notice)):
            await self._spread(info, notice, src)

    async def _lives_in(self, src: CellNo, notice: Typing) -> bool:
        """Whether who types is a member who is at home in `src`. Cost: a statement."""
        member = (await self.members(notice.room, [notice.ref])).get(notice.ref)
        return (
            member is not None and member.membership == Membership.JOIN and self.directory.cell_of(member.home) == src
        )

    async def _spread(self, info: RoomInfo, notice: Typing, src: CellNo) -> None:
        self.board.set(notice.room, notice.ref, min(notice.ms, TIMEOUT_MS_MAX))
        home = self.directory.cell_of(info.home)
        if home == self.cell:
            for cell in await self.member_cells(notice.room):
                if cell != src:
                    self.link.send(cell, notice)
        elif src == self.cell:
            self.link.send(home, notice)
