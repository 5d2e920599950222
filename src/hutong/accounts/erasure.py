"""How an account goes: step by step, so that a start in the middle carries on where it stopped.

Deactivated: it can no longer log in, leaves its rooms, and loses its devices, filters and profile; what it wrote stays.
Erased: its contents are deleted as well and its key is destroyed, so that no backup of the database opens them.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from msgspec import json

from hutong.accounts.model import Person, State
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.accounts.store import AccountStore
from hutong.ids import AccountNo, Minute, new_id
from hutong.vault.keystore import Keystore
from hutong.vault.pages import Slot
from hutong.vault.vault import Gone, Vault

log = logging.getLogger("hutong.accounts")

ANSWER_SECONDS = 5.0
"""How long a client waits for the steps after the first; they go on without it."""


class Departure(Protocol):
    """What the other slices do when somebody goes. Each step may be done again."""

    async def leave_rooms(self, account: AccountNo) -> None:
        """Leave every room, decline every invitation."""

    async def delete_content(self, account: AccountNo) -> None:
        """Delete everything of `account`'s that the positioned tables hold sealed."""

    async def announce_erased(self, account: AccountNo) -> None:
        """Tell the cells of the rooms that nothing of this person can be read any more."""


class Erasure:
    """Deactivation and erasure of one cell's accounts.

    `grace_hours`: how long an erased account's key is kept after its rows are gone.
    """

    def __init__(
        self, store: AccountStore, accounts: Accounts, sessions: Sessions, keystore: Keystore, vault: Vault,
        departure: Departure, now: Callable[[], float], random: Callable[[int], bytes], *, grace_hours: int = 0,
    ) -> None:  # fmt: skip
        self._store = store
        self._accounts = accounts
        self._sessions = sessions
        self._keystore = keystore
        self._vault = vault
        self._departure = departure
        self._now = now
        self._random = random
        self._grace_minutes = grace_hours * 60
        self._running: dict[AccountNo, asyncio.Task[None]] = {}

    async def deactivate(self, account: AccountNo, *, erase: bool) -> None:
        """Begin, and wait a little for the end. When this returns, no token of the account is valid.

        Later failures are taken up again by `resume`.
        """
        await self.mark(account, erase=erase)
        state = State.ERASING if erase else State.CLOSING
        await asyncio.wait([self._start(account, state, self._minute())], timeout=ANSWER_SECONDS)

    async def mark(self, account: AccountNo, *, erase: bool) -> None:
        """The first step: from here on the account cannot log in, nor be found."""
        state, before = (
            (State.ERASING, (State.ACTIVE, State.CLOSING, State.CLOSED)) if erase else (State.CLOSING, (State.ACTIVE,))
        )
        self._sessions.drop(await self._store.mark(account, state, self._minute(), before))

    async def mark_destroyed(self) -> list[AccountNo]:
        """Mark for erasure whoever has no key any more though the database knows them: it was restored from a backup
        of before they were erased. For starts, before anybody is served. Returns who it was.
        """
        gone = [
            account for account in await self._store.not_erased() if self._keystore.state(account) is Slot.DESTROYED
        ]
        for account in gone:
            await self.mark(account, erase=True)
        return gone

    async def erase(self, account: AccountNo) -> None:
        """Erase `account`, and return when it is done. For the command line. Raises what a step raises."""
        await self.mark(account, erase=True)
        await self._finish(account, State.ERASING, self._minute())

    async def resume(self) -> int:
        """Take up what was interrupted or waits for its grace to end. For starts, and now and then.

        Returns how many accounts are still on their way out.
        """
        unfinished = await self._store.unfinished()
        if unfinished:
            await asyncio.wait([self._start(*one) for one in unfinished])
        return len(await self._store.unfinished()) if unfinished else 0

    async def stop(self) -> None:
        """Stop between two steps; the next start goes on."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _start(self, account: AccountNo, state: State, since: Minute) -> asyncio.Task[None]:
        if account not in self._running:
            task = asyncio.get_running_loop().create_task(self._try(account, state, since))
            self._running[account] = task
            task.add_done_callback(lambda _: self._running.pop(account, None))
        return self._running[account]

    async def _try(self, account: AccountNo, state: State, since: Minute) -> None:
        try:
            await self._finish(account, state, since)
        except Exception as error:
            # Whatever it was (a region that is away, a database that restarts), every step can be done again.
            log.warning("an account is still on its way out: %s; trying again later", type(error).__name__)

    async def _finish(self, account: AccountNo, state: State, since: Minute) -> None:
        try:
            await self._departure.leave_rooms(account)
        except Gone:
            # The key was destroyed before the database was restored: nothing can be sealed for a farewell any more.
            log.warning("an account that was erased before a restore is left in its rooms, without a name")
        await self._sessions.leave(account)
        await self._store.clear(account)
        if state is State.CLOSING:
            found = await self._accounts.account(account)
            if found is not None and found.person is not None:
                id = new_id(self._minute(), self._random)
                name_only = json.encode(Person(localpart=found.person.localpart))
                sealed = self._vault.seal(account, id, name_only)
                await self._store.finish(account, State.CLOSING, State.CLOSED, UUID(bytes=id), sealed)
            return
        await self._departure.delete_content(account)
        if self._minute() - since < self._grace_minutes:
            return
        await self._keystore.destroy(account)
        self._accounts.forget(account)
        await self._departure.announce_erased(account)
        await self._store.finish(account, State.ERASING, State.ERASED, None, None)

    def _minute(self) -> Minute:
        return Minute(int(self._now() // 60))
