"""Whether a cell's own database answers. It is asked now and then: one that hangs is noticed without any traffic."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hutong.engines.databases import AWAY, NO_ROOM
from hutong.ids import CellNo
from hutong.outage import Outage

log = logging.getLogger(__name__)

EVERY_S = 5.0
SILENCE_S = 5.0
AGAIN_S = 0.5
"""How long it rests after no answer came."""


class Pulse:
    """Cost: one empty statement every EVERY_S."""

    def __init__(self, cell: CellNo, alive: Callable[[], Awaitable[None]]) -> None:
        """`alive` raises what the database raises when it is away."""
        self._cell = cell
        self._alive = alive
        self.beats = True
        """Whether the database answered when it was asked last."""

    async def run(self) -> None:
        outage = Outage(log, f"cell {self._cell}")
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._alive()
                self.beats = True
                outage.is_over()
            except (*AWAY, *NO_ROOM):
                self.beats = False
                outage.goes_on("its database does not answer")
            await asyncio.sleep(EVERY_S if self.beats else AGAIN_S)
