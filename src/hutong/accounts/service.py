"""The accounts of one cell: registering, finding, and proving who somebody is."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from uuid import UUID

from msgspec import json

from hutong.accounts.model import PERSON, Account, Person, State
from hutong.accounts.names import UserId, registrable
from hutong.accounts.passwords import Passwords
from hutong.accounts.store import AccountRow, AccountStore, NameTaken
from hutong.config import Region
from hutong.errors import Conflict, MatrixError, NotFound
from hutong.ids import AccountNo, HomeNo, Minute, home_no, new_id
from hutong.vault.blind import BlindIndex
from hutong.vault.keystore import Keystore
from hutong.vault.vault import Gone, Sealed, Vault

NAMES_MAX = 100_000
LISTED_AT_ONCE = 1_000
_TRIES_MAX = 10


class UserInUse(MatrixError):
    """Somebody has this name, or had it before they were erased."""

    errcode = "M_USER_IN_USE"


class Accounts:
    """One cell's accounts. `AccountNo` never leaves the cell; abroad a person is a ref."""

    def __init__(
        self, region: Region, store: AccountStore, keystore: Keystore, vault: Vault, blind: BlindIndex,
        passwords: Passwords, now: Callable[[], float], random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._region = region
        self._store = store
        self._keystore = keystore
        self._vault = vault
        self._blind = blind
        self._passwords = passwords
        self._now = now
        self._random = random
        self._names: OrderedDict[AccountNo, str] = OrderedDict()  # a name never changes, so memory may keep it

    # --- registering ---

    async def available(self, username: str) -> str:
        """The localpart that `username` would get.

        Raises: BadUsername, UserInUse.
        """
        localpart = registrable(username, self._region.server_name)
        if await self._store.by_name(self._blind.name(localpart)) is not None:
            raise UserInUse(f"username: @{localpart}:{self._region.server_name} is taken")
        return localpart

    def check_password(self, password: str, field: str = "password") -> None:
        """Whether it may become somebody's password. Raises: MatrixError M_WEAK_PASSWORD, BadParam."""
        self._passwords.check_new(password, field)

    async def register(self, username: str, password: str) -> AccountNo:
        """A new account, durable when this returns.

        Raises: BadUsername, UserInUse, M_WEAK_PASSWORD.
        Cost: one Argon2 in a thread, a share of a keystore write, two statements.
        """
        self.check_password(password)
        localpart = await self.available(username)
        hashed = await self._passwords.hash(password)
        account = await self._keystore.allocate()
        id, person = self._seal(account, json.encode(Person(localpart=localpart)))
        password_id, sealed = self._seal(account, hashed)
        try:
            await self._store.insert(
                account, self._blind.bucket(localpart), self._minute(), self._blind.name(localpart),
                id, person, password_id, sealed,
            )  # fmt: skip
        except NameTaken:
            # Two asked for it at the same time. The key that was made is swept at the next start.
            raise UserInUse(f"username: @{localpart}:{self._region.server_name} is taken") from None
        return account

    # --- finding ---

    async def find(self, localpart: str) -> AccountNo | None:
        """A living account by its localpart. Cost: one statement."""
        row = await self._store.by_name(self._blind.name(localpart))
        return row.account if row is not None and row.state is State.ACTIVE else None

    async def find_many(self, localparts: Iterable[str]) -> dict[str, AccountNo]:
        """The living accounts among `localparts`. Cost: one statement."""
        by_key = {self._blind.name(localpart): localpart for localpart in localparts}
        found = await self._store.active_by_names(list(by_key)) if by_key else {}
        return {by_key[key]: account for key, account in found.items()}

    async def user_ids(self, accounts: Iterable[AccountNo]) -> dict[AccountNo, str]:
        """The user ids of `accounts`; those who are erased are absent.

        Cost: one statement for all that are not in memory.
        """
        wanted = list(accounts)
        localparts = {number: name for number in wanted if (name := self._names.get(number)) is not None}
        missing = [number for number in wanted if number not in localparts]
        for row in await self._store.by_numbers(missing) if missing else []:
            person = self._open_person(row)
            if person is not None:
                localparts[row.account] = person.localpart
                self._remember(row.account, person.localpart)
        return {number: str(UserId(name, self._region.server_name)) for number, name in localparts.items()}

    async def user_id(self, account: AccountNo) -> str:
        """Raises: NotFound when erased."""
        found = (await self.user_ids([account])).get(account)
        if found is None:
            raise NotFound("user_id: there is no such account any more")
        return found

    def home_of(self, localpart: str) -> HomeNo:
        return home_no(self._region.number, self._blind.bucket(localpart))

    def bucket(self, localpart: str) -> int:
        return self._blind.bucket(localpart)

    async def account(self, number: AccountNo) -> Account | None:
        """The account as it stands in the database, whatever its state."""
        row = await self._store.by_number(number)
        if row is None:
            return None
        return Account(number=row.account, state=row.state, bucket=row.bucket, person=self._open_person(row))

    async def everyone(self) -> AsyncIterator[tuple[State, str | None]]:
        """The state and the user id of every account there ever was; no user id: erased. For the operator."""
        numbers = await self._store.numbers()
        for start in range(0, len(numbers), LISTED_AT_ONCE):
            rows = await self._store.by_numbers(numbers[start : start + LISTED_AT_ONCE])
            names = await self.user_ids([row.account for row in rows])
            for row in rows:
                yield State(row.state), names.get(row.account)

    async def profile(self, localpart: str) -> dict[str, Any] | None:
        """The public profile of a living account, or None when there is none. Cost: one statement."""
        row = await self._store.by_name(self._blind.name(localpart))
        person = self._open_person(row) if row is not None and row.state is State.ACTIVE else None
        return None if person is None else person.fields

    async def profile_of(self, account: AccountNo) -> dict[str, Any]:
        """What rooms may show of an account; nothing of one that is gone. Cost: one statement."""
        row = await self._store.by_number(account)
        person = self._open_person(row) if row is not None else None
        return {} if person is None else person.fields

    async def change_person(self, account: AccountNo, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bool:
        """Put `change(fields)` in place of the profile's fields. Returns whether that made a difference.

        Raises: NotFound, and whatever `change` raises.
        """
        for _ in range(_TRIES_MAX):
            row = await self._store.by_number(account)
            person = self._open_person(row) if row is not None and row.state is State.ACTIVE else None
            if row is None or row.id is None or person is None:
                raise NotFound("user_id: there is no such account any more")
            fields = change(dict(person.fields))
            if fields == person.fields:
                return False
            id, sealed = self._seal(account, json.encode(Person(localpart=person.localpart, fields=fields)))
            if await self._store.set_person(account, row.id, id, sealed):
                return True
        raise Conflict("profile: is being changed from elsewhere at the same time; try again")

    # --- passwords ---

    async def prove(self, localpart: str, password: str) -> AccountNo | None:
        """The living account of this name, if `password` is right. Takes as long for somebody who does not exist."""
        row = await self._store.by_name(self._blind.name(localpart))
        if row is None or row.state is not State.ACTIVE or row.password is None or row.password_id is None:
            await self._passwords.verify(None, password)
            return None
        try:
            kept: bytes | None = self._vault.open(row.account, row.password_id.bytes, row.password)
        except Gone:
            kept = None
        return row.account if await self._passwords.verify(kept, password) else None

    async def set_password(self, account: AccountNo, password: str) -> None:
        """Raises: M_WEAK_PASSWORD, NotFound."""
        self.check_password(password, "new_password")
        id, sealed = self._seal(account, await self._passwords.hash(password))
        if not await self._store.set_password(account, id, sealed):
            raise NotFound("user_id: there is no such account any more")

    # --- inside ---

    def forget(self, account: AccountNo) -> None:
        """Drop what memory has of `account`, which has been erased."""
        self._names.pop(account, None)

    def _remember(self, account: AccountNo, localpart: str) -> None:
        self._names[account] = localpart
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    def _seal(self, account: AccountNo, plain: bytes) -> tuple[UUID, Sealed]:
        id = new_id(self._minute(), self._random)
        return UUID(bytes=id), self._vault.seal(account, id, plain)

    def _open_person(self, row: AccountRow) -> Person | None:
        if row.person is None or row.id is None:
            return None
        try:
            return PERSON.decode(self._vault.open(row.account, row.id.bytes, row.person))
        except Gone:
            return None

    def _minute(self) -> Minute:
        return Minute(int(self._now() // 60))
