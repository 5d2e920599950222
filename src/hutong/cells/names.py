"""From a ref to the user id it stands for, and back: at home from the accounts, elsewhere by asking, in memory only."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from asyncpg import Pool

from hutong.cells.directory import Directory
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import NamesOf, RefReply, RefsIn, RefsOf, rooms_by_call
from hutong.cells.reads import Reads
from hutong.cells.records import Member
from hutong.cells.view import Lru
from hutong.config import Region
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, RegionNo, RoomNo, home_no, signed64

CACHED_NAMES_MAX = 500_000
MEMBERS_PER_CALL_MAX = 2_000
NAMES_WAIT_S = 1.0
REMEMBERED_MAX = 10_000
Key = tuple[RoomNo, MemberRef]
_NO_HOMES: Final[Mapping["Key", HomeNo]] = {}

_HOMES = """
    SELECT m.room, m.ref, m.account, m.home FROM unnest($1::int8[], $2::int8[]) AS k(room, ref)
    JOIN members m ON m.room = k.room AND m.ref = k.ref"""


@dataclass(frozen=True)
class People:
    """What the accounts of this cell answer. Each function is one statement at most."""

    find: Callable[[Iterable[str]], Awaitable[dict[str, AccountNo]]]
    """Living accounts by their localparts."""
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
        names, _ = await self.look_up(keys)
        return names

    async def look_up(
        self, keys: Iterable[Key], homes: Mapping[Key, HomeNo] = _NO_HOMES
    ) -> tuple[dict[Key, str], dict[Key, CellNo]]:
        """As `fetch`, and for each one that is absent the cell that did not answer.

        `homes`: those that are known otherwise, of people in rooms of which this cell has no copy.
        """
        names: dict[Key, str] = {}
        missing: list[Key] = []
        for key in dict.fromkeys(keys):
            name = self._cache.get(key)
            if name is None:
                missing.append(key)
            else:
                names[key] = name
        away: dict[Key, CellNo] = {}
        if missing:
            found, away = await self._read(missing, homes)
            names |= found
        return names, away

    async def _read(self, keys: list[Key], known: Mapping[Key, HomeNo]) -> tuple[dict[Key, str], dict[Key, CellNo]]:
        rows = await self._pool.fetch(_HOMES, [room for room, _ in keys], [ref for _, ref in keys])
        own: dict[Key, AccountNo] = {}
        abroad: dict[CellNo, list[tuple[Key, HomeNo]]] = {}
        homes: dict[Key, HomeNo] = {}
        told = {(room, ref): (account, home) for room, ref, account, home in rows}
        for room, ref in keys:
            account, home = told.get((room, ref)) or (None, known.get((room, ref)))
            if home is None:
                continue
            homes[room, ref] = home
            cell = self._directory.cell_of(home)
            if cell == self._cell and account is not None:
                own[room, ref] = account
            elif cell != self._cell:
                abroad.setdefault(cell, []).append(((room, ref), home))
        names: dict[Key, str] = {}
        if own:
            user_ids = await self._people.user_ids(set(own.values()))
            for key, account in own.items():
                names[key] = user_ids.get(account) or erased_id(key[1], self._directory.server_name(homes[key]))
        for part in await asyncio.gather(*(self._ask(cell, asked) for cell, asked in abroad.items())):
            names |= part
        for (room, ref), name in names.items():
            self._cache.put((room, ref), name)
        away = {key: cell for cell, asked in abroad.items() for key, _ in asked if key not in names}
        return names, away

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
        """The ref of one person, as `refs` finds it."""
        return (await self.refs([user_id], room, make=make)).get(user_id)

    async def refs(self, user_ids: Iterable[str], room: RoomNo, *, make: bool = True) -> dict[str, RefReply]:
        """The refs of people in `room`, made where there are none yet; who is no account anywhere here is absent.

        Without `make`, who never had to do with the room is absent too.
        Raises: LinkDown when the region of one of them cannot be asked, and their name was not heard in this room.
        Cost: three statements at most for the people of a cell, one call to every other cell that has some.
        """
        asked: dict[CellNo, list[str]] = {}
        for user_id in dict.fromkeys(user_ids):
            region = self._directory.region_of_user(user_id)
            if region is not None:
                asked.setdefault(self._cell_to_ask(region, user_id), []).append(user_id)
        requests = [(cell, RefsOf(user_ids=part, room=room, make=make)) for cell, part in asked.items()]
        replies = await asyncio.gather(*(self._refs_from(cell, request) for cell, request in requests))
        return {
            user_id: reply
            for (_, request), answered in zip(requests, replies, strict=True)
            for user_id, reply in zip(request.user_ids, answered, strict=True)
            if reply is not None
        }

    def _cell_to_ask(self, region: Region, user_id: str) -> CellNo:
        """Only a region itself knows which of its cells a name is at home in."""
        if region.number != self._region.number:
            return self._directory.first_cell(region)
        return self._directory.cell_of(self.home_of(_localpart(user_id)))

    async def _refs_from(self, cell: CellNo, request: RefsOf) -> list[RefReply | None]:
        if cell != self._cell:
            try:
                return await self._link.call(cell, request)
            except LinkDown:
                return await self._remembered(cell, request)
        localparts = [_localpart(user_id) for user_id in request.user_ids]
        accounts = await self._people.find(localparts)
        members = await self._reads.members_of(list(accounts.values()), request.room) if accounts else {}
        missing = [(name, account) for name, account in accounts.items() if account not in members]
        if missing and request.make:
            fresh = [(self._new_ref(), account, self.home_of(name)) for name, account in missing]
            members |= await self._reads.give_refs(request.room, fresh)
        replies: list[RefReply | None] = []
        for user_id, localpart in zip(request.user_ids, localparts, strict=True):
            member = members.get(accounts[localpart]) if localpart in accounts else None
            if member is not None:
                self.keep(request.room, member.ref, user_id)
            replies.append(None if member is None else RefReply(ref=member.ref, home=member.home))
        return replies

    async def _remembered(self, cell: CellNo, request: RefsOf) -> list[RefReply | None]:
        """The refs of people out of reach whose names were heard before: a room goes on being governed meanwhile.

        Raises: LinkDown when one of them is not known by name.
        """
        region = self._directory.region_of_cell(cell).number
        homes = await self._reads.people_of(request.room, region, REMEMBERED_MAX)
        named = {self._cache.get((request.room, ref)): RefReply(ref, home) for ref, home in homes}
        if any(user_id not in named for user_id in request.user_ids):
            raise LinkDown(cell)
        return [named[user_id] for user_id in request.user_ids]

    # The same for many rooms at once, where nobody is given one.

    async def refs_in(
        self, user_ids: Iterable[str], rooms: Iterable[RoomNo]
    ) -> tuple[dict[tuple[RoomNo, str], MemberRef], set[str]]:
        """The refs that people have in any of `rooms`; and who of them could not be asked for, whose region is away.

        Of the latter those are found whose names were heard before.
        Cost: two statements for the people of this cell, one more for those of all others, and a call to each of those
        that has some for every thousand rooms in which its region has somebody.
        """
        rooms = list(rooms)
        asked: dict[CellNo, list[str]] = {}
        for user_id in dict.fromkeys(user_ids):
            region = self._directory.region_of_user(user_id)
            if region is not None:
                asked.setdefault(self._cell_to_ask(region, user_id), []).append(user_id)
        present: dict[RegionNo, list[RoomNo]] = {}
        if any(cell != self._cell for cell in asked):
            for room, number in await self._reads.regions_in(rooms):
                present.setdefault(number, []).append(room)
        found: dict[tuple[RoomNo, str], MemberRef] = {}
        away: set[str] = set()

        async def ask(cell: CellNo, part: list[str]) -> None:
            if cell == self._cell:
                parts = [await self._own_refs_in(part, rooms)]
            else:
                there = present.get(self._directory.region_of_cell(cell).number, [])
                requests = [RefsIn(user_ids=part, rooms=some) for some in rooms_by_call(there)]
                try:
                    calls = (self._link.call(cell, request, NAMES_WAIT_S) for request in requests)
                    parts = await asyncio.gather(*calls)
                except LinkDown:
                    away.update(part)
                    parts = [await self._heard_in(cell, part, there)]
            for user_id, places in ((name, places) for each in parts for name, places in each.items()):
                for room, ref in places:
                    found[room, user_id] = ref

        await asyncio.gather(*(ask(cell, part) for cell, part in asked.items()))
        return found, away

    async def _own_refs_in(self, user_ids: list[str], rooms: list[RoomNo]) -> dict[str, list[tuple[RoomNo, MemberRef]]]:
        accounts = await self._people.find([_localpart(user_id) for user_id in user_ids])
        places = await self._reads.refs_in(list(accounts.values()), rooms) if accounts else {}
        return {
            user_id: places[account]
            for user_id in user_ids
            if (account := accounts.get(_localpart(user_id))) is not None and account in places
        }

    async def _heard_in(
        self, cell: CellNo, user_ids: list[str], rooms: list[RoomNo]
    ) -> dict[str, list[tuple[RoomNo, MemberRef]]]:
        """Who of a region out of reach is known by name."""
        wanted, region = set(user_ids), self._directory.region_of_cell(cell).number
        heard: dict[str, list[tuple[RoomNo, MemberRef]]] = {}
        for room, ref in await self._reads.people_in(rooms, region, REMEMBERED_MAX):
            name = self._cache.get((room, ref))
            if name in wanted:
                heard.setdefault(name, []).append((room, ref))
        return heard

    async def answer_refs_in(self, _: CellNo, request: RefsIn) -> dict[str, list[tuple[RoomNo, MemberRef]]]:
        """Another cell asks for people of this region. Raises: LinkDown when another cell of it cannot be asked."""
        found, away = await self.refs_in(request.user_ids, request.rooms)
        if away:
            raise LinkDown(self._cell)
        answer: dict[str, list[tuple[RoomNo, MemberRef]]] = {}
        for (room, user_id), ref in found.items():
            answer.setdefault(user_id, []).append((room, ref))
        return answer

    async def answer_refs(self, _: CellNo, request: RefsOf) -> list[RefReply | None]:
        """Another cell asks for people of this region, of whom some may be at home in other cells of it."""
        found = await self.refs(request.user_ids, request.room, make=request.make)
        return [found.get(user_id) for user_id in request.user_ids]

    async def own(self, account: AccountNo, localpart: str, room: RoomNo) -> tuple[Member, bool]:
        """The member record of an account of this cell in `room`, made when there is none; and whether it was made.

        Cost: one statement.
        """
        return await self._reads.give_ref(room, self._new_ref(), account, self.home_of(localpart))

    def _new_ref(self) -> MemberRef:
        return MemberRef(signed64(self._random(8)))

    def home_of(self, localpart: str) -> HomeNo:
        """Where a person of this region with this localpart is at home."""
        return home_no(self._region.number, self._people.bucket(localpart))

    async def accounts_of(self, user_ids: Iterable[str]) -> list[AccountNo]:
        """Those of `user_ids` that are living accounts of this cell."""
        named = (user_id[1:].partition(":") for user_id in user_ids)
        localparts = {name for name, _, server in named if server == self._region.server_name}
        mine = [name for name in localparts if self._directory.cell_of(self.home_of(name)) == self._cell]
        return list((await self._people.find(mine)).values()) if mine else []


def _localpart(user_id: str) -> str:
    return user_id[1:].partition(":")[0]


def erased_id(ref: MemberRef, server_name: str) -> str:
    """The user id shown for a person who was erased; it cannot be registered (`erased-` is reserved)."""
    text = base64.b32encode((ref & (2**64 - 1)).to_bytes(8, "big")).decode().rstrip("=").lower()
    return f"@erased-{text}:{server_name}"


def erased_ref(user_id: str) -> MemberRef | None:
    """The ref that `user_id` was made of by `erased_id`; None for every other user id."""
    text = user_id.removeprefix("@erased-").partition(":")[0]
    try:
        raw = base64.b32decode(text.upper() + "===")
    except ValueError:
        return None
    ref = MemberRef(signed64(raw)) if len(raw) == 8 else None
    return ref if ref is not None and erased_id(ref, user_id.partition(":")[2]) == user_id else None
