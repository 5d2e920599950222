"""What relates to an event, page by page, and the threads of a room.

Client-Server API v1.19, "Relationships API", "Querying threads in a room".
"""

from dataclasses import dataclass

from msgspec import structs

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import ChildrenOf, Codes, CodesReply, ThreadsOf
from hutong.cells.records import Envelope
from hutong.cells.relation_reads import RelationReads
from hutong.cells.relations import END_OF_ROOM, Kinship, ThreadsFound
from hutong.cells.view import RoomInfo
from hutong.errors import Forbidden, NotFound
from hutong.http.request import Caller
from hutong.ids import CellNo, Seq, TypeCode
from hutong.relations.bundles import is_here
from hutong.rooms import event_types
from hutong.rooms.access import Access, Seat
from hutong.rooms.event_types import Relation
from hutong.rooms.history import OUT_OF_SIGHT, History
from hutong.rooms.show import Show

PAGE_MAX = 1_000
START_OF_ROOM = Seq(0)
NEVER = Seq(0)
"""Where no event is."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which children of an event a client wants, and from where to where; None: of any kind, from one end."""

    relation: str | None = None
    type: str | None = None
    recurse: bool = False
    start: str | None = None
    end: str | None = None
    backwards: bool = True
    limit: int


@dataclass(frozen=True, kw_only=True)
class PageOf:
    """Events as JSON, in the order asked for; without `next` there are no more."""

    chunk: list[bytes]
    next: str | None
    previous: str | None = None


class Relations:
    """What relates to what in one cell's rooms, for its people and for other cells."""

    def __init__(self, cell: Cell, access: Access, history: History, show: Show, reads: RelationReads) -> None:
        self._cell = cell
        self._access = access
        self._history = history
        self._show = show
        self._reads = reads

    async def children(self, caller: Caller, room_id: str, event_id: str, asked: Asked) -> PageOf:
        """The events that relate to one that the caller may see, as a page of `Show.page`.

        Raises: NotFound, BadParam (`from`, `to`), RegionAway.
        Cost: one statement, or one call; then that of `Show.events`.
        """
        try:
            seat = await self._access.seat(caller.account, room_id)
        except Forbidden:
            raise NotFound(OUT_OF_SIGHT) from None  # one answer for both, or it tells strangers what exists
        env, sight = await self._history.visible(seat, event_id)
        reader = await self._show.reader(seat.member, caller.device, sight)
        kinship = await self._kinship(seat.room, env, asked)
        first = await self._history.place(seat, asked.start, "from", END_OF_ROOM if asked.backwards else START_OF_ROOM)
        last = await self._history.place(seat, asked.end, "to", START_OF_ROOM if asked.backwards else END_OF_ROOM)
        after, upto = (last, first) if asked.backwards else (first, last)
        found = await self._children(
            seat.room, env.seq,
            ChildrenOf(
                eyes=reader.eyes, asked=kinship, after=after, upto=upto, limit=asked.limit + 1,
                backwards=asked.backwards,
            ),
        )  # fmt: skip
        page = await self._show.page(seat.room, found[: asked.limit], reader)
        following = page.stop if page.stop is not None else next(iter(found[asked.limit :]), None)
        return PageOf(
            chunk=[json for _, json in page.events],
            next=None if following is None else self._history.token_at(seat, following, backwards=asked.backwards),
            previous=None if asked.start is None else self._history.token(seat, first),
        )

    async def _kinship(self, room: RoomInfo, parent: Envelope, asked: Asked) -> Kinship:
        """What is asked, as the room writes it. Raises: RegionAway when only its home knows, and is away."""
        relation = None if asked.relation is None else Relation.of(asked.relation)
        type = None if asked.type is None else event_types.code_of(asked.type)
        relations: tuple[int, ...] | None = None if relation is None else (relation,)
        if relation is Relation.REPLACE:
            relations = (Relation.REPLACE, Relation.NO_EDIT)
        foreign = asked.relation is not None and relation is None
        if foreign or (asked.type is not None and type is None):
            codes = await self._codes(room, asked.type or "", asked.relation)
            relations = (codes.skey or 0,) if foreign else relations
            type = None if asked.type is None else TypeCode(codes.type)
        return Kinship(parent=parent.seq, relations=relations, type=type, recurse=asked.recurse)

    async def _codes(self, room: RoomInfo, type: str, relation: str | None) -> CodesReply:
        """How the room writes a type and a relation that are no codes; it writes a relation as it does a state key."""
        home = self._cell.cell_of(room.home)
        if home == self._cell.number:
            return self._cell.codes_of(room.raw_id, type, relation)
        return await self._cell.ask(home, Codes(room=room.room, type=type, state_key=relation))

    async def _children(self, room: RoomInfo, parent: Seq, asked: ChildrenOf) -> list[Envelope]:
        if is_here(self._cell, room, parent):
            return await self.answer_children(self._cell.number, asked)
        home = self._cell.cell_of(room.home)
        return await self._cell.ask(home, asked)

    async def answer_children(self, _: CellNo, asked: ChildrenOf) -> list[Envelope]:
        limit = min(asked.limit, PAGE_MAX + 1)
        return await self._reads.children(
            asked.eyes, asked.asked, asked.after, asked.upto, limit, backwards=asked.backwards
        )

    async def threads(
        self, caller: Caller, room_id: str, start: str | None, limit: int, *, participated: bool
    ) -> PageOf:
        """The roots of a room's threads, that with the latest event first.

        A page of `Show.page` by their roots; it may be shorter than `limit`. While the room's home is cut off, those
        whose root is older than this cell's copy of the room are left out too.

        Raises: Forbidden (403), BadParam (`from`); RegionAway.
        Cost: one statement, or one call; then that of `Show.events`.
        """
        seat = await self._access.seat(caller.account, room_id)
        reader = await self._show.reader(seat.member, caller.device, await self._access.sight(seat))
        asked = ThreadsOf(
            eyes=reader.eyes,
            start=await self._history.place(seat, start, "from", END_OF_ROOM),
            limit=limit,
            participant=seat.member.ref if participated else None,
        )
        found = await self._threads(seat, asked)
        # A root by somebody whom the reader ignores is shown as if it was redacted.
        roots = [
            structs.replace(root, redacted_by=root.redacted_by or NEVER) if root.sender in reader.ignored else root
            for root in (thread.root for thread in found.roots)
        ]
        page = await self._show.page(seat.room, roots, reader)
        following = found.next
        if page.stop is not None:
            following = next(thread.last for thread in found.roots if thread.root.seq == page.stop.seq)
        return PageOf(
            chunk=[json for _, json in page.events],
            next=None if following is None else self._history.token(seat, following),
        )

    async def _threads(self, seat: Seat, asked: ThreadsOf) -> ThreadsFound:
        if not is_here(self._cell, seat.room, Seq(1)):
            home = self._cell.cell_of(seat.room.home)
            try:
                return await self._cell.link.call(home, asked)
            except LinkDown:
                if not self._cell.cuts.leave_out(home, seat.room.room):
                    raise self._cell.away(home) from None
        return await self.answer_threads(self._cell.number, asked)

    async def answer_threads(self, _: CellNo, asked: ThreadsOf) -> ThreadsFound:
        limit = min(asked.limit, PAGE_MAX)
        return await self._reads.threads(asked.eyes, asked.start, limit, asked.participant)
