"""What a cut leaves behind: which rooms were told without the words of a cell that is cut off, and are told anew when
it answers again.

That something is owed is durable before anything is left out; of which rooms, is known in memory. After a restart it is
owed to every room with people of that cell.
"""

from collections.abc import Callable

from msgspec import field

from hutong.cells.batch import Batch
from hutong.cells.breaker import BreakingLink
from hutong.cells.memory import Memory
from hutong.cells.ops import PlainOp
from hutong.cells.reads import Reads
from hutong.cells.replication import Replication
from hutong.cells.writer import Writer
from hutong.ids import AccountNo, CellNo, HomeNo, MemberRef, Minute, RoomNo

CATCH_UP_S = 60.0


class CutBegan(PlainOp, kw_only=True):
    """A cell is cut off: from now on, its words may be left out."""

    cell: CellNo
    minute: Minute

    def form(self, batch: Batch, memory: Memory) -> None:
        batch.cut(self.cell, self.minute)


class Healed(PlainOp, kw_only=True):
    """A cell answers again: a heal record for each of `rooms`, or for every room with people of that cell."""

    cell: CellNo
    rooms: set[RoomNo] | None
    reads: Reads
    cell_of: Callable[[HomeNo], CellNo]
    _affected: set[RoomNo] = field(default_factory=set)
    _waiting: list[tuple[RoomNo, MemberRef, AccountNo]] = field(default_factory=list)

    async def prepare(self, memory: Memory) -> None:
        self._affected = self.rooms or set()
        if self.rooms is None:
            homes = await self.reads.foreign_homes()
            self._affected = {room for room, home in homes if self.cell_of(home) == self.cell}
        self._waiting = await self.reads.waiting_in(self._affected) if self._affected else []

    def form(self, batch: Batch, memory: Memory) -> None:
        for room in sorted(self._affected):
            batch.heal(room)
        for room, ref, account in self._waiting:  # who is invited watches no room
            batch.membership(room, ref, account)
        batch.cut_over(self.cell)


class Cuts:
    """The cuts of one cell's ways to the others.

    `settle` is called when a cell answers again: what waits for it may be sent now.
    """

    def __init__(
        self,
        *,
        link: BreakingLink,
        writer: Writer,
        reads: Reads,
        replication: Replication,
        cell_of: Callable[[HomeNo], CellNo],
        minute: Callable[[], Minute],
        settle: Callable[[], None],
    ) -> None:
        self._link, self._writer, self._reads, self._replication = link, writer, reads, replication
        self._cell_of, self._minute, self._settle = cell_of, minute, settle
        self._owed: dict[CellNo, set[RoomNo] | None] = {}
        """Which rooms are told anew when a cell answers again; None: every one with people of that cell."""
        link.on_cut, link.on_heal = self._began, self._healed

    async def start(self) -> None:
        """Take up the cuts that were there when this cell stopped."""
        for cell in await self._reads.cuts():
            self._owed[cell] = None
            self._link.start_cut(cell)

    def leave_out(self, cell: CellNo, room: RoomNo) -> bool:
        """Whether words of `cell` may be left out of an answer about `room`, since it is cut off and not just slow.

        If so, the room will be told anew to everybody here.
        """
        if not self._link.is_cut(cell):
            return False
        rooms = self._owed.setdefault(cell, set())
        if rooms is not None:
            rooms.add(room)
        return True

    async def _began(self, cell: CellNo) -> None:
        await self._writer.submit(CutBegan(cell=cell, minute=self._minute()))
        self._owed.setdefault(cell, set())

    async def _healed(self, cell: CellNo) -> None:
        await self._replication.catch_up(cell, CATCH_UP_S)
        self._settle()
        rooms = self._owed.get(cell, set())
        await self._writer.submit(Healed(cell=cell, rooms=rooms, reads=self._reads, cell_of=self._cell_of))
        self._owed.pop(cell, None)
