"""Profiles between cells: of somebody at home elsewhere, and for whoever asks about somebody at home here."""

from dataclasses import dataclass

from msgspec import json

from hutong.accounts.service import Accounts
from hutong.cells.cell import Cell
from hutong.cells.messages import ProfileOf
from hutong.ids import CellNo


@dataclass(frozen=True)
class ProfileLink:
    cell: Cell
    accounts: Accounts

    async def ask(self, user_id: str) -> bytes | None:
        """The public profile of a person of any region, as JSON; None: no such person. Raises: RegionAway."""
        region = self.cell.directory.region_of_user(user_id)
        if region is None:
            return None
        dest = self.cell.directory.first_cell(region)
        return await self.cell.ask(dest, ProfileOf(user_id=user_id))

    async def answer(self, _: CellNo, request: ProfileOf) -> bytes | None:
        """For another cell; passed on when another cell of this region has that name."""
        localpart = request.user_id[1:].partition(":")[0]
        home = self.cell.cell_of(self.cell.names.home_of(localpart))
        if home != self.cell.number:
            return await self.cell.link.call(home, request)
        profile = await self.accounts.profile(localpart)
        return None if profile is None else json.encode(profile)
