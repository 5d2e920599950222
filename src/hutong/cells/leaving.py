"""Leaving a room whose home cannot be told now: it holds here at once, and is sent until the home has heard of it."""

from msgspec import structs

from hutong.cells.batch import Batch
from hutong.cells.codes import LogKind
from hutong.cells.memory import Memory, NotLoaded, RoomState
from hutong.cells.ops import PlainOp
from hutong.cells.records import Leaving, Record
from hutong.ids import AccountNo, MemberRef, Minute, RoomNo
from hutong.rooms.event_types import Membership


class LeaveHere(PlainOp, kw_only=True):
    """Let somebody of this cell be out of a room of another cell, by an event that is owed to that room's home."""

    room: RoomNo
    ref: MemberRef
    account: AccountNo
    event_id: bytes
    minute: Minute
    _state: RoomState | None = None

    async def prepare(self, memory: Memory) -> None:
        self._state = await memory.load(self.room)
        if self._state is not None:
            await memory.load_members(self._state, [self.ref])

    def form(self, batch: Batch, memory: Memory) -> None:
        state = self._state
        if state is None or memory.room(self.room) is not state:
            raise NotLoaded
        member = state.members[self.ref]
        if member.membership in (Membership.LEAVE, Membership.BAN):
            return  # it has come meanwhile, by itself or by somebody else's hand
        batch.touched.add(self.room)
        state.joined[member.home] = state.joined.get(member.home, 0) - (member.membership == Membership.JOIN)
        state.members[self.ref] = structs.replace(member, membership=Membership.LEAVE)
        batch.member(state.members[self.ref])
        pos = batch.next_pos()
        batch.log(Record(pos=pos, kind=LogKind.MEMBERSHIP, room=self.room, account=self.account))
        state.leaving[self.ref] = Leaving(
            room=self.room, ref=self.ref, account=self.account, event_id=self.event_id, seq=state.head,
            ends=member.seq, pos=pos, minute=self.minute,
        )  # fmt: skip
        batch.leaving(state.leaving[self.ref])


class LeaveSuperseded(PlainOp, kw_only=True):
    """The room's home has moved the membership meanwhile: what it says counts, and the leaving is given up."""

    leaving: Leaving

    def form(self, batch: Batch, memory: Memory) -> None:
        state = memory.get(self.leaving.room)
        if state is not None:
            state.leaving.pop(self.leaving.ref, None)
            batch.touched.add(self.leaving.room)
        batch.content_gone(self.leaving.event_id)
        batch.left(self.leaving.room, self.leaving.ref)
        batch.membership(self.leaving.room, self.leaving.ref, self.leaving.account)
