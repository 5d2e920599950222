"""The one writer of a cell: operations go in, group commits come out.

What arrives while a commit is under way goes into the next one. Operations are authorised and numbered when the batch
is formed, in order, against memory; they are answered after the commit, when the tail shows them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import asyncpg

from hutong.cells.batch import Batch
from hutong.cells.memory import Memory, NotLoaded
from hutong.cells.tail import Tail
from hutong.engines.databases import AWAY
from hutong.errors import MatrixError, Unavailable
from hutong.ids import CellNo, Pos
from hutong.outage import Outage

log = logging.getLogger(__name__)

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")

QUEUE_MAX = 20_000
BATCH_OPS_MAX = 1_000
LINGER_S = 0.025
"""How long what comes often, and is not urgent, waits for more of its kind."""
OFTEN_S = 0.1
"""What moves again and again is written no more often than that."""
COMMIT_TIMEOUT_S = 30.0
RECONNECT_PATIENCE_S = 10.0
LOCK_PATIENCE_S = 30.0
STOP_PATIENCE_S = 5.0
START_OVER_PAUSE_S = 0.5
_NO_CONNECTION: tuple[type[Exception], ...] = (*AWAY, OSError, asyncpg.PostgresError)
_AWAY = "the database cannot be reached at the moment"


class Op(Protocol[R_co]):
    """Something that takes a place in the log or a timeline, or must be committed with such."""

    async def prepare(self, memory: Memory) -> None:
        """Load what `form` reads. May be called again. Raises MatrixError when it can be refused already."""

    def form(self, batch: Batch, memory: Memory) -> R_co:
        """Add the rows, or raise MatrixError or NotLoaded having added none. No I/O."""

    async def found(self) -> R_co | None:
        """The result that is in the tables already when the rows turn out to be there; None: they are not."""


class LingeringOp(Op[R_co], Protocol[R_co]):
    """One of many small moves of the same thing, of which only the last matters."""

    @property
    def key(self) -> Hashable:
        """What it moves."""

    def supersedes(self, earlier: Any) -> bool:
        """Whether nothing is left of `earlier`, which has the same key, once this is written."""


class NotTheWriter(Exception):
    """Another process holds this cell's lock."""


@dataclass
class _Entry(Generic[R]):
    op: Op[R]
    answer: "asyncio.Future[R]"
    result: R | None = None

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def succeed(self) -> None:
        if not self.answer.done():
            self.answer.set_result(self.result)  # type: ignore[arg-type]


class Writer:
    """Positions are counters in memory: one connection, which holds the cell's lock, commits serially."""

    def __init__(
        self,
        cell: CellNo,
        connect: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
        memory: Memory,
        tail: Tail,
        committed: Callable[[Batch], None],
        started_over: Callable[[], None],
    ) -> None:
        """`committed`: told of each batch in the step that publishes it; `started_over`: told when some were missed."""
        self._cell = cell
        self._connect = connect
        self._memory = memory
        self._tail = tail
        self._committed = committed
        self._started_over = started_over
        self._connection: asyncpg.Connection[Any] | None = None
        self._queue: list[_Entry[Any]] = []
        self._lingering: dict[Hashable, _Entry[Any]] = {}
        self._let_go: dict[Hashable, float] = {}
        """When something with a key last stopped to linger: those of the last OFTEN_S, in this order."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        """Whether the database has been away for longer than anybody should wait."""
        self._outage = Outage(log, f"cell {cell}")
        self.commits = 0
        """Group commits so far."""

    async def start(self) -> None:
        """Take the cell's lock and begin. Raises NotTheWriter."""
        await self._reconnect(LOCK_PATIENCE_S)
        self._tail.reset(await self._head())
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"writer of cell {self._cell}")

    async def stop(self) -> None:
        """Commit what was submitted, then let go of the lock."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_PATIENCE_S):
                await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        for entry in self._queue:
            entry.fail(Unavailable("the node is stopping"))
        if self._connection is not None:
            with contextlib.suppress(*_NO_CONNECTION):  # it hangs, or is gone
                await self._connection.close(timeout=STOP_PATIENCE_S)

    @property
    def ready(self) -> bool:
        """Whether it holds the cell's lock and can commit."""
        alive = self._task is not None and not self._task.done()
        connected = self._connection is not None and not self._connection.is_closed()
        return alive and connected and not self._away

    async def submit(self, op: Op[R]) -> R:
        """Commit `op` with the next batch. Resolves when it is durable and the tail shows it.

        Raises: MatrixError as the operation refuses; Unavailable (503) when the database or the node is not there.
        Cost: a share of one statement per batch.
        """
        self._check_open()
        if len(self._queue) >= QUEUE_MAX:
            raise Unavailable("too many writes are waiting", retry_after_ms=1_000)
        await op.prepare(self._memory)
        self._check_open()  # it may have stopped meanwhile, and would never answer
        entry = _Entry(op, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._idle.clear()
        self._wake.set()
        result: R = await entry.answer
        return result

    async def submit_soon(self, op: LingeringOp[R]) -> R:
        """Commit `op` as `submit` does, LINGER_S later: until then the last of those with its key takes their place.

        Cost: as of `submit`, at most once per key and OFTEN_S.
        """
        self._check_open()
        await op.prepare(self._memory)
        self._check_open()
        entry = self._lingering.get(op.key)
        if entry is None:
            if len(self._lingering) >= QUEUE_MAX:
                raise Unavailable("too many writes are waiting", retry_after_ms=1_000)
            loop = asyncio.get_running_loop()
            if not self._lingering:
                loop.call_later(LINGER_S, self._linger_no_more)
            entry = self._lingering[op.key] = _Entry(op, loop.create_future())
            entry.answer.add_done_callback(_heard)
            self._idle.clear()
        elif op.supersedes(entry.op):
            entry.op = op
        result: R = await asyncio.shield(entry.answer)  # others wait for it too
        return result

    def _linger_no_more(self) -> None:
        loop = asyncio.get_running_loop()
        now, let_go = loop.time(), self._let_go
        while let_go and next(iter(let_go.values())) <= now - OFTEN_S:
            del let_go[next(iter(let_go))]
        for key in [key for key in self._lingering if key not in let_go]:
            self._queue.append(self._lingering.pop(key))
            let_go[key] = now
        if self._lingering:
            loop.call_later(LINGER_S, self._linger_no_more)
        self._wake.set()

    def _check_open(self) -> None:
        if self._task is None or self._task.done():
            raise Unavailable("the node is not ready to write")
        if self._away:
            raise Unavailable(_AWAY)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._idle.clear()
            while self._queue:
                entries, self._queue = self._queue[:BATCH_OPS_MAX], self._queue[BATCH_OPS_MAX:]
                try:
                    await self._commit(entries)
                except asyncio.CancelledError:
                    for entry in entries:
                        entry.fail(Unavailable("the node is stopping"))
                    raise
                except Exception as error:
                    log.exception("cell %s: a batch could not be committed", self._cell)
                    for entry in entries:
                        entry.fail(error)
                    await self._start_over()
            if not self._lingering:
                self._idle.set()

    async def _commit(self, entries: Sequence[_Entry[Any]]) -> None:
        batch, formed, unloaded = Batch(self._tail.head, self._memory.counters()), [], []
        for entry in entries:
            try:
                entry.result = entry.op.form(batch, self._memory)
                formed.append(entry)
            except NotLoaded:
                unloaded.append(entry)
            except MatrixError as error:
                entry.fail(error)
            except Exception as error:
                # A mistake of ours, perhaps half way: this batch cannot be trusted. The others, without it, anew.
                log.exception("cell %s: %s could not be formed", self._cell, type(entry.op).__name__)
                entry.fail(error)
                self._undo(batch)
                await self._again([other for other in entries if not other.answer.done()])
                return
        batch.finish()
        if formed:
            await self._write(batch, formed)
        if unloaded:
            await self._again(unloaded)

    async def _write(self, batch: Batch, entries: Sequence[_Entry[Any]]) -> None:
        try:
            if not batch.empty:
                async with self._patience(entries):
                    await self._execute(batch)
        except ValueError as error:  # of asyncpg: a value that its column cannot hold
            await self._bisect(batch, entries, error)
        except AWAY:
            await self._recover(batch, entries)
        except asyncpg.InsufficientResourcesError as error:
            self._undo(batch)
            self._outage.goes_on(f"the database has no room to write: {type(error).__name__}")
            for entry in entries:
                entry.fail(Unavailable("the database has no room to write", retry_after_ms=10_000))
        except asyncpg.PostgresError as error:
            await self._bisect(batch, entries, error)
        else:
            self._outage.is_over()
            self._publish(batch, entries)

    def _undo(self, batch: Batch) -> None:
        """Make memory what the tables say: `batch` is not in them."""
        self._memory.undo(batch.touched, batch.counters)

    async def _execute(self, batch: Batch) -> None:
        if self._connection is None or self._connection.is_closed():
            raise ConnectionError
        await batch.execute(self._connection, COMMIT_TIMEOUT_S)

    def _publish(self, batch: Batch, entries: Sequence[_Entry[Any]]) -> None:
        # One step, no await: tail, head, caches of readers and wake-ups move together, and only then the answers.
        self.commits += 1
        for room, seq, by in batch.redactions:
            self._tail.redact(room, seq, by)
        self._committed(batch)
        self._tail.publish(batch.records, batch.head)
        self._memory.trim()
        for entry in entries:
            entry.succeed()

    async def _again(self, entries: Sequence[_Entry[Any]]) -> None:
        """Prepare operations anew, one by one, and commit those that still stand."""
        ready = []
        for entry in entries:
            try:
                await entry.op.prepare(self._memory)
                ready.append(entry)
            except Exception as error:
                entry.fail(error)
        if ready:
            await self._commit(ready)

    async def _bisect(self, batch: Batch, entries: Sequence[_Entry[Any]], error: Exception) -> None:
        """One operation's rows are refused: find it, and let the others through."""
        self._undo(batch)
        if len(entries) > 1:
            middle = len(entries) // 2
            await self._again(entries[:middle])
            await self._again(entries[middle:])
            return
        entry = entries[0]
        entry.result = await entry.op.found() if isinstance(error, asyncpg.UniqueViolationError) else None
        if entry.result is None:
            log.error("cell %s: %s refused: %s", self._cell, type(entry.op).__name__, type(error).__name__)
            entry.fail(Unavailable("this could not be written"))
        else:
            entry.succeed()

    async def _recover(self, batch: Batch, entries: Sequence[_Entry[Any]]) -> None:
        """Connection lost, lock lost: the batch may be there or not. Lock again, look, then answer or do it anew."""
        self._outage.goes_on("the connection to the database was lost")
        async with self._patience(entries):
            await self._reconnect(float("inf"))
            landed, head = await self._landed(batch), await self._head()
        if landed and head == batch.head:
            self._publish(batch, entries)
            return
        self._undo(batch)
        if head != self._tail.head:  # somebody else held the lock meanwhile: what is in memory is old
            await self._reload(head)
        await self._again([entry for entry in entries if not entry.answer.done()])

    async def _start_over(self) -> None:
        """A batch came to an end that nobody foresaw: the tables say how far it came."""
        async with self._patience(()):
            while True:
                try:
                    await self._reconnect(float("inf"))
                    await self._reload(await self._head())
                    return
                except _NO_CONNECTION as error:
                    self._outage.goes_on(f"the connection to the database was lost again: {type(error).__name__}")
                    await asyncio.sleep(START_OVER_PAUSE_S)

    async def _reload(self, head: Pos) -> None:
        await self._memory.load_counters()
        self._memory.clear()
        self._tail.reset(head)
        self._started_over()

    @contextlib.asynccontextmanager
    async def _patience(self, entries: Sequence[_Entry[Any]]) -> AsyncIterator[None]:
        """Whoever waits for the database is let go after a while, and whoever comes then at once."""
        timer = asyncio.get_running_loop().call_later(RECONNECT_PATIENCE_S, self._give_up, entries)
        try:
            yield
        finally:
            timer.cancel()
            self._away = False

    def _give_up(self, entries: Sequence[_Entry[Any]]) -> None:
        self._away = True
        queued, self._queue = self._queue, []
        lingering, self._lingering = self._lingering, {}
        for entry in (*entries, *queued, *lingering.values()):
            entry.fail(Unavailable(_AWAY))

    async def _landed(self, batch: Batch) -> bool:
        assert self._connection is not None
        return await batch.landed(self._connection)

    async def _reconnect(self, patience_s: float) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + patience_s, 0.05
        while True:
            try:
                connection = await self._connect()
                if await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._cell):
                    self._connection = connection
                    return
                await connection.close()
                reason: Exception = NotTheWriter(f"another process writes cell {self._cell}: it holds the cell's lock")
            except _NO_CONNECTION as error:
                reason = error
            if loop.time() >= until:
                raise reason
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, 2.0)

    async def _head(self) -> Pos:
        assert self._connection is not None
        return Pos(await self._connection.fetchval("SELECT coalesce(max(pos), 0) FROM log"))


def _heard(answer: "asyncio.Future[Any]") -> None:
    """Who asked may have gone: then nobody looks at the error."""
    if not answer.cancelled():
        answer.exception()
