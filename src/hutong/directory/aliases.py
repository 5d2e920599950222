"""Room aliases: given, looked up, taken away. Client-Server API v1.19, "Room aliases".

What an alias stands for is kept by the cell of its region to which its key belongs; the words are kept, sealed, by its
creator's cell. First the words are written as pending, then the alias is claimed, then the words are live: whatever is
interrupted is settled later from the pending words, and an alias is never shown that does not lead where it says.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from hutong.cells.cell import Cell
from hutong.cells.directory_messages import (
    AliasesOf,
    Claim,
    ClaimAlias,
    DropAlias,
    OrphanAliases,
    ReleaseAlias,
    Resolve,
)
from hutong.cells.link import Request
from hutong.cells.messages import Locate, RoomFacts
from hutong.cells.view import room_id_text
from hutong.config import Region
from hutong.directory.alias import Alias, canonical_aliases, parse_alias
from hutong.directory.permission import may_name
from hutong.directory.store import DirectoryStore, WordState
from hutong.errors import BadParam, Conflict, Forbidden, MatrixError, NotFound
from hutong.http.request import Caller
from hutong.ids import AccountNo, CellNo, HomeNo, home_no, new_id, room_no
from hutong.rooms.access import Access, checked_room_id
from hutong.rooms.event_types import HistoryVisibility
from hutong.rooms.projection import decode
from hutong.vault.blind import bucket_of_key
from hutong.vault.vault import Gone

log = logging.getLogger(__name__)
R = TypeVar("R")

OF_ACCOUNT_MAX = 500
OF_ROOM_MAX = 1_000
"""So many aliases of a room each cell tells."""


class Aliases:
    """The aliases that one cell's people give and ask for, and its share of its region's."""

    def __init__(self, cell: Cell, store: DirectoryStore, access: Access) -> None:
        self._cell = cell
        self._store = store
        self._access = access
        self._busy: set[bytes] = set()
        """The ids of aliases that are being given or taken away right now, which nobody else settles."""

        self._answers: dict[type[Request[Any]], Callable[[CellNo, Any], Awaitable[Any]]] = {
            Resolve: self._answer_resolve,
            ClaimAlias: self._answer_claim,
            ReleaseAlias: self._answer_release,
            DropAlias: self._answer_drop,
            OrphanAliases: self._answer_orphan,
            AliasesOf: self._answer_aliases_of,
        }

    def serve(self) -> None:
        """Answer other cells."""
        for request, answer in self._answers.items():
            self._cell.links.serve(self._cell.number, request, answer)

    # What people ask.

    async def resolve(self, text: str, field: str = "roomAlias") -> tuple[str, list[str]]:
        """The id of the room that an alias of any region stands for, and the servers that know it.

        Raises: BadParam naming `field`, NotFound, RegionAway.
        Cost: one statement at the alias's home; one call when that is elsewhere.
        """
        alias = parse_alias(text, field)
        claim = (await self._claims([alias]))[alias]
        if claim is None:
            if self._cell.directory.region_of_server(alias.server_name) is None:
                raise NotFound(f"{field}: {alias.server_name} is another server, which cannot be asked")
            raise NotFound(f"{field}: there is no such alias")
        servers = [self._cell.directory.server_name(claim.home), alias.server_name]
        return self._room_id(claim), list(dict.fromkeys(servers))

    async def give(self, caller: Caller, text: str, room_id: str) -> None:
        """Let an alias of the caller's own region stand for a room that they are in.

        Raises: BadParam for another server's, or none; Forbidden; Conflict (409) when it stands for something already.
        """
        alias = self._own(parse_alias(text))
        seat = await self._access.joined(caller.account, room_id)
        claim = self.claim(seat.room.raw_id, seat.room.version, seat.room.home)
        async with self.held(caller.account, alias, claim, Conflict(f"roomAlias: {alias} stands for a room already")):
            pass

    async def take(self, caller: Caller, text: str) -> None:
        """Take an alias of the caller's region away: its creator may, and who may name the room by one.

        Raises: BadParam, NotFound, Forbidden.
        """
        alias = self._own(parse_alias(text))
        claim = (await self._claims([alias]))[alias]
        if claim is None:
            raise NotFound("roomAlias: there is no such alias")
        created = claim.id is not None and claim.keeper == self._cell.number
        if not (created and claim.id and await self._store.owner(claim.id) == caller.account):
            await self._check_power(caller.account, claim)
        key = self._cell.blind.alias(str(alias))
        if claim.id is None:
            await self._ask(self._cell_of(key), ReleaseAlias(key=key, id=None))
        else:
            await self._ask(claim.keeper, DropAlias(key=key, id=claim.id))

    async def of_room(self, caller: Caller, room_id: str) -> list[str]:
        """The aliases that the caller's region has for a room, for who is in it, or anybody where all may look.

        Raises: Forbidden, BadParam, RegionAway.
        """
        await self._check_sight(caller.account, room_id)
        raw = checked_room_id(room_id)
        found: list[str] = []
        for cell in self._cell.region.cells:
            told: list[str] = await self._ask(cell.number, AliasesOf(room_id=raw))
            found += told
        return sorted(found)

    async def check_canonical(self, room_id: str, content: Mapping[str, Any], given: Iterable[Alias] = ()) -> None:
        """Let an m.room.canonical_alias for a room pass when each alias in it stands for that room.

        `given`: aliases that are about to.
        Raises: BadJson, BadParam for what is no alias; MatrixError M_BAD_ALIAS; RegionAway.
        Cost: one statement or call for each region of the aliases.
        """
        named = canonical_aliases(content)
        claims = await self._claims(set(named.values()) - set(given))
        for field, alias in named.items():
            if alias in claims:
                claim = claims[alias]
                if claim is None or self._room_id(claim) != room_id:
                    raise MatrixError(f"{field}: {alias} does not stand for this room", errcode="M_BAD_ALIAS")

    # What other slices ask.

    @asynccontextmanager
    async def held(self, account: AccountNo, alias: Alias, claim: Claim, taken: MatrixError) -> AsyncIterator[None]:
        """The alias stands for the room of `claim` while the block runs, and from then on when that succeeds.

        When the block refuses, nothing is left. When nobody knows what it did, that is settled later.
        Raises: `taken` when the alias stands for something already; Forbidden for too many.
        """
        if await self._store.count(account) >= OF_ACCOUNT_MAX:
            raise Forbidden(f"{alias}: you have given {OF_ACCOUNT_MAX} aliases; take one of them away first")
        id = claim.id
        assert id is not None
        key = self._cell.blind.alias(str(alias))
        self._busy.add(id)
        try:
            sealed = self._cell.vault.seal(account, id, str(alias).encode())
            await self._store.keep(id, account, claim.room_id, key, sealed)
            if not await self._ask(self._cell_of(key), ClaimAlias(key=key, claim=claim)):
                await self._store.forget(id)
                raise taken
            try:
                yield
            except MatrixError as error:
                if error.status < 500:
                    await self._let_go(key, id)
                raise
            await self._store.set_state(id, WordState.LIVE)
        finally:
            self._busy.discard(id)

    def claim(self, room_id: bytes, version: int, home: HomeNo) -> Claim:
        """A new claim to a room, to be `held`."""
        id = new_id(self._cell.minute, self._cell.random)
        return Claim(room_id=room_id, version=version, home=home, keeper=self._cell.number, id=id)

    async def orphan(self, account: AccountNo) -> None:
        """The account is erased: its aliases in words are deleted. They still lead to their rooms, under their keys.

        May be done again. Raises: RegionAway.
        """
        mine = await self._store.of_account(account)
        by_cell: dict[CellNo, list[tuple[bytes, bytes]]] = {}
        for key, id in mine:
            by_cell.setdefault(self._cell_of(key), []).append((key, id))
        for cell, aliases in by_cell.items():
            await self._ask(cell, OrphanAliases(aliases=aliases))
        await self._store.forget_all(account)

    async def settle(self) -> None:
        """Finish what was interrupted: an alias whose room came to be is given, any other is not."""
        for each in await self._store.pending():
            if each.id in self._busy:
                continue
            facts = await self._cell.replication.facts(room_no(each.room_id))
            claim = None
            if facts is not None and facts.room_id == each.room_id:
                claim = Claim(
                    room_id=facts.room_id, version=facts.version, home=facts.home, keeper=self._cell.number, id=each.id
                )
            try:
                if claim is not None and await self._ask(
                    self._cell_of(each.key), ClaimAlias(key=each.key, claim=claim)
                ):
                    await self._store.set_state(each.id, WordState.LIVE)
                else:
                    await self._let_go(each.key, each.id)
            except MatrixError:
                log.warning("cell %s: an alias could not be settled now; trying again later", self._cell.number)

    # What other cells ask.

    async def _answer_resolve(self, _: CellNo, request: Resolve) -> list[Claim | None]:
        keys = {alias: self._cell.blind.alias(alias) for alias in request.aliases}
        by_cell: dict[CellNo, list[str]] = {}
        for alias, key in keys.items():
            by_cell.setdefault(self._cell_of(key), []).append(alias)
        claims: dict[str, Claim | None] = {}
        for cell, aliases in by_cell.items():
            if cell == self._cell.number:
                found = await self._store.find([keys[alias] for alias in aliases])
                claims |= {alias: found.get(keys[alias]) for alias in aliases}
            else:  # asked as a cell of the region that the aliases name
                told: list[Claim | None] = await self._ask(cell, Resolve(aliases=aliases))
                claims |= zip(aliases, told, strict=True)
        return [claims[alias] for alias in request.aliases]

    async def _answer_claim(self, src: CellNo, request: ClaimAlias) -> bool:
        self._check_neighbour(src)
        return await self._store.claim(request.key, request.claim)

    async def _answer_release(self, src: CellNo, request: ReleaseAlias) -> None:
        self._check_neighbour(src)
        await self._store.release(request.key, request.id)

    async def _answer_drop(self, src: CellNo, request: DropAlias) -> None:
        self._check_neighbour(src)
        self._busy.add(request.id)
        try:
            await self._store.set_state(request.id, WordState.PENDING)
            await self._let_go(request.key, request.id)
        finally:
            self._busy.discard(request.id)

    async def _answer_orphan(self, src: CellNo, request: OrphanAliases) -> None:
        self._check_neighbour(src)
        await self._store.orphan(request.aliases)

    async def _answer_aliases_of(self, src: CellNo, request: AliasesOf) -> list[str]:
        self._check_neighbour(src)
        found = []
        for words in await self._store.of_room(request.room_id, OF_ROOM_MAX):
            try:
                found.append(self._cell.vault.open(words.account, words.id, words.body).decode())
            except Gone:
                continue
        return found

    # How.

    async def _claims(self, aliases: Iterable[Alias]) -> dict[Alias, Claim | None]:
        """What each alias stands for; None: nothing, or it is of no region. Raises: RegionAway."""
        claims: dict[Alias, Claim | None] = {}
        by_region: dict[str, list[Alias]] = {}
        for alias in aliases:
            claims[alias] = None
            if self._cell.directory.region_of_server(alias.server_name) is not None:
                by_region.setdefault(alias.server_name, []).append(alias)
        for server_name, wanted in by_region.items():
            region = self._cell.directory.region_of_server(server_name)
            assert region is not None
            reply = await self._ask(self._first_cell(region), Resolve(aliases=[str(alias) for alias in wanted]))
            claims |= zip(wanted, reply, strict=True)
        return claims

    def _first_cell(self, region: Region) -> CellNo:
        own = region.number == self._cell.region.number
        return self._cell.number if own else self._cell.directory.first_cell(region)

    async def _ask(self, cell: CellNo, request: Request[R]) -> R:
        """Ask a cell, this one too. Raises: RegionAway."""
        if cell == self._cell.number:
            answer: R = await self._answers[type(request)](cell, request)
            return answer
        return await self._cell.ask(cell, request)

    async def _let_go(self, key: bytes, id: bytes) -> None:
        await self._ask(self._cell_of(key), ReleaseAlias(key=key, id=id))
        await self._store.forget(id)

    def _room_id(self, claim: Claim) -> str:
        return room_id_text(claim.room_id, claim.version, self._cell.directory.server_name(claim.home))

    def _own(self, alias: Alias) -> Alias:
        own = self._cell.region.server_name
        if alias.server_name != own:
            raise BadParam("roomAlias", f"is one of {alias.server_name}; yours end in :{own}")
        return alias

    def _cell_of(self, key: bytes) -> CellNo:
        return self._cell.cell_of(home_no(self._cell.region.number, bucket_of_key(key)))

    def _check_neighbour(self, src: CellNo) -> None:
        if self._cell.directory.region_of_cell(src).number != self._cell.region.number:
            raise Forbidden("an alias is given and taken away within its region")

    async def _check_power(self, account: AccountNo, claim: Claim) -> None:
        try:
            seat = await self._access.joined(account, self._room_id(claim))
        except MatrixError:
            seat = None
        if seat is None or not may_name(seat.room.projection, seat.member):
            raise Forbidden("roomAlias: only who made it, or may set m.room.canonical_alias in its room, takes it away")

    async def _check_sight(self, account: AccountNo, room_id: str) -> None:
        try:
            await self._access.joined(account, room_id)
        except Forbidden:
            try:
                facts = await self.facts(room_id)
            except NotFound:
                facts = None
            if facts is None or decode(facts.proj).history is not HistoryVisibility.WORLD_READABLE:
                raise

    async def facts(self, room_id: str) -> RoomFacts:
        """The room as its home knows it. Raises: BadParam, NotFound, RegionAway."""
        try:
            facts = await self._access.locate(room_id)
        except Forbidden:
            raise NotFound("roomId: there is no such room") from None
        home = self._cell.cell_of(facts.home)
        if home == self._cell.number:
            return facts
        fresh = await self._cell.ask(home, Locate(room_id=facts.room_id))
        if fresh is None:
            raise NotFound("roomId: there is no such room")
        return fresh
