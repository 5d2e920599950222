"""A room that is created with an alias, or into the list of published rooms: all of it, or nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hutong.cells.cell import Cell
from hutong.directory.alias import Alias, local_alias
from hutong.directory.aliases import Aliases
from hutong.directory.published import PublishedRooms
from hutong.errors import MatrixError
from hutong.ids import AccountNo, HomeNo, room_no


class Opening:
    def __init__(self, cell: Cell, aliases: Aliases, published: PublishedRooms) -> None:
        self._cell = cell
        self._aliases = aliases
        self._published = published

    def alias(self, localpart: str) -> Alias:
        """The alias of the cell's region with this local part. Raises: BadParam naming `room_alias_name`."""
        return local_alias(localpart, self._cell.region.server_name, "room_alias_name")

    @asynccontextmanager
    async def of(
        self, account: AccountNo, room_id: bytes, version: int, home: HomeNo, alias: Alias | None, *, public: bool
    ) -> AsyncIterator[None]:
        """Around the creation of a room of this cell. When it is refused, neither alias nor publication is left.

        Raises: MatrixError `M_ROOM_IN_USE` (400) when the alias stands for another room; Forbidden.
        """
        room, begun = room_no(room_id), False
        if public:
            await self._published.begin(room)
        try:
            if alias is None:
                begun = True
                yield
                return
            taken = MatrixError(f"room_alias_name: {alias} stands for a room already", errcode="M_ROOM_IN_USE")
            async with self._aliases.held(account, alias, self._aliases.claim(room_id, version, home), taken):
                begun = True
                yield
        except MatrixError as error:
            if public and (error.status < 500 or not begun):  # else the room may be there
                await self._published.withdraw(room)
            raise
