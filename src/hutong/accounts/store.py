"""The tables of accounts and all SQL on them. Words are sealed before they get here, and names hashed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from asyncpg import UniqueViolationError
from msgspec import Struct

from hutong.accounts.model import State, TokenKind
from hutong.engines.tables import Table
from hutong.ids import AccountNo, DeviceNo, Minute
from hutong.vault.vault import Sealed

if TYPE_CHECKING:
    from asyncpg import Pool, Record

ACCOUNTS = Table(
    "accounts",
    key="account",
    # since: when the state last changed. id and password_id: what the sealed columns were sealed for.
    envelope="account int8, state int2, bucket int2, since int4, id uuid null, password_id uuid null",
    hashed="name_key bytea",
    home="person bytea null, password bytea null",
    indexes=(
        "CREATE UNIQUE INDEX accounts_by_name ON accounts (name_key)",
        "CREATE INDEX accounts_unfinished ON accounts (state) WHERE state IN (2, 4)",
    ),
)
DEVICES = Table(
    "devices",
    key="account, device",
    envelope="account int8, seen int4, id uuid",
    hashed="device int8",
    home="body bytea",
)
TOKENS = Table(
    "tokens",
    key="token",
    # gen: how often the device has refreshed its tokens. expires: seconds since 1970, null: never.
    envelope="account int8, expires int8 null, gen int4, kind int2",
    hashed="device int8, token bytea",
    indexes=("CREATE INDEX tokens_by_device ON tokens (account, device)",),
)
FILTERS = Table(
    "filters", key="account, digest", envelope="account int8, id uuid", hashed="digest bytea", home="body bytea"
)

ALL = (ACCOUNTS, DEVICES, TOKENS, FILTERS)

INSERT_ACCOUNT = """
    INSERT INTO accounts (account, state, bucket, since, id, password_id, name_key, person, password)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""
ACCOUNT = "SELECT account, state, bucket, since, id, password_id, person, password FROM accounts"
ACTIVE_BY_NAMES = "SELECT name_key, account FROM accounts WHERE name_key = ANY($1::bytea[]) AND state = $2"
SET_PERSON = "UPDATE accounts SET id = $3, person = $4 WHERE account = $1 AND id = $2 AND state = 1 RETURNING account"
NEW_HASH = "UPDATE accounts SET password_id = $2, password = $3 WHERE account = $1 AND state = 1 RETURNING account"
# A device that logs in again loses its earlier tokens, and keeps its name.
START_SESSION = """
    WITH gone AS (DELETE FROM tokens WHERE account = $1 AND device = $2 RETURNING token),
    device AS (
        INSERT INTO devices (account, device, seen, id, body) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (account, device) DO UPDATE SET seen = excluded.seen),
    fresh AS (
        INSERT INTO tokens (account, device, gen, token, kind, expires)
        SELECT $1, $2, 0, * FROM unnest($6::bytea[], $7::int2[], $8::int8[]))
    SELECT token FROM gone"""
RESOLVE = """
    SELECT account, device, gen, expires, seen
    FROM tokens JOIN accounts USING (account) JOIN devices USING (account, device)
    WHERE token = $1 AND kind = $2 AND state = 1"""
PRUNE = "DELETE FROM tokens WHERE account = $1 AND device = $2 AND gen < $3 RETURNING token"
NEXT_TOKENS = """
    WITH gone AS (DELETE FROM tokens WHERE account = $1 AND device = $2 AND gen <> $3 RETURNING token),
    fresh AS (
        INSERT INTO tokens (account, device, gen, token, kind, expires)
        SELECT $1, $2, $3 + 1, * FROM unnest($4::bytea[], $5::int2[], $6::int8[]))
    SELECT token FROM gone"""
SEEN = "UPDATE devices SET seen = $3 WHERE account = $1 AND device = $2"
DEVICES_OF = "SELECT device, seen, id, body FROM devices WHERE account = $1"
DEVICES_OF_ALL = "SELECT account, device, seen, id, body FROM devices WHERE account = ANY($1)"
RENAME = "UPDATE devices SET id = $3, body = $4 WHERE account = $1 AND device = $2 RETURNING device"
DROP_DEVICES = """
    WITH gone AS (DELETE FROM tokens WHERE account = $1 AND device = ANY($2) RETURNING token),
    devices AS (DELETE FROM devices WHERE account = $1 AND device = ANY($2))
    SELECT token FROM gone"""
MARK = """
    WITH marked AS (
        UPDATE accounts SET state = $2, since = $3, password = NULL, password_id = NULL
        WHERE account = $1 AND state = ANY($4) RETURNING account)
    DELETE FROM tokens WHERE account = (SELECT account FROM marked) RETURNING token"""
UNFINISHED = "SELECT account, state, since FROM accounts WHERE state IN (2, 4)"
CLEAR = """
    WITH devices AS (DELETE FROM devices WHERE account = $1), filters AS (DELETE FROM filters WHERE account = $1)
    DELETE FROM tokens WHERE account = $1"""
FINISH = "UPDATE accounts SET state = $3, id = $4, person = $5 WHERE account = $1 AND state = $2"
PUT_FILTER = "INSERT INTO filters (account, digest, id, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
FILTER = "SELECT id, body FROM filters WHERE account = $1 AND digest = $2"


class NameTaken(Exception):
    """Somebody has, or had, this name."""


class AccountRow(Struct, frozen=True):
    account: AccountNo
    state: State
    bucket: int
    since: Minute
    id: UUID | None
    password_id: UUID | None
    person: bytes | None
    password: bytes | None


class TokenRow(Struct, frozen=True):
    account: AccountNo
    device: DeviceNo
    gen: int
    expires: int | None
    seen: Minute


class DeviceRow(Struct, frozen=True):
    device: DeviceNo
    seen: Minute
    id: UUID
    body: bytes


class FreshToken(Struct, frozen=True):
    """A token that is about to be given out; `expires` in seconds since 1970."""

    sha: bytes
    kind: TokenKind
    expires: int | None


@dataclass(frozen=True)
class AccountStore:
    """One cell's accounts, devices, tokens and filters."""

    pool: "Pool[Record]"

    async def insert(
        self, account: AccountNo, bucket: int, since: Minute, name_key: bytes, id: UUID, person: Sealed,
        password_id: UUID, password: Sealed,
    ) -> None:  # fmt: skip
        """Raises: NameTaken."""
        try:
            await self.pool.execute(
                INSERT_ACCOUNT, account, State.ACTIVE, bucket, since, id, password_id, name_key, person, password
            )
        except UniqueViolationError:
            raise NameTaken from None

    async def by_name(self, name_key: bytes) -> AccountRow | None:
        return _account(await self.pool.fetchrow(f"{ACCOUNT} WHERE name_key = $1", name_key))

    async def active_by_names(self, name_keys: Sequence[bytes]) -> dict[bytes, AccountNo]:
        """Those of `name_keys` that are the names of living accounts."""
        rows = await self.pool.fetch(ACTIVE_BY_NAMES, name_keys, State.ACTIVE)
        return {row["name_key"]: row["account"] for row in rows}

    async def by_number(self, account: AccountNo) -> AccountRow | None:
        return _account(await self.pool.fetchrow(f"{ACCOUNT} WHERE account = $1", account))

    async def by_numbers(self, accounts: Sequence[AccountNo]) -> list[AccountRow]:
        rows = await self.pool.fetch(f"{ACCOUNT} WHERE account = ANY($1)", accounts)
        return [found for row in rows if (found := _account(row))]

    async def numbers(self) -> list[AccountNo]:
        """Every account, whatever its state."""
        return [row["account"] for row in await self.pool.fetch("SELECT account FROM accounts")]

    async def not_erased(self) -> list[AccountNo]:
        rows = await self.pool.fetch("SELECT account FROM accounts WHERE state <> $1", State.ERASED)
        return [row["account"] for row in rows]

    async def set_person(self, account: AccountNo, old_id: UUID, id: UUID, person: Sealed) -> bool:
        """Put `person` in place of what was sealed for `old_id`. False: somebody else did meanwhile."""
        return await self.pool.fetchval(SET_PERSON, account, old_id, id, person) is not None

    async def set_password(self, account: AccountNo, id: UUID, password: Sealed) -> bool:
        return await self.pool.fetchval(NEW_HASH, account, id, password) is not None

    async def start_session(
        self, account: AccountNo, device: DeviceNo, seen: Minute, id: UUID, body: Sealed, tokens: Sequence[FreshToken]
    ) -> list[bytes]:
        """Returns the tokens that the device had before, which are no longer valid."""
        return _tokens(await self.pool.fetch(START_SESSION, account, device, seen, id, body, *_columns(tokens)))

    async def resolve(self, sha: bytes, kind: TokenKind) -> TokenRow | None:
        row = await self.pool.fetchrow(RESOLVE, sha, kind)
        return TokenRow(*row.values()) if row else None

    async def prune(self, account: AccountNo, device: DeviceNo, gen: int) -> list[bytes]:
        """Forget the tokens from before the device's refresh number `gen`, and say which they were."""
        return _tokens(await self.pool.fetch(PRUNE, account, device, gen))

    async def next_tokens(
        self, account: AccountNo, device: DeviceNo, gen: int, tokens: Sequence[FreshToken]
    ) -> list[bytes]:
        """Add tokens of generation `gen` + 1; those of all but `gen` are forgotten, and returned."""
        return _tokens(await self.pool.fetch(NEXT_TOKENS, account, device, gen, *_columns(tokens)))

    async def seen(self, account: AccountNo, device: DeviceNo, minute: Minute) -> None:
        await self.pool.execute(SEEN, account, device, minute)

    async def devices(self, account: AccountNo) -> list[DeviceRow]:
        return [DeviceRow(*row.values()) for row in await self.pool.fetch(DEVICES_OF, account)]

    async def devices_of_all(self, accounts: Sequence[AccountNo]) -> list[tuple[AccountNo, DeviceRow]]:
        rows = await self.pool.fetch(DEVICES_OF_ALL, accounts)
        return [(row["account"], DeviceRow(*list(row.values())[1:])) for row in rows]

    async def device(self, account: AccountNo, device: DeviceNo) -> DeviceRow | None:
        row = await self.pool.fetchrow(f"{DEVICES_OF} AND device = $2", account, device)
        return DeviceRow(*row.values()) if row else None

    async def rename(self, account: AccountNo, device: DeviceNo, id: UUID, body: Sealed) -> bool:
        return await self.pool.fetchval(RENAME, account, device, id, body) is not None

    async def drop_devices(self, account: AccountNo, devices: Sequence[DeviceNo]) -> list[bytes]:
        """Forget `devices` with their tokens, and say which those were."""
        return _tokens(await self.pool.fetch(DROP_DEVICES, account, devices))

    async def mark(self, account: AccountNo, state: State, since: Minute, before: Sequence[State]) -> list[bytes]:
        """Move an account that is in one of the states `before` to `state`, without password and tokens."""
        return _tokens(await self.pool.fetch(MARK, account, state, since, before))

    async def unfinished(self) -> list[tuple[AccountNo, State, Minute]]:
        """The accounts that are on their way out, each with its state and since when."""
        rows = await self.pool.fetch(UNFINISHED)
        return [(row["account"], State(row["state"]), row["since"]) for row in rows]

    async def clear(self, account: AccountNo) -> None:
        """Forget devices, tokens and filters."""
        await self.pool.execute(CLEAR, account)

    async def finish(
        self, account: AccountNo, before: State, state: State, id: UUID | None, person: Sealed | None
    ) -> None:
        await self.pool.execute(FINISH, account, before, state, id, person)

    async def put_filter(self, account: AccountNo, digest: bytes, id: UUID, body: Sealed) -> None:
        await self.pool.execute(PUT_FILTER, account, digest, id, body)

    async def filter(self, account: AccountNo, digest: bytes) -> tuple[UUID, bytes] | None:
        row = await self.pool.fetchrow(FILTER, account, digest)
        return (row["id"], row["body"]) if row else None


def _account(row: "Record | None") -> AccountRow | None:
    if row is None:
        return None
    account, state, *rest = row.values()
    return AccountRow(account, State(state), *rest)


def _tokens(rows: "list[Record]") -> list[bytes]:
    return [row["token"] for row in rows]


def _columns(tokens: Sequence[FreshToken]) -> list[list[Any]]:
    return [[token.sha for token in tokens], [token.kind for token in tokens], [token.expires for token in tokens]]
