"""The ids of events that began threads before this cell's copy of their room begins: asked of the room's home, once."""

import asyncio
from collections.abc import Sequence
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

    async def ids(self, places: Sequence[Place]) -> tuple[dict[Place, bytes], dict[Place, CellNo]]:
        """The ids of the events at `places`, none of which is here; and for those that may be had later, the cell to
        ask: it did not answer now, or they are beyond AT_ONCE_MAX and have their turn next. Any others do not exist.

        Cost: one call for each that was not asked for lately, all at once.
        """
        found = {place: id for place in places if (id := self._kept.get(place)) is not None}
        missing: dict[Place, CellNo] = {}
        for place in places:
            info = None if place in found else await self._view.room(place[0])
            home = None if info is None else self._directory.cell_of(info.home)
            if home is not None and home != self._cell:
                missing[place] = home
        now = list(missing.items())[:AT_ONCE_MAX]
        answers = await asyncio.gather(*(self._ask(home, *place) for place, home in now), return_exceptions=True)
        for (place, _), answer in zip(now, answers, strict=True):
            if isinstance(answer, LinkDown):
                continue
            if isinstance(answer, BaseException):
                raise answer
            del missing[place]
            if answer is not None:
                found[place] = answer
                self._kept.put(place, answer)
        return found, missing

    async def _ask(self, home: CellNo, room: RoomNo, seq: Seq) -> bytes | None:
        try:
            page = await self._link.call(home, Page(room=room, start=Seq(seq - 1), backwards=False, limit=1), WAIT_S)
        except MatrixError:
            return None
        return next((env.event_id for env in page.envelopes if env.seq == seq), None)
