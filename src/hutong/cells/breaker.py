"""Whether each other cell answers: slow is not cut.

A call that fails only makes its cell suspect. Then the cell is asked for a sign of life: if one comes, it is slow and
nothing changes; after three tries in vain, or two seconds of silence, the way to it is cut. While it is cut, every call
fails at once, and only the signs of life go on, so that one cell that is away costs nobody else any time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from hutong.cells.link import DEADLINE_S, Link, LinkDown, Request
from hutong.cells.messages import Ping
from hutong.errors import MatrixError
from hutong.ids import CellNo

log = logging.getLogger(__name__)

R = TypeVar("R")

TRIES = 3
SILENCE_S = 2.0
BETWEEN_TRIES_S = 0.1
PROBE_EVERY_S = 0.5
RETRY_S = 1.0

OnChange = Callable[[CellNo], Awaitable[None]]


@dataclass
class _Way:
    """One cell's way to another."""

    cut: bool = False
    heard_at: float = 0.0
    """When an answer came last, by the loop's time."""
    probe: asyncio.Task[None] | None = None
    healing: asyncio.Task[None] | None = None


class BreakingLink:
    """A cell's link, with a breaker for each cell that it leads to.

    `on_cut` runs before calls begin to fail at once, and must be durable: what is left out from then on is owed to
    readers. `on_heal` runs when the cell answers again; calls go through already.
    """

    def __init__(self, cell: CellNo, link: Link) -> None:
        self._cell = cell
        self._link = link
        self._ways: dict[CellNo, _Way] = {}
        self.on_cut: OnChange | None = None
        self.on_heal: OnChange | None = None

    def is_cut(self, dest: CellNo) -> bool:
        way = self._ways.get(dest)
        return way is not None and way.cut

    async def call(self, dest: CellNo, request: Request[R], deadline_s: float = DEADLINE_S) -> R:
        """As `Link.call`; a cell that is cut off fails at once."""
        way = self._way(dest)
        if way.cut:
            raise LinkDown(dest)
        try:
            reply = await self._link.call(dest, request, deadline_s)
        except LinkDown:
            self._suspect(dest, way)
            raise
        except MatrixError:
            self._heard(way)
            raise
        self._heard(way)
        return reply

    def send(self, dest: CellNo, request: Request[None]) -> None:
        if not self.is_cut(dest):
            self._link.send(dest, request)

    def start_cut(self, dest: CellNo) -> None:
        """Begin with `dest` cut off: so it was when this cell stopped, and readers are owed what was left out."""
        way = self._way(dest)
        way.cut = True
        self._suspect(dest, way)

    async def stop(self) -> None:
        tasks = [task for way in self._ways.values() for task in (way.probe, way.healing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _way(self, dest: CellNo) -> _Way:
        return self._ways.setdefault(dest, _Way())

    def _heard(self, way: _Way) -> None:
        way.heard_at = asyncio.get_running_loop().time()

    def _suspect(self, dest: CellNo, way: _Way) -> None:
        if way.probe is None or way.probe.done():
            way.probe = asyncio.get_running_loop().create_task(
                self._probe(dest, way), name=f"{self._cell} looks for {dest}"
            )

    async def _probe(self, dest: CellNo, way: _Way) -> None:
        """Ask for signs of life until one comes; cut the way off meanwhile when none comes in time."""
        while not way.cut:
            if await self._lives(dest, way):
                return
            if way.healing is not None:  # cut off again before what was owed has been told: it stays owed
                way.healing.cancel()
                await asyncio.gather(way.healing, return_exceptions=True)
            way.cut = await self._told(self.on_cut, dest)
            if way.cut:
                log.warning("cell %s: cell %s does not answer; it is cut off", self._cell, dest)
        since = asyncio.get_running_loop().time()
        await self._until(lambda: self._ping(dest), PROBE_EVERY_S)
        way.cut = False
        self._heard(way)
        log.warning("cell %s: cell %s answers again, after %.0f s", self._cell, dest, way.heard_at - since)
        way.healing = asyncio.get_running_loop().create_task(
            self._until(lambda: self._told(self.on_heal, dest), RETRY_S)
        )

    async def _until(self, succeeds: Callable[[], Awaitable[bool]], every_s: float) -> None:
        while True:
            if await succeeds():
                return
            await asyncio.sleep(every_s)

    async def _lives(self, dest: CellNo, way: _Way) -> bool:
        """Whether `dest` gives a sign of life, to this or to any other call, before it counts as cut off."""
        loop = asyncio.get_running_loop()
        began, tries = loop.time(), 0
        while tries < TRIES and loop.time() - began < SILENCE_S:
            tries += 1
            if await self._ping(dest) or way.heard_at > began:
                return True
            await asyncio.sleep(BETWEEN_TRIES_S)
        return way.heard_at > began

    async def _ping(self, dest: CellNo) -> bool:
        try:
            await self._link.call(dest, Ping(), SILENCE_S)
        except LinkDown:
            return False
        except MatrixError:  # it refuses to say so, but it is there
            return True
        return True

    async def _told(self, on_change: OnChange | None, dest: CellNo) -> bool:
        """Whether the change could be written down; if not, things stay as they are for now."""
        if on_change is None:
            return True
        try:
            await on_change(dest)
        except Exception as error:
            log.warning("cell %s: a change of cell %s could not be written down: %r", self._cell, dest, error)
            return False
        return True
