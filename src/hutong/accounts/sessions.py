"""Devices and their tokens: logging a device in, refreshing, finding out who calls, logging out.

Client-Server API v1.19, "Using access tokens", "Refreshing access tokens", "Device Management".
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from msgspec import json

from hutong.accounts import tokens
from hutong.accounts.model import (
    DEVICE_BODY,
    DEVICE_ID_CHARS_MAX,
    DEVICE_NAME_CHARS_MAX,
    Device,
    DeviceBody,
    Login,
    TokenKind,
)
from hutong.accounts.store import AccountStore, DeviceRow, FreshToken
from hutong.accounts.tokens import TokenCache
from hutong.config import Cell
from hutong.errors import BadParam, NotFound, UnknownToken
from hutong.http.request import Caller
from hutong.ids import AccountNo, DeviceNo, Minute, new_id
from hutong.vault.blind import BlindIndex
from hutong.vault.vault import Gone, Sealed, Vault

ACCESS_SECONDS = 3_600
"""How long an access token lasts for a client that can refresh it. Any other client's lasts until it logs out."""
SEEN_MINUTES = 60
DEVICE_ID_CHARS = 10
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


Leaving = Callable[[AccountNo, Mapping[DeviceNo, str] | None], Awaitable[None]]
"""(account, its devices by number with their ids; None: all of it)."""


class Sessions:
    """The devices of one cell's accounts."""

    def __init__(
        self, cell: Cell, store: AccountStore, vault: Vault, blind: BlindIndex,
        now: Callable[[], float], random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self._cell = cell
        self._store = store
        self._vault = vault
        self._blind = blind
        self._now = now
        self._random = random
        self._cache = TokenCache(now)
        self.ended: list[Callable[[Caller], None]] = []
        """Each is told of a caller whose token has just died, so that what waits for that caller can end."""
        self.leaving: list[Leaving] = []
        """Each forgets what it has of devices that are about to be forgotten here."""

    # --- who calls ---

    def resolve_cached(self, token: str) -> Caller | None:
        """Who calls, if that is in memory. Cost: one SHA-256 and a look-up."""
        return self._cache.get(tokens.fingerprint(token))

    async def resolve(self, token: str) -> Caller:
        """Who calls with this access token.

        Raises: UnknownToken; with `soft_logout` when it has expired and the device is still logged in.
        Cost: nothing once cached, else one statement; two more for the first use of a refreshed token.
        """
        sha = tokens.fingerprint(token)
        cached = self._cache.get(sha)
        if cached is not None:
            return cached
        epoch = self._cache.epoch
        row = await self._store.resolve(sha, TokenKind.ACCESS)
        if row is None:
            raise UnknownToken
        if row.expires is not None and row.expires <= self._now():
            raise UnknownToken("access token: has expired; refresh it or log in again", soft_logout=True)
        if row.gen > 0:
            # The client has the new tokens, so the ones from before are not needed any more.
            older = await self._store.prune(row.account, row.device, row.gen)
            undisturbed = self._cache.epoch == epoch
            self._drop(older)
            epoch = self._cache.epoch if undisturbed else epoch
        if self._minute() - row.seen >= SEEN_MINUTES:
            await self._store.seen(row.account, row.device, self._hour())
        caller = Caller(cell=self._cell.number, account=row.account, device=row.device, token=sha)
        self._cache.put(caller, row.expires, epoch)
        return caller

    # --- logging in and out ---

    async def start(self, account: AccountNo, device_id: str | None, name: str | None, *, refreshable: bool) -> Login:
        """Log a device in. A device id that is known already keeps its name and loses its earlier tokens.

        Raises: BadParam.
        """
        if device_id is None:
            device_id = "".join(_LETTERS[byte % len(_LETTERS)] for byte in self._random(DEVICE_ID_CHARS))
        check_device_id(device_id)
        check_device_name(name, "initial_device_display_name")
        login, fresh = self._fresh(account, device_id, refreshable=refreshable)
        id, body = self._sealed(account, DeviceBody(device_id=device_id, name=name))
        gone = await self._store.start_session(account, self._blind.device(device_id), self._hour(), id, body, fresh)
        self._drop(gone)
        return login

    async def refresh(self, token: str) -> Login:
        """New tokens for the device that has this refresh token, which stays valid until the new ones are used.

        Raises: UnknownToken.
        """
        row = await self._store.resolve(tokens.fingerprint(token), TokenKind.REFRESH)
        device = await self._store.device(row.account, row.device) if row else None
        if row is None or device is None:
            raise UnknownToken("refresh_token: unknown, or used already")
        device_id = self._open(row.account, device).device_id
        login, fresh = self._fresh(row.account, device_id, refreshable=True)
        self._drop(await self._store.next_tokens(row.account, row.device, row.gen, fresh))
        return login

    async def end(self, account: AccountNo, devices: Sequence[DeviceNo]) -> None:
        """Log `devices` out and forget them. Their tokens are dead when this returns."""
        going = {device.number: device.device_id for device in await self.devices(account) if device.number in devices}
        for forget in self.leaving if going else ():
            await forget(account, going)
        self._drop(await self._store.drop_devices(account, devices))

    async def end_all(self, account: AccountNo, *, but: DeviceNo | None = None) -> None:
        """Log every device of `account` out, except `but`."""
        rows = await self._store.devices(account)
        await self.end(account, [row.device for row in rows if row.device != but])

    async def leave(self, account: AccountNo) -> None:
        """The account goes: everybody forgets what they have of its devices. Before the devices themselves go."""
        for forget in self.leaving:
            await forget(account, None)

    def drop(self, shas: Iterable[bytes]) -> None:
        """These tokens have been taken out of the database: nobody calls with them any more."""
        self._drop(shas)

    # --- devices ---

    async def devices(self, account: AccountNo) -> list[Device]:
        rows = await self._store.devices(account)
        return sorted((self._open(account, row) for row in rows), key=lambda device: device.device_id)

    async def all_devices(self, accounts: Sequence[AccountNo]) -> dict[AccountNo, list[Device]]:
        """The devices of each of `accounts`; none of who is being erased.

        Cost: one statement, and one seal opened for each device.
        """
        found: dict[AccountNo, list[Device]] = {}
        for account, row in await self._store.devices_of_all(accounts):
            with suppress(Gone):
                found.setdefault(account, []).append(self._open(account, row))
        return found

    async def device(self, account: AccountNo, device_id: str) -> Device:
        """Raises: NotFound."""
        return await self.device_of(account, self._blind.device(device_id))

    async def device_of(self, account: AccountNo, number: DeviceNo) -> Device:
        """Raises: NotFound."""
        row = await self._store.device(account, number)
        if row is None:
            raise NotFound("device_id: you have no such device")
        return self._open(account, row)

    async def rename(self, account: AccountNo, device_id: str, name: str | None) -> None:
        """Raises: NotFound, BadParam."""
        check_device_name(name, "display_name")
        device = await self.device(account, device_id)
        if name is None:
            return
        id, body = self._sealed(account, DeviceBody(device_id=device.device_id, name=name))
        if not await self._store.rename(account, device.number, id, body):
            raise NotFound("device_id: you have no such device")

    def number(self, device_id: str) -> DeviceNo:
        return self._blind.device(device_id)

    # --- inside ---

    def _fresh(self, account: AccountNo, device_id: str, *, refreshable: bool) -> tuple[Login, list[FreshToken]]:
        kinds = (TokenKind.ACCESS, TokenKind.REFRESH) if refreshable else (TokenKind.ACCESS,)
        texts = [tokens.make(kind, self._cell.region, self._cell.index, self._random) for kind in kinds]
        expires = {TokenKind.ACCESS: int(self._now()) + ACCESS_SECONDS} if refreshable else {}
        fresh = [
            FreshToken(tokens.fingerprint(text), kind, expires.get(kind))
            for text, kind in zip(texts, kinds, strict=True)
        ]
        login = Login(
            account=account,
            device_id=device_id,
            access_token=texts[0],
            refresh_token=texts[1] if refreshable else None,
            expires_in_ms=ACCESS_SECONDS * 1_000 if refreshable else None,
        )
        return login, fresh

    def _drop(self, shas: Iterable[bytes]) -> None:
        for caller in self._cache.drop(shas):
            for told in self.ended:
                told(caller)

    def _sealed(self, account: AccountNo, body: DeviceBody) -> tuple[UUID, Sealed]:
        id = new_id(self._minute(), self._random)
        return UUID(bytes=id), self._vault.seal(account, id, json.encode(body))

    def _open(self, account: AccountNo, row: DeviceRow) -> Device:
        body = DEVICE_BODY.decode(self._vault.open(account, row.id.bytes, row.body))
        return Device(number=row.device, device_id=body.device_id, name=body.name, seen=row.seen)

    def _minute(self) -> Minute:
        return Minute(int(self._now() // 60))

    def _hour(self) -> Minute:
        minute = self._minute()
        return Minute(minute - minute % SEEN_MINUTES)


def check_device_id(device_id: str) -> None:
    """Raises: BadParam."""
    if not 0 < len(device_id) <= DEVICE_ID_CHARS_MAX:
        raise BadParam("device_id", f"has no character, or more than {DEVICE_ID_CHARS_MAX}")
    if not device_id.isprintable():
        raise BadParam("device_id", "holds a control character, or one that cannot be seen")


def check_device_name(name: str | None, field: str) -> None:
    """Raises: BadParam."""
    if name is not None and len(name) > DEVICE_NAME_CHARS_MAX:
        raise BadParam(field, f"has more than {DEVICE_NAME_CHARS_MAX} characters")
