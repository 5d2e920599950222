"""The list of published rooms. Client-Server API v1.19, "Published room directory".

Whether a room is published is known at its home, which also makes its entry: out of what governs it and of the words of
its name, topic, avatar and alias, in memory only. A list asks every cell for its share from the same place on.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hutong.cells import listing_reads
from hutong.cells.cell import Cell
from hutong.cells.directory_messages import IsPublished, PublicRooms, PublicRoomsReply, Publish, PublishedRoom, Wanted
from hutong.cells.link import LinkDown
from hutong.cells.records import Record, Words
from hutong.cells.view import room_id_text
from hutong.cells.words import Lost
from hutong.config import Region
from hutong.directory.entry import SHOWN, entry
from hutong.directory.listing import ListTokens, Page, Turn, admits, cut, page
from hutong.directory.permission import may_name
from hutong.directory.store import DirectoryStore
from hutong.errors import BadParam, Forbidden, MatrixError, NotFound
from hutong.http.request import Caller
from hutong.ids import CellNo, RegionNo, RoomNo, TypeCode
from hutong.rooms.access import Access
from hutong.rooms.event_types import REDACTION

PUBLISHED_MAX = 5_000
"""So many published rooms one cell has: their entries are kept in memory, and all of them are searched."""
LIST_WAIT_S = 2.0
RETRY_S = 2.0
"""So long an entry stands without the words of a region that is away, before that is asked again."""
_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class PublicList:
    """A page of the list, with tokens to go on. `away`: regions that are left out, since they cannot be asked now."""

    page: Page
    next_batch: str | None
    prev_batch: str | None
    away: list[str]


@dataclass(frozen=True)
class _Entry:
    shown: PublishedRoom
    origin: RegionNo | None
    """The one region that the room is for; None: all."""


class PublishedRooms:
    """The list as one cell's people see it, and the cell's share of it."""

    def __init__(self, cell: Cell, store: DirectoryStore, access: Access, tokens: ListTokens) -> None:
        self._cell = cell
        self._store = store
        self._access = access
        self._tokens = tokens
        self._entries: dict[RoomNo, _Entry | None] = {}
        """By published room. None: to be made."""
        self._incomplete: set[RoomNo] = set()
        self._retry_at = 0.0
        self._changed: set[RoomNo] = set()
        self._loaded = False
        self._loading, self._making = asyncio.Lock(), asyncio.Lock()
        cell.on_committed.append(self._committed)
        cell.on_started_over.append(self._forget_all)
        cell.on_erased.append(lambda room, _: self._forget(room))

    def serve(self) -> None:
        """Answer other cells."""
        serve, number = self._cell.links.serve, self._cell.number
        serve(number, Publish, self._answer_publish)
        serve(number, IsPublished, self._answer_is_published)
        serve(number, PublicRooms, self._answer_public_rooms)

    # What people ask.

    async def publish(self, caller: Caller, room_id: str, *, public: bool) -> None:
        """Show a room in the list, or no longer. Raises: BadParam, NotFound, Forbidden, RegionAway."""
        try:
            seat = await self._access.joined(caller.account, room_id)
        except Forbidden:
            await self._facts_home(room_id)  # raises when there is no such room
            raise
        request = Publish(room=seat.room.room, ref=seat.member.ref, public=public)
        home = self._cell.cell_of(seat.room.home)
        if home == self._cell.number:
            await self._answer_publish(home, request)
            return
        await self._cell.ask(home, request)

    async def is_public(self, room_id: str) -> bool:
        """Whether a room is in the list. Raises: BadParam, NotFound, RegionAway."""
        home, room = await self._facts_home(room_id)
        if home == self._cell.number:
            return await self._store.is_published(room)
        return await self._cell.ask(home, IsPublished(room=room))

    async def look(self, server: str | None, wanted: Wanted, since: str | None, limit: int) -> PublicList:
        """A page of the rooms published on `server`, or in all regions.

        Raises: BadParam (`server`, `since`); RegionAway when the region asked for cannot be asked now.
        Cost: one call per cell, each with its words already in memory where it was asked before.
        """
        turn = Turn() if since is None else self._tokens.read(since, server, wanted)
        regions = self._cell.directory.regions()
        if server is not None:
            regions = [region for region in regions if region.server_name == server]
            if not regions:
                raise BadParam("server", "is none of this network's servers; the lists of others cannot be asked for")
        request = PublicRooms(wanted=wanted, place=turn.place, backwards=turn.backwards, limit=limit + 1)
        asked = await asyncio.gather(*(self._share(region, request) for region in regions))
        away = [region.name for region, replies in zip(regions, asked, strict=True) if replies is None]
        if server is not None and away:
            raise self._cell.away(regions[0].cells[0].number)
        found = page([reply for replies in asked for reply in replies or ()], turn, limit)
        return PublicList(
            page=found,
            next_batch=None if found.after is None else self._tokens.write(found.after, server, wanted),
            prev_batch=None if found.before is None else self._tokens.write(found.before, server, wanted),
            away=away,
        )

    async def _share(self, region: Region, request: PublicRooms) -> Sequence[PublicRoomsReply] | None:
        """What the cells of a region have; None when one of them cannot be asked now."""
        try:
            return await asyncio.gather(*(self._ask(cell.number, request) for cell in region.cells))
        except (LinkDown, MatrixError):
            return None

    async def _ask(self, cell: CellNo, request: PublicRooms) -> PublicRoomsReply:
        if cell == self._cell.number:
            return await self._answer_public_rooms(cell, request)
        return await self._cell.link.call(cell, request, LIST_WAIT_S)

    async def _facts_home(self, room_id: str) -> tuple[CellNo, RoomNo]:
        try:
            facts = await self._access.locate(room_id)
        except Forbidden:
            raise NotFound("roomId: there is no such room") from None
        return self._cell.cell_of(facts.home), facts.room

    # What other slices ask.

    async def begin(self, room: RoomNo) -> None:
        """Publish a room of this cell that is about to be created. Raises: Forbidden."""
        await self._put(room)

    async def withdraw(self, room: RoomNo) -> None:
        """Take a room of this cell out of the list."""
        await self._load()
        await self._store.withdraw(room)
        self._entries.pop(room, None)

    # What other cells ask.

    async def _answer_publish(self, src: CellNo, request: Publish) -> None:
        info = await self._cell.view.room(request.room)
        members = await self._cell.reads.members_by_ref(request.room, [request.ref])
        member = members.get(request.ref)
        if info is None or member is None or self._cell.cell_of(member.home) != src:
            raise Forbidden("you are not in this room")
        if not may_name(info.projection, member):
            raise Forbidden("visibility: who may set m.room.canonical_alias in the room may change this")
        if request.public:
            await self._put(request.room)
        else:
            await self.withdraw(request.room)

    async def _answer_is_published(self, _: CellNo, request: IsPublished) -> bool:
        return await self._store.is_published(request.room)

    async def _answer_public_rooms(self, src: CellNo, request: PublicRooms) -> PublicRoomsReply:
        asking = self._cell.directory.region_of_cell(src).number
        rooms = [
            each.shown
            for each in await self._current()
            if each.shown.num_joined_members and each.origin in (None, asking) and admits(request.wanted, each.shown)
        ]
        return cut(rooms, Turn(request.place, request.backwards), request.limit)

    # The entries in memory.

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                self._entries = dict.fromkeys(await self._store.published(PUBLISHED_MAX))
                self._loaded = True

    async def _put(self, room: RoomNo) -> None:
        await self._load()
        if not await self._store.publish(room, PUBLISHED_MAX):
            raise Forbidden(f"visibility: this server publishes {PUBLISHED_MAX:,} rooms already, and no more")
        self._entries.setdefault(room, None)

    async def _current(self) -> list[_Entry]:
        """An entry for each published room that there is.

        Cost: nothing for rooms that did not change; for all others together two statements more, one for the words of
        this cell, and one call for each other whose words are not in memory.
        """
        await self._load()
        async with self._making:
            if self._incomplete and self._cell.now() >= self._retry_at:
                for room in self._incomplete:
                    self._forget(room)
                self._incomplete.clear()
            missing = [room for room, made in self._entries.items() if made is None]
            passing: list[_Entry] = []
            if missing:
                self._changed.clear()
                for room, made, complete in await self._make(missing):
                    if room in self._changed or room not in self._entries:
                        passing.append(made)  # true when it was read
                        continue
                    self._entries[room] = made
                    if not complete:
                        self._incomplete.add(room)
                        self._retry_at = self._cell.now() + RETRY_S
            return [*passing, *(made for made in self._entries.values() if made is not None)]

    async def _make(self, rooms: Sequence[RoomNo]) -> list[tuple[RoomNo, _Entry, bool]]:
        """(room, its entry, whether all of its words could be read)."""
        counts = await listing_reads.counts(self._cell.pool, rooms)
        events = await listing_reads.shown(self._cell.pool, rooms, SHOWN)
        words = await self._cell.words.fetch(event.env for event in events)
        contents: dict[RoomNo, dict[TypeCode, dict[str, Any]]] = {}
        incomplete: set[RoomNo] = set()
        for event in events:
            said = words[event.env.event_id]
            if isinstance(said, Words):
                contents.setdefault(event.env.room, {})[event.env.type] = _OBJECT.decode(said.json)
            elif said is Lost.AWAY:
                incomplete.add(event.env.room)
        made = []
        for each in counts:
            server = self._cell.directory.server_name(each.home)
            room_id = room_id_text(each.room_id, each.version, server)
            shown = entry(room_id, each.joined, each.projection, contents.get(each.room, {}))
            origin = None if each.projection.federate else each.projection.origin
            made.append((each.room, _Entry(shown, origin), each.room not in incomplete))
        return made

    def _committed(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.event is not None and record.room in self._entries:
                env = record.event.env
                if env.is_state or env.type == REDACTION:
                    self._forget(record.room)

    def _forget(self, room: RoomNo) -> None:
        if room in self._entries:
            self._entries[room] = None
            self._changed.add(room)

    def _forget_all(self) -> None:
        for room in self._entries:
            self._forget(room)
