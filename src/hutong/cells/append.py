"""The operations by which events get their place in a room, at the room's home: one event, or a whole new room.

Only the sender's home writes the content; another cell's event comes with its words in memory.
"""

from dataclasses import dataclass, field

from hutong.cells.batch import Batch
from hutong.cells.drafts import Home, Prepared, SealedContent, prepare
from hutong.cells.memory import Memory, NotLoaded, RoomState
from hutong.cells.messages import Draft
from hutong.cells.numbering import apply, check, precheck
from hutong.cells.records import Member, Txn
from hutong.errors import GivenUp, NotFound, Unavailable
from hutong.ids import (
    HomeNo,
    MemberRef,
    Pos,
    RoomNo,
    Seq,
)
from hutong.rooms.event_types import MEMBER


class AppendOp:
    """One event at the end of a room that is at home in this cell. Its result is the event's seq."""

    def __init__(
        self, home: Home, room: RoomNo, draft: Draft, content: SealedContent | None = None, txn: Txn | None = None
    ) -> None:
        self._home, self._room, self._draft, self._content, self._txn = home, room, draft, content, txn
        self._state: RoomState | None = None
        self._prepared: Prepared | None = None

    async def prepare(self, memory: Memory) -> None:
        state = await memory.load(self._room)
        if state is None:
            raise NotFound("room_id: no such room")
        draft = self._draft
        people = (draft.sender, draft.target, draft.authoriser)
        await memory.load_members(state, [ref for ref in people if ref is not None])
        if self._prepared is None:
            precheck(state, draft)
            self._prepared = await prepare(self._home, self._room, state.room_id, state.version, draft, self._content)
        if self._prepared.skey is not None and self._prepared.type != MEMBER:  # `members` has those
            await memory.load_state(state, [(self._prepared.type, self._prepared.skey)])
        self._state = state

    def form(self, batch: Batch, memory: Memory) -> Seq:
        if memory.room(self._room) is not self._state or self._prepared is None:
            raise NotLoaded
        if self._draft.event_id in memory.voided:
            raise GivenUp("this event was given up before it arrived")
        check(self._state, self._prepared)
        if self._txn is not None:
            batch.txn(self._txn.account, self._txn.device, self._txn.key, self._draft.event_id, self._draft.minute)
        return apply(self._home, batch, self._state, self._prepared)

    async def found(self) -> Seq | None:
        event = await self._home.reads.event_by_id(self._draft.event_id)
        return event.env.seq if event is not None and event.env.room == self._room else None


@dataclass(kw_only=True)
class CreateOp:
    """A whole room: its first events as one chain, all of it or nothing. Its result is the seq of the last one."""

    home: Home
    room: RoomNo
    room_id: bytes
    room_home: HomeNo
    version: int
    drafts: list[tuple[Draft, SealedContent | None]]
    _prepared: list[Prepared] = field(default_factory=list, init=False)
    _members: dict[MemberRef, Member] = field(default_factory=dict, init=False)

    async def prepare(self, memory: Memory) -> None:
        if not self._prepared:
            targets = [draft.target for draft, _ in self.drafts if draft.target is not None]
            self._members = await self.home.reads.members_by_ref(self.room, targets)
            self._prepared = [
                await prepare(self.home, self.room, self.room_id, self.version, draft, content)
                for draft, content in self.drafts
            ]
        self._rehearse()

    def form(self, batch: Batch, memory: Memory) -> Seq:
        if memory.get(self.room) is not None:
            raise Unavailable("this room id is taken; try again", retry_after_ms=0)
        state = self._blank()
        memory.add(state)
        for prepared in self._prepared:
            apply(self.home, batch, state, prepared)
        return state.head

    async def found(self) -> Seq | None:
        event = await self.home.reads.event_by_id(self.drafts[-1][0].event_id)
        return None if event is None else event.env.seq

    def _blank(self) -> RoomState:
        state = RoomState(
            room=self.room, room_id=self.room_id, home=self.room_home, version=self.version, from_seq=Seq(0)
        )
        state.members = dict(self._members)
        for prepared in self._prepared:
            if prepared.skey is not None:
                state.state.setdefault((prepared.type, prepared.skey), None)
        return state

    def _rehearse(self) -> None:
        """Authorise the chain on a room that nobody sees, so that forming it cannot fail half way."""
        state, batch = self._blank(), Batch(Pos(0))
        numbers = dict(self.home.out_numbers)
        try:
            for prepared in self._prepared:
                check(state, prepared)
                apply(self.home, batch, state, prepared)
        finally:
            self.home.out_numbers.clear()
            self.home.out_numbers.update(numbers)
