"""Whom a person does not want to hear from. Client-Server API v1.19, "Ignoring Users".

The list is account data, which only this cell writes: it is read once, and again after a change.
"""

from typing import Any, Final

import msgspec

from hutong.accounts.account_data import GLOBAL, AccountData
from hutong.errors import NotFound
from hutong.ids import AccountNo, RoomNo
from hutong.vault.vault import Gone

TYPE: Final = "m.ignored_user_list"
ACCOUNTS_KEPT_MAX: Final = 100_000
NOBODY: Final[frozenset[str]] = frozenset()
"""The one that all share who ignore nobody."""
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class IgnoredUsers:
    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data
        self._lists: dict[AccountNo, frozenset[str]] = {}
        self._changes = 0
        account_data.changed.append(self._forget)

    async def of(self, account: AccountNo) -> frozenset[str]:
        """The user ids that `account` ignores. Cost: a dictionary look-up, after the first time."""
        found = self._lists.get(account)
        if found is None:
            changes = self._changes
            found = await self._read(account)
            if changes == self._changes:  # nothing was written while we read
                if len(self._lists) >= ACCOUNTS_KEPT_MAX:
                    self._lists.clear()
                self._lists[account] = found
        return found

    async def _read(self, account: AccountNo) -> frozenset[str]:
        try:
            content = _OBJECT.decode(await self._account_data.get(account, GLOBAL, TYPE))
        except (NotFound, Gone):
            return NOBODY
        ignored = content.get("ignored_users")
        return frozenset(ignored) if isinstance(ignored, dict) and ignored else NOBODY

    def _forget(self, account: AccountNo, room: RoomNo, type: str) -> None:
        if room == GLOBAL and type == TYPE:
            self._changes += 1
            self._lists.pop(account, None)
