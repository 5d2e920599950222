"""From a ref to the user id it stands for, and back: at home from the accounts, elsewhere by asking, in memory only."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from asyncpg import Pool

from hutong.cells.directory import Directory
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import NamesOf, RefOf, RefReply
from hutong.cells.reads import Reads
from hutong.cells.records import Member
from hutong.cells.view import Lru
from hutong.config import Region
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, RoomNo, home_no, signed64

CACHED_NAMES_MAX = 500_000
MEMBERS_PER_CALL_MAX = 2_000
NAMES_WAIT_S = 1.0
Key = tuple[RoomNo, MemberRef]

_HOMES = """
    SELECT m.room, m.ref, m.account, m.home FROM unnest($1::int8[], $2::int8[]) AS k(room, ref)
    JOIN members m ON m.room = k.room AND m.ref = k.ref"""


@dataclass(frozen=True)
class People:
    """What the accounts of this cell answer. Each function is one statement at most."""

    find: Callable[[str], Awaitable[AccountNo | None]]
    """A living account by its localpart."""
    user_ids: Callable[[Iterable[AccountNo]], Awaitable[dict[AccountNo, str]]]
    """User ids of accounts; erased ones are absent."""
    bucket: Callable[[str], int]


class Names:
    def __init__(
        self,
        cell: CellNo,
        region: Region,
        directory: Directory,
        pool: "Pool[Any]",
        reads: Reads,
        link: Link,
        people: People,
        random: Callable[[int], bytes],
    ) -> None:
        self._cell, self._region, self._directory = cell, region, directory
        self._pool, self._reads, self._link, self._people, self._random = pool, reads, link, people, random
        self._cache: Lru[Key, str] = Lru(CACHED_NAMES_MAX)

    def keep(self, room: RoomNo, ref: MemberRef, user_id: str) -> None:
        self._cache.put((room, ref), user_id)

    def drop(self, room: RoomNo, ref: MemberRef) -> None:
        self._cache.drop((room, ref))

    def cached(self, room: RoomNo, ref: MemberRef) -> str | None:
        return self._cache.get((room, ref))

    async def fetch(self, keys: Iterable[Key]) -> dict[Key, str]:
        """The user id of each member. An erased person's is `@erased-...`; those whose home is away are absent."""
        names: dict[Key, str] = {}
        missing: list[Key] = []
        for key in dict.fromkeys(keys):
            name = self._cache.get(key)
            if name is None:
                missing.append(key)
            else:
                names[key] = name
        if missing:
            names |= await self._look_up(missing)
        return names

    async def _look_up(self, keys: list[Key]) -> dict[Key, str]:
        rows = await self._pool.fetch(_HOMES, [room for room, _ in keys], [ref for _, ref in keys])
        own: dict[Key, AccountNo] = {}
        away: dict[CellNo, list[tuple[Key, HomeNo]]] = {}
        homes: dict[Key, HomeNo] = {}
        for room, ref, account, home in rows:
            homes[room, ref] = home
            cell = self._directory.cell_of(home)
            if cell == self._cell and account is not None:
                own[room, ref] = account
            elif cell != self._cell:
                away.setdefault(cell, []).append(((room, ref), home))
        names: dict[Key, str] = {}
        if own:
            user_ids = await self._people.user_ids(set(own.values()))
            for key, account in own.items():
                names[key] = user_ids.get(account) or erased_id(key[1], self._directory.server_name(homes[key]))
        for part in await asyncio.gather(*(self._ask(cell, asked) for cell, asked in away.items())):
            names |= part
        for (room, ref), name in names.items():
            self._cache.put((room, ref), name)
        return names

    async def _ask(self, cell: CellNo, asked: list[tuple[Key, HomeNo]]) -> dict[Key, str]:
        names: dict[Key, str] = {}
        for first in range(0, len(asked), MEMBERS_PER_CALL_MAX):
            part = asked[first : first + MEMBERS_PER_CALL_MAX]
            try:
                replies = await self._link.call(cell, NamesOf(members=[key for key, _ in part]), NAMES_WAIT_S)
            except LinkDown:
                break
            for (key, home), name in zip(part, replies, strict=True):
                names[key] = name or erased_id(key[1], self._directory.server_name(home))
        return names

    async def answer(self, _: CellNo, request: NamesOf) -> list[str | None]:
        """Another cell asks for the user ids of members at home here."""
        rows = await self._pool.fetch(
            _HOMES, [room for room, _ in request.members], [ref for _, ref in request.members]
        )
        accounts = {(row["room"], row["ref"]): row["account"] for row in rows if row["account"] is not None}
        user_ids = await self._people.user_ids(set(accounts.values())) if accounts else {}
        return [user_ids.get(accounts.get(key, AccountNo(-1))) for key in request.members]

    # From a user id to a ref.

    async def ref(self, user_id: str, room: RoomNo, *, make: bool = True) -> RefReply | None:
        """The ref of a person in `room`, made when there is none yet; None: no such account anywhere here.

        Without `make`, None also for somebody who never had to do with the room.

        Raises LinkDown when that person's region cannot be asked.
        """
        region = self._directory.region_of_user(user_id)
        if region is None:
            return None
        if region.number == self._region.number:
            return await self.answer_ref(self._cell, RefOf(user_id=user_id, room=room, make=make))
        return await self._link.call(self._directory.first_cell(region), RefOf(user_id=user_id, room=room, make=make))

    async def answer_ref(self, _: CellNo, request: RefOf) -> RefReply | None:
        localpart = request.user_id[1:].partition(":")[0]
        home = self.home_of(localpart)
        cell = self._directory.cell_of(home)
        if cell != self._cell:
            return await self._link.call(cell, request)
        account = await self._people.find(localpart)
        if account is None:
            return None
        if request.make:
            member: Member | None = await self.own(account, localpart, request.room)
        else:
            member = await self._reads.member(account, request.room)
        if member is None:
            return None
        self.keep(request.room, member.ref, request.user_id)
        return RefReply(ref=member.ref, home=member.home)

    async def own(self, account: AccountNo, localpart: str, room: RoomNo) -> Member:
        """The member record of an account of this cell in `room`, made when there is none."""
        member = await self._reads.member(account, room)
        if member is None:
            ref = MemberRef(signed64(self._random(8)))
            member = await self._reads.give_ref(room, ref, account, self.home_of(localpart))
        return member

    def home_of(self, localpart: str) -> HomeNo:
        """Where a person of this region with this localpart is at home."""
        return home_no(self._region.number, self._people.bucket(localpart))

    async def accounts_of(self, user_ids: Iterable[str]) -> list[AccountNo]:
        """Those of `user_ids` that are living accounts of this cell."""
        found = []
        for user_id in user_ids:
            localpart, _, server = user_id[1:].partition(":")
            if server == self._region.server_name and self._directory.cell_of(self.home_of(localpart)) == self._cell:
                account = await self._people.find(localpart)
                if account is not None:
                    found.append(account)
        return found


def erased_id(ref: MemberRef, server_name: str) -> str:
    """The user id shown for a person who was erased; it cannot be registered (`erased-` is reserved)."""
    text = base64.b32encode((ref & (2**64 - 1)).to_bytes(8, "big")).decode().rstrip("=").lower()
    return f"@erased-{text}:{server_name}"
