"""Whose keys changed between two syncs. Client-Server API v1.19, GET /keys/changes.

A sync token is a position in the reader's own log, and the keys of people in other cells change without one. So the
question is asked by time, with some minutes to spare for clocks that differ: somebody too many is harmless, since the
client only asks for their keys once more; nobody may be missing.
"""

import asyncio
from dataclasses import dataclass

from hutong.accounts.service import Accounts
from hutong.cells.cell import Cell
from hutong.cells.key_messages import KeysChanged
from hutong.cells.messages import rooms_by_call
from hutong.cells.tokens import Tokens
from hutong.errors import BadParam
from hutong.ids import AccountNo, CellNo, Minute, RoomNo
from hutong.keys.store import KeyStore
from hutong.rooms.event_types import Membership

CLOCKS_DIFFER_MINUTES = 5


@dataclass(frozen=True)
class Changes:
    cell: Cell
    store: KeyStore
    accounts: Accounts
    tokens: Tokens

    async def between(self, account: AccountNo, start: str, end: str) -> list[str]:
        """The user ids of those who share a room with `account`, and may have changed their keys since `start`.

        Raises: BadParam for what is no token of this cell; RegionAway when a region cannot say.
        Cost: four statements here; for each thousand rooms with people of a cell, a call to it and two statements.
        A cell is told only of rooms that it has people in.
        """
        head = self.cell.tail.head
        since = self.tokens.parse_sync(start, head, "from")
        until = self.tokens.parse_sync(end, head, "to")
        if since is None or until is None:
            raise BadParam("from" if since is None else "to", "is a token of another time; sync afresh")
        rooms = [member.room for member in await self.cell.reads.rooms_of(account, [Membership.JOIN])]
        minute = Minute(await self.cell.reads.minute_at(since.pos) - CLOCKS_DIFFER_MINUTES)
        shared: dict[CellNo, set[RoomNo]] = {}
        for room, home in await self.cell.reads.homes_in(rooms):
            shared.setdefault(self.cell.cell_of(home), set()).add(room)

        async def ask(cell: CellNo, part: list[RoomNo]) -> list[str]:
            request = KeysChanged(rooms=part, since=minute)
            if cell == self.cell.number:
                return await self.answer(cell, request)
            return await self.cell.ask(cell, request)

        asked = (ask(cell, part) for cell, common in shared.items() for part in rooms_by_call(common))
        return sorted({user_id for found in await asyncio.gather(*asked) for user_id in found})

    async def answer(self, _: CellNo, request: KeysChanged) -> list[str]:
        """Who of those at home here has joined one of the rooms, and changed their keys."""
        accounts = await self.cell.reads.accounts_in(request.rooms)
        changed = await self.store.changed(accounts, request.since)
        return list((await self.accounts.user_ids(changed)).values())
