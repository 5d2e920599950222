"""The ways between the regions of a node in this process, and what goes wrong on them."""

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from hutong.cells.link import Fault
from hutong.cells.view import Lru
from hutong.ids import CellNo

if TYPE_CHECKING:
    from hutong.node import Node

CN, EU, RU = 256, 512, 768
WAIT_S = 15.0


class Ways:
    """What goes wrong between regions; `heal` lets everything through again."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._faults = node.link.faults

    def both(self, one: int, other: int, **fault: float) -> None:
        self.one(one, other, **fault)
        self.one(other, one, **fault)

    def one(self, src: int, dest: int, **fault: float) -> None:
        for way in itertools.product(self.cells(src), self.cells(dest)):
            self._faults[way] = Fault(**fault)  # type: ignore[arg-type]

    def cells(self, region: int) -> list[CellNo]:
        """The cells of a region, which is called by the number of its first one."""
        return [number for number in self._node.cells if number // 256 == region // 256]

    def cut_off(self, cell: int) -> None:
        for other in {CN, EU, RU} - {cell}:
            self.both(cell, other, cut=True)

    def heal(self) -> None:
        self._faults.clear()

    async def cut_and_noticed(self, cell: int) -> None:
        """Cut `cell` off, and let everybody notice."""
        self.cut_off(cell)
        ways = [way for way in self._all() if (way[0] // 256 == cell // 256) != (way[1] // 256 == cell // 256)]
        for src, dest in ways:
            link = self._node.cells[src].link
            link._suspect(dest, link._way(dest))
        await self._until(lambda: all(self.is_cut(*way) for way in ways), "a cut")

    async def healed(self) -> None:
        """Let everything through again, and wait until everybody has noticed and told what was owed."""
        self.heal()
        await self._until(lambda: not any(self.is_cut(*way) for way in self._all()), "the end of a cut")
        await self._until(lambda: not any(cell.cuts._owed for cell in self._node.cells.values()), "heal records")

    def is_cut(self, src: CellNo, dest: CellNo) -> bool:
        return self._node.cells[src].link.is_cut(dest)

    def _all(self) -> list[tuple[CellNo, CellNo]]:
        return list(itertools.permutations(self._node.cells, 2))

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{what} did not come in {WAIT_S:.0f} s") from None


def forget_words(node: "Node", region: str) -> None:
    """As after a restart: `region` has nothing in memory of what was said, nor of people and threads elsewhere."""
    for slices in node.slices.values():
        if slices.cell.region.name == region:
            slices.cell.words._cache = Lru(1_000)
            slices.cell.names._cache = Lru(1_000)
            slices.sync.builder._pieces._cache = Lru(1_000)
            slices.sync.builder._roots._kept = Lru(1_000)
            for record in slices.cell.tail._records:
                record.words = None
