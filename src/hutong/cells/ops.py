"""The operations that number no event: staging content, account data, giving an event up.

`append` holds those that do, `markers` what moves receipts, `ingest` what arrives from other cells.
"""

from msgspec import Struct, structs

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import ContentState, OutKind
from hutong.cells.drafts import Home
from hutong.cells.memory import Memory, NotLoaded, RoomState
from hutong.cells.records import Txn
from hutong.errors import MatrixError
from hutong.ids import AccountNo, HomeNo, MemberRef, Minute, RoomNo, Seq
from hutong.rooms.event_types import Membership


class PlainOp(Struct, kw_only=True):
    """One that looks nothing up, and whose rows collide with none."""

    async def prepare(self, memory: Memory) -> None:
        """Nothing to look up."""

    async def found(self) -> None:
        """No row of these collides with another."""


class StageContent(PlainOp, kw_only=True):
    """Write the content of an event that goes to another cell, before it goes: it must not be lost on the way."""

    event_id: bytes
    account: AccountNo
    room: RoomNo
    room_home: HomeNo
    body: bytes
    minute: Minute
    txn: Txn | None
    state: ContentState = ContentState.PENDING

    def form(self, batch: Batch, memory: Memory) -> None:
        batch.content(self.event_id, self.account, self.state, self.room, self.room_home, self.body)
        if self.txn is not None:
            batch.txn(self.txn.account, self.txn.device, self.txn.key, self.event_id, self.minute)


class ContentLive(PlainOp, kw_only=True):
    """The room's home has the event: its content stays."""

    event_id: bytes

    def form(self, batch: Batch, memory: Memory) -> None:
        batch.content_live(self.event_id)


class ContentVoid(PlainOp, kw_only=True):
    """The event was refused, or never came to be: its content and its transaction go."""

    event_id: bytes
    txn: Txn | None

    def form(self, batch: Batch, memory: Memory) -> None:
        batch.content_gone(self.event_id)
        if self.txn is not None:
            batch.txn_gone(self.txn.account, self.txn.device, self.txn.key)


class VoidEvent(PlainOp, kw_only=True):
    """At the room's home: an event that has not arrived must not arrive later."""

    event_id: bytes
    minute: Minute

    def form(self, batch: Batch, memory: Memory) -> None:
        memory.voided.add(self.event_id)
        batch.voided(self.event_id, self.minute)


class TellErased(PlainOp, kw_only=True):
    """At the room's home: every cell of the room is told that the person behind `ref` is erased."""

    room: RoomNo
    ref: MemberRef
    home: Home
    _state: RoomState | None = None

    async def prepare(self, memory: Memory) -> None:
        self._state = await memory.load(self.room)

    def form(self, batch: Batch, memory: Memory) -> None:
        if self._state is None:
            return
        if memory.room(self.room) is not self._state:
            raise NotLoaded
        batch.erased.append((self.room, self.ref))
        for cell in self._state.cells:
            self.home.post(batch, Bell(dest=cell, room=self.room, seq=Seq(0), kind=OutKind.ERASED, a=self.ref))


class PutAccountData(PlainOp, kw_only=True):
    """Global (room 0) or per-room account data. `type_key`: the blind index of its type; `body`: sealed for `id`."""

    account: AccountNo
    room: RoomNo
    type_key: bytes
    id: bytes
    body: bytes

    def form(self, batch: Batch, memory: Memory) -> None:
        batch.account_data(self.account, self.room, self.type_key, self.id, self.body)


class Forget(PlainOp, kw_only=True):
    """A person who is not in the room any more does not want to see it in lists. Raises M_UNKNOWN (400) in the room."""

    account: AccountNo
    room: RoomNo
    ref: MemberRef
    _state: RoomState | None = None

    async def prepare(self, memory: Memory) -> None:
        self._state = await memory.load(self.room)
        if self._state is not None:
            await memory.load_members(self._state, [self.ref])

    def form(self, batch: Batch, memory: Memory) -> None:
        if self._state is None or memory.room(self.room) is not self._state:
            raise NotLoaded
        member = self._state.members[self.ref]
        if member.membership not in (Membership.LEAVE, Membership.BAN):
            raise MatrixError("roomId: you are in this room; leave it first")
        forgotten = structs.replace(member, forgotten=True)
        self._state.members[self.ref] = forgotten
        batch.touched.add(self.room)
        batch.member(forgotten)
        batch.membership(self.room, self.ref, self.account)
