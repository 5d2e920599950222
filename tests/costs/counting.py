"""What an operation costs, counted on a real node with real PostgreSQL: figures that are the same on every machine.

    async with counted(node) as costs:
        await alice.send(room, "hello")
    assert costs.reads == []
    assert costs.commits == {CN: 1}
    assert costs.rows == {"events": 1, "content": 1, "log": 1, "txns": 1}

Counted is everything that the node does until it has nothing left to do, in all of its cells.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import asyncpg
import pytest

import hutong
from hutong.cells.cell import Cell
from hutong.cells.link import InProcessLink, Request
from hutong.cells.messages import Pull
from hutong.ids import CellNo
from hutong.node import Node
from hutong.rooms import render
from hutong.sync.build import Builder
from hutong.sync.response import Assembler
from hutong.sync.session import Session
from hutong.vault.disk import Disk
from hutong.vault.vault import Vault

CN, EU, RU = CellNo(256), CellNo(512), CellNo(768)
SETTLED_S = 20.0
ASIDE = ("FROM out o", "FROM content WHERE state <> 2", "pg_stat_", "typeinfo_tree", "set_config('jit'")
"""What is left out: what a cell asks every few seconds whatever its people do, what this module asks, and what the
driver asks once about the types of a new connection."""
ALIVE = "SELECT"
"""What a cell asks to see whether its database answers."""
CALLS: dict[str, tuple[Any, str]] = {
    "sealed": (Vault, "seal"),
    "opened": (Vault, "open"),
    "rendered": (render, "fragment"),
    "woken": (Session, "__call__"),
    "looks": (Builder, "timelines"),
    "assembled": (Assembler, "answer"),
    "files": (Disk, "write_atomically"),
}
"""What is counted where it is called: sealing and opening of words, rendering of events, waiting polls that the tail
calls, looks of polls at the news, answers put together, files written with two flushes each."""
_SOURCE = str(Path(hutong.__file__).parent)
_FLUSH = "SELECT pg_stat_force_next_flush()"
_ROWS = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"


@dataclass
class Costs:
    """Filled while the block runs, `rows` and `commits` when it ends."""

    reads: list[str] = field(default_factory=list)
    """The text of every statement on a pool, in order."""
    read_in: Counter[CellNo] = field(default_factory=Counter)
    writes: list[str] = field(default_factory=list)
    """The text of every statement on a writer's own connection."""
    commits: dict[CellNo, int] = field(default_factory=dict)
    """Group commits by cell; cells without are left out."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows inserted, changed and deleted in all cells by table, as PostgreSQL counted them; tables without left out."""
    calls: Counter[str] = field(default_factory=Counter)
    """Of CALLS."""
    links: Counter[str] = field(default_factory=Counter)
    """Requests that cross to another cell, by their flow; without the pulls of a quiet outbox."""
    link_bytes: int = 0
    """What crossed between cells, both ways."""
    lines_in: Counter[str] = field(default_factory=Counter)
    """Lines of the package that were run on the loop, by function: work that neither a statement nor a call shows. With
    `trace`; without what timers do, since they go off when they like.
    """

    @property
    def lines(self) -> int:
        return self.lines_in.total()

    def __str__(self) -> str:
        reads = "".join(
            f"\n    {count} x {' '.join(text.split())[:150]}" for text, count in Counter(self.reads).items()
        )
        return (
            f"commits {self.commits}, rows {self.rows}, calls {dict(self.calls)}, links {dict(self.links)}, "
            f"{self.link_bytes} bytes between cells, {self.lines} lines, reads:{reads or ' none'}"
        )


@asynccontextmanager
async def counted(node: Node, *, trace: bool = False) -> AsyncIterator[Costs]:
    """Count what the block makes `node`, which runs in this process and has nothing else to do, do.

    `trace` counts lines too, and takes several times as long.
    """
    costs = Costs()
    async with AsyncExitStack() as undo:
        await settled(node)
        before_rows = await _rows(node)
        before = {number: cell.writer.commits for number, cell in node.cells.items()}
        for cell in node.cells.values():
            await _log_statements(cell, costs, undo)
        _count_calls(costs, undo)
        _count_links(node, costs, undo)
        if trace:
            sys.settrace(_tracer(costs))
            undo.callback(sys.settrace, None)
        yield costs
        await settled(node)
    costs.commits = {
        number: cell.writer.commits - before[number]
        for number, cell in node.cells.items()
        if cell.writer.commits > before[number]
    }
    after_rows = await _rows(node)
    costs.rows = {
        table: count - before_rows[table] for table, count in after_rows.items() if count > before_rows[table]
    }


async def settled(node: Node) -> None:
    """Wait until nothing is under way: every writer idle, and every cell told of all that concerns it."""
    cells = node.cells.values()
    async with asyncio.timeout(SETTLED_S):
        while not all(map(_idle, cells)) or any(_owes(one, other) for one in cells for other in cells):
            await asyncio.sleep(0.005)
        for _ in range(3):  # what was called for this very step
            await asyncio.sleep(0)


def _idle(cell: Cell) -> bool:
    return cell.writer._idle.is_set() and not cell.writer._queue and not cell.writer._lingering


def _owes(src: Cell, dest: Cell) -> bool:
    return dest.memory.cursors.get(src.number, 0) < src.memory.out_numbers.get(dest.number, 0)


async def _log_statements(cell: Cell, costs: Costs, undo: AsyncExitStack) -> None:
    def read(record: asyncpg.connection.LoggedQuery) -> None:
        if record.query != ALIVE and not any(text in record.query for text in ASIDE):
            costs.reads.append(record.query)
            costs.read_in[cell.number] += 1

    def written(record: asyncpg.connection.LoggedQuery) -> None:
        costs.writes.append(record.query)

    pool: Any = cell.pool
    begin = pool._init

    async def on_new(connection: Any) -> None:
        await begin(connection)
        connection.add_query_logger(read)

    pool._init = on_new
    undo.callback(setattr, pool, "_init", begin)
    async with _all_connections(cell) as connections:
        for connection in connections:
            raw = connection._con  # what is logged of a connection ends when it goes back, of the one behind it never
            raw.add_query_logger(read)
            undo.callback(raw.remove_query_logger, read)
    writer = cell.writer._connection
    assert writer is not None
    writer.add_query_logger(written)
    undo.callback(writer.remove_query_logger, written)


@asynccontextmanager
async def _all_connections(cell: Cell) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(cell.pool.acquire()) for _ in range(cell.pool.get_size())]


def _count_calls(costs: Costs, undo: AsyncExitStack) -> None:
    patch = pytest.MonkeyPatch()
    undo.callback(patch.undo)
    for name, (owner, attribute) in CALLS.items():
        patch.setattr(owner, attribute, _counting(getattr(owner, attribute), costs.calls, name))


def _counting(call: Callable[..., Any], calls: Counter[str], name: str) -> Callable[..., Any]:
    def counting(*arguments: Any, **named: Any) -> Any:
        calls[name] += 1
        return call(*arguments, **named)

    return counting


def _count_links(node: Node, costs: Costs, undo: AsyncExitStack) -> None:
    patch = pytest.MonkeyPatch()
    undo.callback(patch.undo)

    def noted(way: Callable[..., Any]) -> Callable[..., Any]:
        def through(link: InProcessLink, dest: CellNo, request: Request[Any], *more: Any) -> Any:
            if not isinstance(request, Pull):
                costs.links[request.flow] += 1
            return way(link, dest, request, *more)

        return through

    for name in ("call", "send"):
        patch.setattr(InProcessLink, name, noted(getattr(InProcessLink, name)))

    def crossed(src: CellNo, dest: CellNo, flow: str, raw: bytes) -> None:
        if flow != Pull.flow:
            costs.link_bytes += len(raw)

    patch.setattr(node.link, "recorder", crossed)


def _tracer(costs: Costs) -> Callable[[FrameType, str, Any], Any]:
    aside = False

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            costs.lines_in[f"{frame.f_code.co_filename[len(_SOURCE) + 1 :]} {frame.f_code.co_qualname}"] += 1
        return on_line

    def on_end(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal aside
        aside = event != "return"
        return on_end

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal aside
        if aside or not frame.f_code.co_filename.startswith(_SOURCE):
            return None
        aside = _is_timer(frame.f_back)
        return on_end if aside else on_line

    return on_call


def _is_timer(frame: FrameType | None) -> bool:
    """Whether the loop calls because a time has come, and not because something has happened."""
    if frame is None or frame.f_code is not asyncio.Handle._run.__code__:
        return False
    return isinstance(frame.f_locals["self"], asyncio.TimerHandle)


async def _rows(node: Node) -> Counter[str]:
    """How many rows were written so far by table. Each connection is made to say what it has not said yet."""
    total: Counter[str] = Counter()
    for cell in node.cells.values():
        assert cell.writer._connection is not None
        await cell.writer._connection.execute(_FLUSH)
        async with _all_connections(cell) as connections:
            for connection in connections:
                await connection.execute(_FLUSH)
            total.update({table: int(count) for table, count in await connections[0].fetch(_ROWS)})
    return total
