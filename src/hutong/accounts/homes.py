"""Which cell's accounts a request is about: by token, by user id, or by what it says about the region."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hutong.accounts import tokens
from hutong.accounts.account_data import AccountData
from hutong.accounts.erasure import Erasure
from hutong.accounts.filters import Filters
from hutong.accounts.model import TokenKind
from hutong.accounts.names import UserId, fold, parse_user_id
from hutong.accounts.profiles import Profiles
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.config import Config, Region
from hutong.errors import BadParam, Forbidden, UnknownToken
from hutong.http.request import Caller
from hutong.ids import CellNo


@dataclass(frozen=True)
class CellAccounts:
    """What one cell does for its accounts."""

    number: CellNo
    region: Region
    accounts: Accounts
    sessions: Sessions
    profiles: Profiles
    account_data: AccountData
    filters: Filters
    erasure: Erasure


class Homes:
    """Every cell that this process serves, and the way to it. Cost of each look-up: a dictionary."""

    def __init__(self, config: Config, cells: Mapping[CellNo, CellAccounts]) -> None:
        self._cells = cells
        self._regions = {region.name: region for region in config.local_regions}
        self._by_server = {region.server_name: region for region in config.local_regions}
        # The default region first: there a bare name is looked for first.
        self._in_order = sorted(config.local_regions, key=lambda region: region.name != config.default_region)

    def of(self, caller: Caller) -> CellAccounts:
        return self._cells[caller.cell]

    def region(self, asked: str | None, bound: str | None) -> Region:
        """The region that a newcomer goes to: the one `asked` for, else the one that the request was sent to.

        Raises: BadParam, naming the regions there are.
        """
        name = asked or bound
        if name is None:
            return self._in_order[0]
        if name not in self._regions:
            raise BadParam("hutong.region", f"is none of {', '.join(self._regions)}")
        return self._regions[name]

    def serving(self, region: Region, localpart: str) -> CellAccounts:
        """The cell that serves, or would serve, the person with this name."""
        bucket = self._any(region).accounts.bucket(localpart)
        return self._cells[region.cell_of(bucket).number]

    def candidates(self, user: str, asked: str | None, bound: str | None) -> tuple[str, list[CellAccounts]]:
        """The localpart that somebody who logs in as `user` means, and where to look for it, in order.

        A user id says its region; a bare name is looked for in the region asked for or sent to, else in all.
        Raises: Forbidden, naming the servers there are; BadParam.
        """
        if user.startswith("@"):
            user_id = parse_user_id(user, "identifier.user")
            region = self._by_server.get(user_id.server_name)
            if region is None:
                raise Forbidden(f"identifier.user: {user_id.server_name} is none of {', '.join(self._by_server)}")
            regions = [region]
            localpart = fold(user_id.localpart)
        else:
            regions = [self.region(asked, bound)] if asked or bound else self._in_order
            localpart = fold(user)
        return localpart, [self.serving(region, localpart) for region in regions]

    def find(self, user_id: UserId) -> CellAccounts | None:
        """The cell of a person of this process, or None when another server's name is in the user id."""
        region = self._by_server.get(user_id.server_name)
        return None if region is None else self.serving(region, user_id.localpart)

    def asking(self, bound: str | None) -> CellAccounts:
        """The cell that asks for somebody who has not said who they are."""
        return self._any(self._regions.get(bound or "", self._in_order[0]))

    def __iter__(self) -> Iterator[CellAccounts]:
        return iter(self._cells.values())

    # --- who calls ---

    async def authenticate(self, token: str) -> Caller:
        """Raises: UnknownToken."""
        return await self.of_token(token, TokenKind.ACCESS).sessions.resolve(token)

    def authenticate_cached(self, token: str) -> Caller | None:
        """Who calls, if that is in memory. No I/O."""
        cell = tokens.cell_of(token, TokenKind.ACCESS, self._regions)
        found = self._cells.get(cell) if cell is not None else None
        return None if found is None else found.sessions.resolve_cached(token)

    def of_token(self, token: str, kind: TokenKind) -> CellAccounts:
        """Raises: UnknownToken."""
        cell = tokens.cell_of(token, kind, self._regions)
        found = self._cells.get(cell) if cell is not None else None
        if found is None:
            raise UnknownToken
        return found

    def _any(self, region: Region) -> CellAccounts:
        return self._cells[region.cells[0].number]
