"""What relates to the events of a page: from this cell's copy where that is complete, else from the room's home."""

from collections.abc import Sequence

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import BundlesOf
from hutong.cells.records import Envelope
from hutong.cells.relation_reads import RelationReads
from hutong.cells.relations import END_OF_ROOM, Bundle, Eyes, Place
from hutong.cells.view import RoomInfo
from hutong.ids import CellNo, Seq


def first_here(cell: Cell, room: RoomInfo) -> Seq:
    """The first event of which this cell has everything that relates to it: that comes later than the event itself."""
    if cell.cell_of(room.home) == cell.number:
        return Seq(0)
    return room.from_seq if room.from_seq >= 0 else END_OF_ROOM


def is_here(cell: Cell, room: RoomInfo, seq: Seq) -> bool:
    """Whether this cell has everything that relates to event `seq`."""
    return seq >= first_here(cell, room)


class Bundles:
    def __init__(self, cell: Cell, reads: RelationReads) -> None:
        self._cell = cell
        self._reads = reads

    async def of(self, room: RoomInfo, eyes: Eyes, parents: Sequence[Envelope]) -> dict[Place, Bundle]:
        """What relates to each of `parents`, and to the last events of the threads that begin there.

        Cost: one statement; one call more for what is older than this cell's copy of the room. While the room's home is
        away, those tell nothing of what relates to them.
        """
        first = first_here(self._cell, room)
        here = [(room.room, env.seq) for env in parents if env.seq >= first]
        older = [env.seq for env in parents if env.seq < first]
        found = await self._reads.bundles(here, [eyes]) if here else {}
        if older:
            try:
                told = await self._cell.link.call(self._cell.cell_of(room.home), BundlesOf(eyes=eyes, parents=older))
            except LinkDown:
                return found
            found |= {(room.room, seq): bundle for seq, bundle in told}
        return found

    async def answer(self, _: CellNo, request: BundlesOf) -> list[tuple[Seq, Bundle]]:
        """Another cell asks about a room that is at home here."""
        eyes = request.eyes
        found = await self._reads.bundles([(eyes.room, seq) for seq in request.parents], [eyes])
        return [(seq, bundle) for (_, seq), bundle in found.items()]
