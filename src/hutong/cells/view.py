"""What readers know of rooms and members: committed only, cached, moved on in the same step as the tail."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from hutong.cells.batch import Batch
from hutong.cells.codes import LogKind
from hutong.cells.messages import RoomFacts, SightReply
from hutong.cells.reads import Reads
from hutong.cells.records import Member
from hutong.ids import AccountNo, HomeNo, MemberRef, RoomNo, Seq, id_bytes, id_text, room_no
from hutong.rooms.event_types import HISTORY_VISIBILITY, MEMBER
from hutong.rooms.projection import Projection, decode

CACHED_MAX = 100_000
Moves = list[tuple[Seq, int]]
"""(seq, the value from that event on), ascending."""
_SHOWN_BY = frozenset({MEMBER, HISTORY_VISIBILITY})
"""The types whose history decides who sees what."""
K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A dictionary that forgets what was longest unused."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._size_max:
            self._items.popitem(last=False)

    def drop(self, key: K) -> None:
        self._items.pop(key, None)

    def drop_where(self, condition: Callable[[V], bool]) -> None:
        """Cost: looks at everything."""
        for key in [key for key, value in self._items.items() if condition(value)]:
            del self._items[key]

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)


class RoomInfo(Struct, frozen=True, kw_only=True):
    """A room as this cell has it. `from_seq`: the timeline is complete here from this seq on (0: all of it)."""

    room: RoomNo
    room_id: str
    raw_id: bytes
    home: HomeNo
    version: int
    from_seq: Seq
    projection: Projection
    proj: bytes
    """The projection as it is stored and sent."""

    @property
    def facts(self) -> RoomFacts:
        return RoomFacts(room=self.room, room_id=self.raw_id, home=self.home, version=self.version, proj=self.proj)


class View:
    """Cached look-ups; an entry is dropped in the step that publishes what changes it."""

    def __init__(self, reads: Reads, server_name: Callable[[HomeNo], str]) -> None:
        self._reads = reads
        self._server_name = server_name
        self._rooms: Lru[RoomNo, RoomInfo] = Lru(CACHED_MAX)
        self._members: Lru[tuple[AccountNo, RoomNo], Member] = Lru(CACHED_MAX)
        self._visibility: Lru[RoomNo, Moves] = Lru(CACHED_MAX)
        self._moves: Lru[tuple[RoomNo, MemberRef], Moves] = Lru(CACHED_MAX)
        self._generation = 0

    def room_no(self, room_id: str) -> RoomNo | None:
        """The number of the room that `room_id` names, which need not exist; None: not a room id of ours."""
        raw = raw_room_id(room_id)
        return None if raw is None else room_no(raw)

    async def room(self, room: RoomNo) -> RoomInfo | None:
        """The room, when this cell knows it. Cost: one statement when it is not cached."""
        info = self._rooms.get(room)
        if info is None:
            generation = self._generation
            row = await self._reads.room(room)
            if row is None:
                return None
            raw = row["room_id"].bytes
            info = RoomInfo(
                room=room,
                room_id=room_id_text(raw, row["version"], self._server_name(row["home"])),
                raw_id=raw,
                home=row["home"],
                version=row["version"],
                from_seq=row["from_seq"],
                projection=decode(row["proj"]),
                proj=row["proj"],
            )
            if generation == self._generation:  # nothing was published while we read: this is still so
                self._rooms.put(room, info)
        return info

    async def member(self, account: AccountNo, room: RoomNo) -> Member | None:
        """The account's own member record. Cost: one statement when it is not cached."""
        member = self._members.get((account, room))
        if member is None:
            generation = self._generation
            member = await self._reads.member(account, room)
            if member is not None and generation == self._generation:
                self._members.put((account, room), member)
        return member

    async def sight(self, room: RoomNo, ref: MemberRef) -> SightReply:
        """What decides which events of a room that is at home here somebody may see.

        Cost: one statement when it is not cached.
        """
        visibility, membership = self._visibility.get(room), self._moves.get((room, ref))
        if visibility is not None and membership is not None:
            return SightReply(visibility=visibility, membership=membership)
        generation = self._generation
        reply = await self._reads.sight(room, ref)
        if generation == self._generation:
            self._visibility.put(room, reply.visibility)
            self._moves.put((room, ref), reply.membership)
        return reply

    def committed(self, batch: Batch) -> None:
        """Drop what `batch` changed."""
        for record in batch.records:
            if record.kind is LogKind.MEMBERSHIP:
                self._generation += 1
                self._members.drop((record.account, record.room))
                continue
            env = None if record.event is None else record.event.env
            if env is None or (env.proj is None and env.type not in _SHOWN_BY):
                continue
            self._generation += 1
            if env.proj is not None or not self._is_whole(record.room):
                self._rooms.drop(record.room)
            if env.type == HISTORY_VISIBILITY:
                self._visibility.drop(record.room)
            elif env.target is not None:
                self._moves.drop((record.room, env.target))

    def _is_whole(self, room: RoomNo) -> bool:
        """Whether the cached room is at home here: of another one, the copy may begin or end with somebody's move."""
        info = self._rooms.get(room)
        return info is not None and info.from_seq == 0

    def clear(self) -> None:
        """Batches were missed: look everything up anew."""
        self._generation += 1
        self._rooms.clear()
        self._members.clear()
        self._visibility.clear()
        self._moves.clear()


def room_id_text(raw: bytes, version: int, server_name: str) -> str:
    """`!id:server` up to version 11, `!id` from version 12 on."""
    return f"!{id_text(raw)}" if version >= 12 else f"!{id_text(raw)}:{server_name}"


def raw_room_id(room_id: str) -> bytes | None:
    """The 128-bit id within a room id; None for any other text."""
    return id_bytes(room_id[1:].partition(":")[0]) if room_id.startswith("!") else None
