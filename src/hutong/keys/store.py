"""The tables of keys and all SQL on them. Everything that a client chose is sealed, or hashed, before it gets here."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from hutong.engines.tables import Table
from hutong.ids import AccountNo, DeviceNo, Minute
from hutong.vault.vault import Sealed

if TYPE_CHECKING:
    from asyncpg import Pool, Record

DEVICE_KEYS = Table(
    "device_keys", key="account, device", envelope="account int8, id uuid", hashed="device int8", home="body bytea"
)
ONE_TIME_KEYS = Table(
    "one_time_keys",
    key="account, device, key",
    # upload: ascending; keys are given out in the order in which they came. No body: given out, never to come back.
    envelope="account int8, upload int8, id uuid",
    hashed="device int8, algorithm bytea, key bytea",
    home="body bytea null",
)
FALLBACK_KEYS = Table(
    "fallback_keys",
    key="account, device, algorithm",
    envelope="account int8, used bool, id uuid",
    hashed="device int8, algorithm bytea",
    home="body bytea",
)
CROSS_SIGNING_KEYS = Table(
    "cross_signing_keys", key="account, usage", envelope="account int8, usage int2, id uuid", home="body bytea"
)
KEY_SIGNATURES = Table(
    "key_signatures",
    key="account, target",
    # account: who signed. target: whose key, and which; about: whose key.
    envelope="account int8, id uuid",
    hashed="target bytea, about bytea",
    home="body bytea",
)
KEY_CHANGES = Table("key_changes", key="account", envelope="account int8, minute int4")

ALL = (DEVICE_KEYS, ONE_TIME_KEYS, FALLBACK_KEYS, CROSS_SIGNING_KEYS, KEY_SIGNATURES, KEY_CHANGES)

# Who uploads new identity keys under an old device id cannot answer to what was encrypted for the old ones.
DROP_KEYS = tuple(
    f"DELETE FROM {table.name} WHERE account = $1 AND device = ANY($2)"
    for table in (DEVICE_KEYS, ONE_TIME_KEYS, FALLBACK_KEYS)
)
DROP_SIGNATURES = "DELETE FROM key_signatures WHERE account = $1 AND target = ANY($2)"
DROP_ALL = tuple(f"DELETE FROM {table.name} WHERE account = $1" for table in ALL if table is not KEY_CHANGES)
CHANGED = """
    INSERT INTO key_changes (account, minute) VALUES ($1, $2)
    ON CONFLICT (account) DO UPDATE SET minute = excluded.minute"""
PUT_DEVICE_KEYS = """
    INSERT INTO device_keys (account, device, id, body) VALUES ($1, $2, $3, $4)
    ON CONFLICT (account, device) DO UPDATE SET id = excluded.id, body = excluded.body"""
PUT_ONE_TIME = """
    INSERT INTO one_time_keys (account, device, upload, algorithm, key, id, body)
    SELECT $1, $2, (SELECT coalesce(max(upload), 0) + 1 FROM one_time_keys WHERE account = $1 AND device = $2), *
    FROM unnest($3::bytea[], $4::bytea[], $5::uuid[], $6::bytea[])
    ON CONFLICT DO NOTHING"""
PUT_FALLBACK = """
    INSERT INTO fallback_keys (account, device, used, algorithm, id, body)
    SELECT $1, $2, false, * FROM unnest($3::bytea[], $4::uuid[], $5::bytea[])
    ON CONFLICT (account, device, algorithm) DO UPDATE
        SET used = false, id = excluded.id, body = excluded.body"""
FORGET_GIVEN = "DELETE FROM one_time_keys WHERE account = $1 AND device = $2 AND body IS NULL AND id < $3"
DEVICE_KEYS_OF = "SELECT account, device, id, body FROM device_keys WHERE account = ANY($1)"
ONE_TIME_OF = "SELECT key, id, body FROM one_time_keys WHERE account = $1 AND device = $2 AND key = ANY($3)"
FALLBACK_OF = "SELECT id, body FROM fallback_keys WHERE account = $1 AND device = $2 AND used = ANY($3)"
# One key of each algorithm, so that the name of the algorithm can be read, and how many there are of it.
COUNTS = """
    SELECT DISTINCT ON (algorithm) id, body, count(*) OVER (PARTITION BY algorithm) AS many FROM one_time_keys
    WHERE account = $1 AND device = $2 AND body IS NOT NULL ORDER BY algorithm"""
CLAIM = """
    WITH next AS (
        SELECT asked.n, first.* FROM unnest($1::int8[], $2::int8[], $3::bytea[]) WITH ORDINALITY
            AS asked(account, device, algorithm, n)
        CROSS JOIN LATERAL (
            SELECT k.account, k.device, k.key, k.id, k.body FROM one_time_keys k
            WHERE k.account = asked.account AND k.device = asked.device AND k.algorithm = asked.algorithm
                AND k.body IS NOT NULL
            ORDER BY k.upload, k.key LIMIT 1 FOR UPDATE SKIP LOCKED) first)
    UPDATE one_time_keys o SET body = NULL FROM next
    WHERE o.account = next.account AND o.device = next.device AND o.key = next.key
    RETURNING next.n, next.id, next.body"""
CLAIM_FALLBACK = """
    UPDATE fallback_keys f SET used = true
    FROM unnest($1::int8[], $2::int8[], $3::bytea[]) WITH ORDINALITY AS asked(account, device, algorithm, n)
    WHERE f.account = asked.account AND f.device = asked.device AND f.algorithm = asked.algorithm
    RETURNING asked.n, f.id, f.body"""
CROSS_SIGNING_OF = "SELECT account, usage, id, body FROM cross_signing_keys WHERE account = ANY($1)"
PUT_CROSS_SIGNING = """
    INSERT INTO cross_signing_keys (account, usage, id, body)
    SELECT $1, * FROM unnest($2::int2[], $3::uuid[], $4::bytea[])
    ON CONFLICT (account, usage) DO UPDATE SET id = excluded.id, body = excluded.body"""
SIGNATURES = "SELECT account, target, id, body FROM key_signatures"
PUT_SIGNATURES = """
    INSERT INTO key_signatures (account, target, about, id, body)
    SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::uuid[], $5::bytea[])
    ON CONFLICT (account, target) DO UPDATE SET id = excluded.id, body = excluded.body"""
CHANGED_SINCE = "SELECT account FROM key_changes WHERE account = ANY($1) AND minute >= $2"


class Usage(IntEnum):
    """What a cross-signing key is for."""

    MASTER = 1
    SELF_SIGNING = 2
    USER_SIGNING = 3

    @property
    def text(self) -> str:
        return self.name.lower()


class SealedKey(Struct, frozen=True):
    """A one-time or fallback key on its way in. `key`: of its whole name; `algorithm`: of the first part of it."""

    algorithm: bytes
    key: bytes
    id: UUID
    body: Sealed


class SealedSignatures(Struct, frozen=True):
    target: bytes
    about: bytes
    id: UUID
    body: Sealed


class Wanted(Struct, frozen=True):
    """One one-time key that somebody claims."""

    account: AccountNo
    device: DeviceNo
    algorithm: bytes


@dataclass(frozen=True)
class KeyStore:
    """The keys that one cell's accounts publish."""

    pool: "Pool[Record]"

    async def publish(
        self, account: AccountNo, device: DeviceNo, minute: Minute, identity: tuple[UUID, Sealed] | None,
        replaced: bytes | None, one_time: Sequence[SealedKey], fallback: Sequence[SealedKey], forget_before: UUID,
    ) -> None:  # fmt: skip
        """Keep new keys of a device, all or none.

        `replaced`: the identity keys are others than before, so everything that belongs to those goes, and the
        signatures with this target on them.
        """
        async with self.pool.acquire() as connection, connection.transaction():
            if replaced is not None:
                for statement in DROP_KEYS:
                    await connection.execute(statement, account, [device])
                await connection.execute(DROP_SIGNATURES, account, [replaced])
            if identity is not None:
                await connection.execute(PUT_DEVICE_KEYS, account, device, *identity)
                await connection.execute(CHANGED, account, minute)
            if one_time:
                await connection.execute(FORGET_GIVEN, account, device, forget_before)
                await connection.execute(
                    PUT_ONE_TIME, account, device, [key.algorithm for key in one_time], [key.key for key in one_time],
                    [key.id for key in one_time], [key.body for key in one_time],
                )  # fmt: skip
            if fallback:
                await connection.execute(
                    PUT_FALLBACK, account, device, [key.algorithm for key in fallback],
                    [key.id for key in fallback], [key.body for key in fallback],
                )  # fmt: skip

    async def device_keys(self, accounts: Sequence[AccountNo]) -> "list[Record]":
        """Rows of account, device, id, body."""
        return await self.pool.fetch(DEVICE_KEYS_OF, accounts)

    async def one_time(self, account: AccountNo, device: DeviceNo, keys: Sequence[bytes]) -> "list[Record]":
        """Rows of key, id, body; no body of those that were given out."""
        return await self.pool.fetch(ONE_TIME_OF, account, device, keys)

    async def fallback(self, account: AccountNo, device: DeviceNo, *, unused_only: bool) -> "list[Record]":
        """Rows of id, body."""
        return await self.pool.fetch(FALLBACK_OF, account, device, [False] if unused_only else [False, True])

    async def counts(self, account: AccountNo, device: DeviceNo) -> "list[Record]":
        """Rows of id, body, many: one key of each algorithm, and how many there are."""
        return await self.pool.fetch(COUNTS, account, device)

    async def claim(self, wanted: Sequence[Wanted]) -> "dict[int, tuple[UUID, bytes]]":
        """By place in `wanted`, the id and body of a key that nobody else gets, else of a fallback key."""
        found: dict[int, tuple[UUID, bytes]] = {}
        for statement in (CLAIM, CLAIM_FALLBACK):
            left = [n for n in range(len(wanted)) if n not in found]
            if not left:
                break
            rows = await self.pool.fetch(
                statement, [wanted[n].account for n in left], [wanted[n].device for n in left],
                [wanted[n].algorithm for n in left],
            )  # fmt: skip
            found |= {left[row["n"] - 1]: (row["id"], row["body"]) for row in rows}
        return found

    async def drop(
        self, account: AccountNo, minute: Minute, devices: Sequence[DeviceNo], targets: Sequence[bytes]
    ) -> None:
        """Forget what `devices` published, and the signatures on it."""
        async with self.pool.acquire() as connection, connection.transaction():
            for statement in DROP_KEYS:
                await connection.execute(statement, account, devices)
            await connection.execute(DROP_SIGNATURES, account, targets)
            await connection.execute(CHANGED, account, minute)

    async def drop_all(self, account: AccountNo, minute: Minute) -> None:
        """Forget everything that `account` published."""
        async with self.pool.acquire() as connection, connection.transaction():
            for statement in DROP_ALL:
                await connection.execute(statement, account)
            await connection.execute(CHANGED, account, minute)

    # Cross-signing.

    async def cross_signing(self, accounts: Sequence[AccountNo]) -> "list[Record]":
        """Rows of account, usage, id, body."""
        return await self.pool.fetch(CROSS_SIGNING_OF, accounts)

    async def put_cross_signing(
        self, account: AccountNo, minute: Minute, keys: Sequence[tuple[Usage, UUID, Sealed]], *, afresh: bool
    ) -> None:
        """Keep `keys`. `afresh`: with a new master key, so what the account has signed before is worth nothing."""
        async with self.pool.acquire() as connection, connection.transaction():
            if afresh:
                for table in (CROSS_SIGNING_KEYS, KEY_SIGNATURES):
                    await connection.execute(f"DELETE FROM {table.name} WHERE account = $1", account)
            await connection.execute(
                PUT_CROSS_SIGNING, account, [usage for usage, _, _ in keys], [id for _, id, _ in keys],
                [body for _, _, body in keys],
            )  # fmt: skip
            await connection.execute(CHANGED, account, minute)

    async def signatures(self, account: AccountNo, about: Sequence[bytes]) -> "list[Record]":
        """Rows of account, target, id, body: what `account` has signed of the people `about`."""
        return await self.pool.fetch(f"{SIGNATURES} WHERE account = $1 AND about = ANY($2)", account, about)

    async def own_signatures(self, accounts: Sequence[AccountNo], about: Sequence[bytes]) -> "list[Record]":
        """Rows of account, target, id, body: what each of `accounts` has signed of its own keys."""
        return await self.pool.fetch(
            f"{SIGNATURES} WHERE (account, about) IN (SELECT * FROM unnest($1::int8[], $2::bytea[]))", accounts, about
        )

    async def put_signatures(
        self, account: AccountNo, minute: Minute, signatures: Sequence[SealedSignatures], *, seen_by_others: bool
    ) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                PUT_SIGNATURES, account, [each.target for each in signatures], [each.about for each in signatures],
                [each.id for each in signatures], [each.body for each in signatures],
            )  # fmt: skip
            if seen_by_others:
                await connection.execute(CHANGED, account, minute)

    async def changed(self, accounts: Sequence[AccountNo], since: Minute) -> list[AccountNo]:
        """Those of `accounts` whose keys changed in the minute `since`, or after it."""
        return [row["account"] for row in await self.pool.fetch(CHANGED_SINCE, accounts, since)]
