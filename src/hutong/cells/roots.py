"""The ids of events that began threads before this cell's copy of their room begins: asked of the room's home, once."""

import asyncio
from collections.abc import Iterable
from typing import Final

from hutong.cells.directory import Directory
from hutong.cells.link import Link, LinkDown
from hutong.cells.messages import Page
from hutong.cells.view import Lru, View
from hutong.errors import MatrixError
from hutong.ids import CellNo, RoomNo, Seq

ROOTS_KEPT_MAX: Final = 50_000
AT_ONCE_MAX: Final = 50
WAIT_S: Final = 1.0

Place = tuple[RoomNo, Seq]


class Roots:
    def __init__(self, cell: CellNo, directory: Directory, view: View, link: Link) -> None:
        self._cell, self._directory, self._view, self._link = cell, directory, view, link
        self._kept: Lru[Place, bytes] = Lru(ROOTS_KEPT_MAX)

    async def ids(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """The ids of the events at `places`, none of which is here. Absent: those whose room's home is away, and what
        is beyond AT_ONCE_MAX, which has its turn with the next answer.

        Cost: one call for each that was not asked for lately, all at once.
        """
        found = {place: id for place in places if (id := self._kept.get(place)) is not None}
        missing = [place for place in places if place not in found][:AT_ONCE_MAX]
        for place, id in zip(missing, await asyncio.gather(*(self._ask(*place) for place in missing)), strict=True):
            if id is not None:
                found[place] = id
                self._kept.put(place, id)
        return found

    async def _ask(self, room: RoomNo, seq: Seq) -> bytes | None:
        info = await self._view.room(room)
        home = None if info is None else self._directory.cell_of(info.home)
        if home is None or home == self._cell:
            return None
        try:
            page = await self._link.call(home, Page(room=room, start=Seq(seq - 1), backwards=False, limit=1), WAIT_S)
        except (LinkDown, MatrixError):
            return None
        return next((env.event_id for env in page.envelopes if env.seq == seq), None)
