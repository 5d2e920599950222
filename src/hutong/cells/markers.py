"""How a read marker moves: forward only, durable where its owner is at home, and from there to the others.

A public one is a row in the outbox for the room's home, which tells the other cells of the room. So it arrives after a
cut, and until then counts where it was set.
"""

from msgspec import Struct

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import MAIN_THREAD, CellRole, OutKind, ReceiptType
from hutong.cells.drafts import Home
from hutong.cells.memory import Memory, NotLoaded, ReceiptKey, RoomState
from hutong.cells.messages import OutRow
from hutong.cells.records import ReceiptRow
from hutong.ids import CellNo, MemberRef, Minute, RoomNo, Seq

MINUTE_BITS = 32


class MarkRead(Struct, kw_only=True):
    """Move a marker of somebody who is at home here. Its result: whether it moved. Nobody is woken for one that stands
    still.
    """

    room: RoomNo
    ref: MemberRef
    rtype: int
    thread: int
    seq: Seq
    minute: Minute
    home: Home
    _state: RoomState | None = None

    @property
    def key(self) -> tuple[RoomNo, ReceiptKey]:
        return self.room, (self.ref, self.rtype, self.thread)

    def supersedes(self, earlier: "MarkRead") -> bool:
        """Whether nothing of `earlier`, with the same key, is left when this is written."""
        return self.seq > earlier.seq

    async def prepare(self, memory: Memory) -> None:
        self._state = await memory.load(self.room)
        if self._state is not None:
            await memory.load_receipts(self._state, [self.key[1]])

    def form(self, batch: Batch, memory: Memory) -> bool:
        state = self._state
        if state is None:
            return False
        if memory.room(self.room) is not state:
            raise NotLoaded
        return move(self.home, batch, state, self.key[1], self.seq, self.minute, self.home.cell)

    async def found(self) -> None:
        """No row of these collides with another."""


def move(home: Home, batch: Batch, state: RoomState, key: ReceiptKey, seq: Seq, minute: Minute, src: CellNo) -> bool:
    """Write down that a marker moved, of which cell `src` tells, and tell those who must hear of it from here.

    Returns whether it moved. Cost: a row, and one in the outbox for each cell that is told.
    """
    if state.receipts.get(key, 0) >= seq:
        return False
    state.receipts[key] = seq
    batch.touched.add(state.room)
    ref, rtype, thread = key
    pos = batch.receipt_pos(state.room)
    batch.receipt(ReceiptRow(room=state.room, ref=ref, rtype=rtype, thread=thread, seq=seq, minute=minute, pos=pos))
    if rtype == ReceiptType.READ:
        for dest in _hearers(home, state, src):
            bell = Bell(dest=dest, room=state.room, seq=seq, kind=OutKind.RECEIPT, thread=thread)
            bell.a, bell.b = ref, rtype << MINUTE_BITS | minute
            home.post(batch, bell)
    return True


def _hearers(home: Home, state: RoomState, src: CellNo) -> list[CellNo]:
    """Whom this cell tells of a public marker: the room's home tells every other cell, a member's cell the home."""
    at_home = home.directory.cell_of(state.home)
    if at_home == home.cell:
        return [cell for cell, role in state.cells.items() if role == CellRole.MEMBER and cell != src]
    return [at_home] if src == home.cell else []


def marker(row: OutRow) -> tuple[ReceiptKey, Minute]:
    """Which marker a row is about, and when it moved."""
    return (MemberRef(row.a), row.b >> MINUTE_BITS, row.thread), Minute(row.b & (1 << MINUTE_BITS) - 1)


def credible(home: Home, state: RoomState, row: OutRow, src: CellNo) -> bool:
    """Whether `src` may say so: the room's home of everybody, another cell to the home of its own members only."""
    (ref, rtype, thread), _ = marker(row)
    if rtype != ReceiptType.READ:
        return False
    at_home = home.directory.cell_of(state.home)
    if at_home != home.cell:
        return src == at_home
    member = state.members.get(ref)
    theirs = member is not None and member.membership != 0 and home.directory.cell_of(member.home) == src
    return theirs and 0 < row.seq <= state.head and MAIN_THREAD <= thread <= state.head
