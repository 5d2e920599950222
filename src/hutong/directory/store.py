"""The tables of the directory and all SQL on them.

An alias is in two places of its region: `aliases`, where its key belongs, says what it stands for; `alias_words`, in
its creator's cell, has it in words, sealed with the creator. One database has both where a region has one cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from hutong.cells.directory_messages import Claim
from hutong.engines.tables import Table
from hutong.ids import AccountNo, RoomNo
from hutong.vault.vault import Sealed

if TYPE_CHECKING:
    from asyncpg import Pool, Record


class WordState(IntEnum):
    PENDING = 1
    """Being given, or being taken away; until that is done it is not shown."""
    LIVE = 2


ALIASES = Table(
    "aliases",
    key="name_key",
    # id: of its row in alias_words of cell `keeper`; null: the creator was erased.
    envelope="room_id uuid, version int2, home int4, id uuid null, keeper int4",
    hashed="name_key bytea",
)
ALIAS_WORDS = Table(
    "alias_words",
    key="id",
    envelope="id uuid, account int8, room_id uuid, state int2",
    hashed="name_key bytea",
    home="body bytea",
    indexes=(
        "CREATE INDEX alias_words_of_room ON alias_words (room_id)",
        "CREATE INDEX alias_words_of_account ON alias_words (account)",
        "CREATE INDEX alias_words_pending ON alias_words (id) WHERE state = 1",
    ),
)
PUBLISHED = Table("published", key="room", envelope="room int8")

ALL = (ALIASES, ALIAS_WORDS, PUBLISHED)

FIND = "SELECT name_key, room_id, version, home, id, keeper FROM aliases WHERE name_key = ANY($1)"
# Somebody else may keep an alias whose creator was erased, for the room that it stands for.
CLAIM = """
    INSERT INTO aliases (name_key, room_id, version, home, id, keeper) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (name_key) DO UPDATE SET id = excluded.id, keeper = excluded.keeper
    WHERE aliases.room_id = excluded.room_id AND (aliases.id IS NULL OR aliases.id = excluded.id) RETURNING true"""
RELEASE = "DELETE FROM aliases WHERE name_key = $1 AND id IS NOT DISTINCT FROM $2"
ORPHAN = """
    UPDATE aliases SET id = NULL FROM unnest($1::bytea[], $2::uuid[]) AS gone(name_key, id)
    WHERE aliases.name_key = gone.name_key AND aliases.id = gone.id"""
KEEP = "INSERT INTO alias_words (id, account, room_id, state, name_key, body) VALUES ($1, $2, $3, 1, $4, $5)"
SET_STATE = "UPDATE alias_words SET state = $2 WHERE id = $1"
FORGET = "DELETE FROM alias_words WHERE id = $1"
FORGET_ALL = "DELETE FROM alias_words WHERE account = $1"
OWNER = "SELECT account FROM alias_words WHERE id = $1"
COUNT = "SELECT count(*) FROM alias_words WHERE account = $1"
OF_ACCOUNT = "SELECT name_key, id FROM alias_words WHERE account = $1"
OF_ROOM = "SELECT id, account, body FROM alias_words WHERE room_id = $1 AND state = 2 LIMIT $2"
PENDING = "SELECT id, name_key, room_id FROM alias_words WHERE state = 1"
PUBLISH = """
    INSERT INTO published (room) SELECT $1 WHERE (SELECT count(*) FROM published) < $2
    ON CONFLICT (room) DO UPDATE SET room = excluded.room RETURNING true"""
WITHDRAW = "DELETE FROM published WHERE room = $1"
IS_PUBLISHED = "SELECT EXISTS (SELECT FROM published WHERE room = $1)"
ALL_PUBLISHED = "SELECT room FROM published LIMIT $1"


class AliasWords(Struct, frozen=True):
    """An alias as it is sealed: `body` opens for `id` with the key of `account`."""

    id: bytes
    account: AccountNo
    body: bytes


class PendingAlias(Struct, frozen=True):
    id: bytes
    key: bytes
    room_id: bytes


@dataclass(frozen=True)
class DirectoryStore:
    """One cell's share of the directory. Each method is one statement."""

    pool: "Pool[Record]"

    # What aliases stand for.

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Claim]:
        rows = await self.pool.fetch(FIND, keys)
        return {
            bytes(row["name_key"]): Claim(
                room_id=row["room_id"].bytes,
                version=row["version"],
                home=row["home"],
                keeper=row["keeper"],
                id=None if row["id"] is None else row["id"].bytes,
            )
            for row in rows
        }

    async def claim(self, key: bytes, claim: Claim) -> bool:
        """False: the alias stands for something else, or somebody else keeps it."""
        assert claim.id is not None
        room_id, id = UUID(bytes=claim.room_id), UUID(bytes=claim.id)
        return bool(await self.pool.fetchval(CLAIM, key, room_id, claim.version, claim.home, id, claim.keeper))

    async def release(self, key: bytes, id: bytes | None) -> None:
        await self.pool.execute(RELEASE, key, None if id is None else UUID(bytes=id))

    async def orphan(self, aliases: Sequence[tuple[bytes, bytes]]) -> None:
        await self.pool.execute(ORPHAN, [key for key, _ in aliases], [UUID(bytes=id) for _, id in aliases])

    # Aliases in words.

    async def keep(self, id: bytes, account: AccountNo, room_id: bytes, key: bytes, body: Sealed) -> None:
        """Pending, until `set_state` says otherwise."""
        await self.pool.execute(KEEP, UUID(bytes=id), account, UUID(bytes=room_id), key, body)

    async def set_state(self, id: bytes, state: WordState) -> None:
        await self.pool.execute(SET_STATE, UUID(bytes=id), state)

    async def forget(self, id: bytes) -> None:
        await self.pool.execute(FORGET, UUID(bytes=id))

    async def forget_all(self, account: AccountNo) -> None:
        await self.pool.execute(FORGET_ALL, account)

    async def owner(self, id: bytes) -> AccountNo | None:
        owner: AccountNo | None = await self.pool.fetchval(OWNER, UUID(bytes=id))
        return owner

    async def count(self, account: AccountNo) -> int:
        return int(await self.pool.fetchval(COUNT, account))

    async def of_account(self, account: AccountNo) -> list[tuple[bytes, bytes]]:
        """(key, id) of each."""
        return [(bytes(row["name_key"]), row["id"].bytes) for row in await self.pool.fetch(OF_ACCOUNT, account)]

    async def of_room(self, room_id: bytes, limit: int) -> list[AliasWords]:
        rows = await self.pool.fetch(OF_ROOM, UUID(bytes=room_id), limit)
        return [AliasWords(row["id"].bytes, row["account"], bytes(row["body"])) for row in rows]

    async def pending(self) -> list[PendingAlias]:
        rows = await self.pool.fetch(PENDING)
        return [PendingAlias(row["id"].bytes, bytes(row["name_key"]), row["room_id"].bytes) for row in rows]

    # The list of published rooms.

    async def publish(self, room: RoomNo, rooms_max: int) -> bool:
        """False: there are `rooms_max` already."""
        return bool(await self.pool.fetchval(PUBLISH, room, rooms_max)) or await self.is_published(room)

    async def withdraw(self, room: RoomNo) -> None:
        await self.pool.execute(WITHDRAW, room)

    async def is_published(self, room: RoomNo) -> bool:
        return bool(await self.pool.fetchval(IS_PUBLISHED, room))

    async def published(self, rooms_max: int) -> list[RoomNo]:
        return [row["room"] for row in await self.pool.fetch(ALL_PUBLISHED, rooms_max)]
