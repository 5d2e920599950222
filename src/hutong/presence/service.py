"""Who may see whose presence: oneself, and people in a common room. Client-Server API v1.19, "Presence".

It is kept in the memory of the person's own cell, and asked for, never spread: `/sync` tells nobody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hutong.accounts.names import parse_user_id
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.cells.cell import Cell
from hutong.cells.messages import PresenceOf, PresenceReply, rooms_by_call
from hutong.errors import BadParam, Forbidden, NotFound
from hutong.ids import AccountNo, CellNo, DeviceNo, region_of
from hutong.presence.board import Presence, PresenceBoard, State
from hutong.rooms.event_types import Membership

STATUS_CHARS_MAX = 512


@dataclass(frozen=True)
class PresenceOfPeople:
    cell: Cell
    accounts: Accounts
    board: PresenceBoard

    async def say(self, account: AccountNo, user_id: str, state: State, status: str | None) -> None:
        """Raises: Forbidden for somebody else, BadParam. Cost: nothing is written."""
        parse_user_id(user_id, "userId")
        if user_id != await self.accounts.user_id(account):
            raise Forbidden("userId: you can only say so of yourself")
        if status is not None and len(status) > STATUS_CHARS_MAX:
            raise BadParam("status_msg", f"has more than {STATUS_CHARS_MAX} characters")
        self.board.say(account, state, status)

    async def of(self, asker: AccountNo, user_id: str) -> Presence:
        """How somebody appears to `asker`.

        Raises: NotFound for who does not exist or shares no room with `asker`; BadParam; RegionAway.
        Cost: two statements here, two in the person's cell for each thousand rooms with people of their region. It is
        told of no others, and not asked when there are none.
        """
        localpart, server_name = parse_user_id(user_id, "userId")
        if user_id == await self.accounts.user_id(asker):
            return self.board.of(asker)
        region = self.cell.directory.region_of_server(server_name)
        found: PresenceReply | None = None
        if region is not None:
            near = region.number == self.cell.region.number
            home = (
                self.cell.cell_of(self.cell.names.home_of(localpart))
                if near
                else self.cell.directory.first_cell(region)
            )
            joined = [member.room for member in await self.cell.reads.rooms_of(asker, [Membership.JOIN])]
            where = await self.cell.reads.homes_in(joined)
            shared = {room for room, other in where if region_of(other) == region.number}
            for rooms in rooms_by_call(shared):
                found = await self._ask(home, PresenceOf(user_id=user_id, rooms=rooms))
                if found is not None:
                    break
        if found is None:
            raise NotFound("userId: there is no such person in a room of yours")
        return Presence(State(found.state), found.status, found.active_ago_ms)

    async def _ask(self, cell: CellNo, request: PresenceOf) -> PresenceReply | None:
        if cell == self.cell.number:
            return await self.answer(cell, request)
        return await self.cell.ask(cell, request)

    async def answer(self, src: CellNo, request: PresenceOf) -> PresenceReply | None:
        """Another cell asks for somebody who has joined one of the rooms."""
        localpart = request.user_id[1:].partition(":")[0]
        home = self.cell.cell_of(self.cell.names.home_of(localpart))
        if home != self.cell.number:  # asked as a cell of the region that knows the name
            return await self.cell.link.call(home, request)
        account = await self.accounts.find(localpart)
        if account is None:
            return None
        common = {member.room for member in await self.cell.reads.rooms_of(account, [Membership.JOIN])}
        if common.isdisjoint(request.rooms):
            return None
        seen = self.board.of(account)
        return PresenceReply(state=seen.state, status=seen.status, active_ago_ms=seen.active_ago_ms)

    async def forget(self, account: AccountNo, devices: Mapping[DeviceNo, str] | None) -> None:
        """Nothing is known any more of an account that goes."""
        if devices is None:
            self.board.forget(account)


def cell_presence(cell: Cell, accounts: Accounts, sessions: Sessions) -> PresenceOfPeople:
    """What `cell` does for presence: it answers other cells, and forgets who goes."""
    presence = PresenceOfPeople(cell, accounts, PresenceBoard(cell.now))
    sessions.leaving.append(presence.forget)
    cell.links.serve(cell.number, PresenceOf, presence.answer)
    return presence
