"""What an erased or deactivated account leaves behind in rooms, and how that goes. Every step may be done again."""

from hutong.cells.cell import Cell
from hutong.cells.messages import EraseRef
from hutong.directory.aliases import Aliases
from hutong.ids import AccountNo
from hutong.membership.service import Memberships
from hutong.rooms.event_types import Membership


class Departure:
    def __init__(self, cell: Cell, memberships: Memberships, aliases: Aliases) -> None:
        self._cell = cell
        self._memberships = memberships
        self._aliases = aliases

    async def leave_rooms(self, account: AccountNo) -> None:
        """Leave every room, decline every invitation. Raises: RegionAway when one of them cannot be told now."""
        await self._memberships.leave_all(account)

    async def delete_content(self, account: AccountNo) -> None:
        """Delete everything of `account`'s that lies here sealed. Raises: RegionAway."""
        await self._aliases.orphan(account)
        await self._cell.reads.delete_all_of(account)

    async def announce_erased(self, account: AccountNo) -> None:
        """Tell the cells of the person's rooms that nothing of them can be read any more. Raises: RegionAway."""
        for member in await self._cell.reads.rooms_of(account, list(Membership)):
            await self._cell.forget_person(member.room, member.ref)
            info = await self._cell.view.room(member.room)
            if info is None:
                continue
            home = self._cell.cell_of(info.home)
            request = EraseRef(room=member.room, ref=member.ref)
            await self._cell.ask(home, request)
