"""How rooms reach other cells: an outbox that is pulled with a cursor, and a bell that carries contents in memory.

The outbox is the truth; a lost bell costs time, never an event. One task per source ingests in order, so a slow cell
delays its own records only.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from asyncpg import Pool

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import LogKind, Loud, OutKind
from hutong.cells.directory import Directory
from hutong.cells.drafts import Home
from hutong.cells.ingest import Ingest, Snapshots
from hutong.cells.link import Link, LinkDown
from hutong.cells.memory import Memory
from hutong.cells.messages import (
    Marker,
    Missed,
    MissedRooms,
    OutRow,
    Pull,
    Push,
    RoomFacts,
    Snapshot,
    SnapshotReply,
)
from hutong.cells.names import Names
from hutong.cells.reads import FIRST, Reads
from hutong.cells.records import Envelope, Words
from hutong.cells.rows import TOLD_COLUMNS, TOLD_JOINS, TOLD_WIDTH, told_of
from hutong.cells.tail import Tail
from hutong.cells.view import CACHED_MAX, Lru
from hutong.cells.words import WordsReader
from hutong.cells.writer import Writer
from hutong.engines.databases import AWAY, NO_ROOM
from hutong.errors import MatrixError, NotFound
from hutong.ids import AccountNo, CellNo, MemberRef, RoomNo, Seq
from hutong.outage import Outage
from hutong.rooms.event_types import Membership

log = logging.getLogger(__name__)

PULL_ROWS_MAX = 500
PUSH_ROWS_MAX = 200
PORTIONS_MAX = 200
"""How many pushes of one source wait in memory."""
QUIET_PULL_S = 5.0
"""How long a lost bell can delay an event."""
RETRY_S = 0.5
WORDS_WAIT_S = 1.0
MENTIONS_MAX = 100
SNAPSHOT_ROWS_MAX = 50_000
"""Of a room's state or receipts in one message: some megabytes."""
NO_STATE = (-(2**63), -(2**63))
CATCH_UP_DEADLINE_S = 60.0


_OUT = f"""
    SELECT {TOLD_COLUMNS}, o.n, o.room, o.seq, o.kind, o.a, o.b, o.thread
    FROM out o
    LEFT JOIN events e ON e.room = o.room AND e.seq = o.seq AND o.kind <> {OutKind.RECEIPT}
    {TOLD_JOINS}
    WHERE o.dest = $1 AND o.n > $2 ORDER BY o.n LIMIT $3"""
_JSON = msgspec.json.Decoder(dict[str, Any])


@dataclass(kw_only=True)
class _Source:
    """What has come from one other cell and waits to be ingested."""

    bell: asyncio.Event = field(default_factory=asyncio.Event)
    portions: list[Push] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    """There was nothing more to ingest when it was looked last."""


class Replication:
    def __init__(
        self,
        *,
        home: Home,
        directory: Directory,
        pool: "Pool[Any]",
        reads: Reads,
        memory: Memory,
        writer: Writer,
        tail: Tail,
        words: WordsReader,
        names: Names,
        link: Link,
    ) -> None:
        self._home, self._directory, self._pool, self._reads = home, directory, pool, reads
        self._memory, self._writer, self._tail = memory, writer, tail
        self._words, self._names, self._link = words, names, link
        self._sources: dict[CellNo, _Source] = {}
        self._waiting: dict[RoomNo, list[tuple[Seq, asyncio.Future[None]]]] = {}
        self._reached: Lru[RoomNo, Seq] = Lru(CACHED_MAX)
        """The last seq of each room that was committed here lately."""

    async def load(self) -> None:
        """Read the counters, before the writer starts."""
        await self._memory.load_counters()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        for cell in self._directory.cells():
            if cell != self._home.cell:
                source = self._sources[cell] = _Source()
                source.task = loop.create_task(self._follow(cell, source), name=f"{self._home.cell} follows {cell}")

    async def stop(self) -> None:
        tasks = [source.task for source in self._sources.values() if source.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # The outbox.

    async def answer_pull(self, src: CellNo, request: Pull) -> list[OutRow]:
        """Cost: one statement, however many rows."""
        rows = await self._pool.fetch(_OUT, src, request.after, min(request.limit, PULL_ROWS_MAX))
        return [_out_row(row) for row in rows]

    def committed(self, batch: Batch) -> None:
        """Ring the bells of a batch that was committed, and release those who wait for an event to arrive."""
        for dest, bells in batch.bells.items():
            self._link.send(dest, self._push(bells))
        for record in batch.records:
            if record.kind is LogKind.EVENT and record.event is not None:
                self._reached.put(record.room, record.event.env.seq)
                if record.room in self._waiting:
                    self._release(record.room, record.event.env.seq)

    def _push(self, bells: list[Bell]) -> Push:
        rows: list[OutRow] = []
        words: list[tuple[bytes, Words]] = []
        names: dict[tuple[RoomNo, MemberRef], str] = {}
        for bell in bells[:PUSH_ROWS_MAX]:
            env = None if bell.event is None else bell.event.env
            rows.append(
                OutRow(
                    n=bell.n, room=bell.room, seq=bell.seq, kind=bell.kind, a=bell.a, b=bell.b, thread=bell.thread,
                    envelope=env, redacts=bell.redacts,
                )
            )  # fmt: skip
            if env is None:
                continue
            if bell.words is not None:
                words.append((env.event_id, bell.words))
            for ref in env.people:
                name = self._names.cached(env.room, ref)
                if name is not None:
                    names[env.room, ref] = name
        if any(row.kind == OutKind.GONE for row in rows):
            rows = []  # such a row needs its event's id: let it be pulled
        triples = tuple((room, ref, name) for (room, ref), name in names.items())
        return Push(after=bells[0].before, last=bells[-1].n, rows=tuple(rows), words=tuple(words), names=triples)

    async def answer_snapshot(self, _: CellNo, request: Snapshot) -> SnapshotReply:
        facts = await self.facts(request.room)
        if facts is None:
            raise NotFound("room_id: no such room")
        if request.read_after is not None:
            markers = await self._reads.receipts(request.room, request.read_after, SNAPSHOT_ROWS_MAX)
            return SnapshotReply(facts=facts, state=[], receipts=markers, more=len(markers) == SNAPSHOT_ROWS_MAX)
        if request.facts_only:
            return SnapshotReply(facts=facts, state=[], receipts=[])
        after = request.after or NO_STATE
        events = await self._reads.state_page(request.room, request.at, after, SNAPSHOT_ROWS_MAX)
        refs = [event.env.target for event in events if event.env.target is not None]
        members = await self._reads.members_by_ref(request.room, refs)
        state = []
        for event in events:
            env = event.env
            member = None if env.target is None else members.get(env.target)
            state.append(env if member is None else msgspec.structs.replace(env, target_home=member.home))
        return SnapshotReply(facts=facts, state=state, receipts=[], more=len(events) == SNAPSHOT_ROWS_MAX)

    async def facts(self, room: RoomNo) -> RoomFacts | None:
        row = await self._reads.room(room)
        if row is None:
            return None
        return RoomFacts(
            room=room, room_id=row["room_id"].bytes, home=row["home"], version=row["version"], proj=row["proj"]
        )

    # The inbox.

    async def answer_push(self, src: CellNo, push: Push) -> None:
        for event_id, words in push.words:
            self._words.keep(event_id, words)
        for room, ref, name in push.names:
            self._names.keep(room, ref, name)
        source = self._sources.get(src)
        if source is not None:
            if len(source.portions) >= PORTIONS_MAX:  # it stands still for now; what is dropped here is pulled then
                source.portions.clear()
            source.portions.append(msgspec.structs.replace(push, words=(), names=()))
            source.bell.set()

    async def wait_for(self, room: RoomNo, seq: Seq, wait_s: float) -> bool:
        """Wait until this cell's copy of `room` has reached `seq`; whether it did in time."""
        if (self._reached.get(room) or 0) >= seq:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(room, []).append((seq, future))
        try:
            async with asyncio.timeout(wait_s):
                await future
            return True
        except TimeoutError:
            return False
        finally:
            if future.cancelled():  # a room in which nothing more happens would keep it for ever
                self._release(room, Seq(0))

    async def catch_up(self, src: CellNo, wait_s: float) -> None:
        """Ingest what `src`, which was cut off, has for this cell; at most for so long, the rest comes in its time."""
        source = self._sources[src]
        source.idle.clear()
        source.bell.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await source.idle.wait()

    def _release(self, room: RoomNo, seq: Seq) -> None:
        left = []
        for wanted, future in self._waiting.pop(room, []):
            if wanted > seq and not future.done():
                left.append((wanted, future))
            elif not future.done():
                future.set_result(None)
        if left:
            self._waiting[room] = left

    async def _follow(self, src: CellNo, source: _Source) -> None:
        """Ingest what `src` has for this cell, for as long as the node lives."""
        outage = Outage(log, f"cell {self._home.cell} follows cell {src}")
        while True:
            try:
                if not await self._step(src, source):
                    source.idle.set()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(QUIET_PULL_S):
                            await source.bell.wait()
                outage.is_over()
            except (LinkDown, MatrixError):
                await asyncio.sleep(RETRY_S)
            except (*AWAY, *NO_ROOM) as error:
                outage.goes_on(f"the own database takes nothing in: {type(error).__name__}")
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("cell %s: what cell %s sent could not be ingested", self._home.cell, src)
                await asyncio.sleep(RETRY_S)

    async def _step(self, src: CellNo, source: _Source) -> bool:
        """Ingest one portion. Returns whether there may be more at once."""
        source.bell.clear()
        cursor = self._memory.cursors.get(src, 0)
        portions, source.portions = source.portions, []
        rows = _joined(portions, cursor)
        # A push says all there was; beyond a gap in it, and after a full page, there may be more.
        more = not rows or any(push.last > rows[-1].n for push in portions)
        if not rows:
            rows = await self._link.call(src, Pull(after=cursor, limit=PULL_ROWS_MAX))
        if not rows:
            return False
        swept = next((i for i, row in enumerate(rows) if row.kind == OutKind.SWEPT), None)
        if swept is not None:  # what it stands for comes in its place: after what is before it, before the rest
            if swept == 0:
                await self._catch_up(src, cursor, rows[0].n)
            rows, more = rows[: max(swept, 1)], True
        await self._writer.submit(await self._gather(src, cursor, rows))
        return more

    async def _gather(self, src: CellNo, after: int, rows: list[OutRow]) -> Ingest:
        """Fetch what ingesting these rows takes, before they get positions."""
        events = [row.envelope for row in rows if row.kind == OutKind.EVENT and row.envelope is not None]
        watched = [
            env
            for env in events
            if env.loud & Loud.NAMES or self._tail.watched(env.room) or self._words.cached(env) is not None
        ]
        words: dict[bytes, Words] = {}
        if watched:
            fetched = await self._words.fetch(watched, WORDS_WAIT_S)
            words = {id: found for id, found in fetched.items() if isinstance(found, Words)}
            await self._names.fetch((env.room, env.sender) for env in watched)
        return Ingest(
            home=self._home,
            src=src,
            after=after,
            rows=rows,
            snapshots=await self._snapshots(src, events),
            words=words,
            mentioned={
                env.event_id: await self._mentioned(words[env.event_id])
                for env in watched
                if env.loud & Loud.NAMES and env.event_id in words
            },
        )

    async def _snapshots(self, src: CellNo, events: Iterable[Envelope]) -> Snapshots:
        """A snapshot for each event with which this cell begins to follow a room, or to know of it."""
        snapshots: dict[tuple[RoomNo, Seq], SnapshotReply] = {}
        inside: dict[RoomNo, int] = {}  # how many of this cell are in, as the events go by: all may leave between two
        moved: dict[tuple[RoomNo, MemberRef], int] = {}
        for env in events:
            ref = env.target
            if ref is None or env.target_home is None:
                continue
            if self._directory.cell_of(env.target_home) != self._home.cell:
                continue
            state = await self._memory.load(env.room)
            count, before = 0, None
            if state is not None:
                await self._memory.load_members(state, [ref])
                count, before = self._count_in(state.joined), state.members.get(ref)
            count = inside.get(env.room, count)
            was = moved.get((env.room, ref), 0 if before is None else before.membership)
            joins = env.value == Membership.JOIN
            if (joins and count <= 0) or (state is None and env.room not in inside):
                at = Seq(env.seq - 1)
                snapshots[env.room, env.seq] = await self._snapshot(src, env.room, at, facts_only=not joins)
            inside[env.room] = count + joins - (was == Membership.JOIN)
            moved[env.room, ref] = env.value or 0
        return snapshots

    async def _snapshot(self, src: CellNo, room: RoomNo, at: Seq, *, facts_only: bool) -> SnapshotReply:
        """The snapshot, all pages of it: what changes while they are read, comes after them as well."""
        request = Snapshot(room=room, at=at, facts_only=facts_only)
        whole = page = await self._link.call(src, request)
        while page.more:
            last = page.state[-1]
            assert last.skey is not None
            page = await self._link.call(src, msgspec.structs.replace(request, after=(last.type, last.skey)))
            whole.state.extend(page.state)
        if not facts_only:
            whole.receipts.extend(await self._receipts(src, room))
        return whole

    async def _receipts(self, src: CellNo, room: RoomNo) -> list[Marker]:
        """Where everybody's public receipts stand."""
        found: list[Marker] = []
        request = Snapshot(room=room, at=Seq(0), read_after=FIRST)
        while True:
            page = await self._link.call(src, request)
            found += page.receipts
            if not page.more:
                return found
            request = msgspec.structs.replace(request, read_after=page.receipts[-1][:3])

    async def _catch_up(self, src: CellNo, cursor: int, mark: int) -> None:
        """What stands up to row `mark` is no longer kept: ingest what this cell lacks of every room it hears of."""
        for room, upto in await self._link.call(src, MissedRooms(mark=mark), CATCH_UP_DEADLINE_S):
            after = await self._reads.head(room)
            while after < upto:
                reply = await self._link.call(src, Missed(room=room, after=after, upto=upto))
                if reply.rows:
                    await self._writer.submit(await self._gather(src, cursor, reply.rows))
                after = reply.upto
            state = await self._memory.load(room)
            if state is None or not self._has_member(state.joined):
                continue
            rows = [_row_of(room, marker) for marker in await self._receipts(src, room)]
            for first in range(0, len(rows), PULL_ROWS_MAX):
                await self._writer.submit(await self._gather(src, cursor, rows[first : first + PULL_ROWS_MAX]))

    def _has_member(self, joined: dict[Any, int]) -> bool:
        return self._count_in(joined) > 0

    def _count_in(self, joined: dict[Any, int]) -> int:
        """How many people of this cell are in a room."""
        return sum(n for home, n in joined.items() if self._directory.cell_of(home) == self._home.cell)

    async def _mentioned(self, words: Words) -> list[AccountNo]:
        mentions = _JSON.decode(words.json).get("m.mentions")
        named = mentions.get("user_ids") if isinstance(mentions, dict) else None
        if not isinstance(named, list):
            return []
        return await self._home.accounts_of(user_id for user_id in named[:MENTIONS_MAX] if isinstance(user_id, str))


def _joined(portions: Iterable[Push], cursor: int) -> list[OutRow]:
    """The rows after `cursor` that were pushed without a gap before them; numbers themselves may jump."""
    rows: list[OutRow] = []
    for push in portions:
        last = rows[-1].n if rows else cursor
        if push.after <= last and len(push.rows) and push.rows[-1].n == push.last:
            rows += [row for row in push.rows if row.n > last]
    return rows


def _row_of(room: RoomNo, marker: Marker) -> OutRow:
    """A receipt as if it had just moved."""
    ref, rtype, thread, seq, minute = marker
    return OutRow(n=0, room=room, seq=seq, kind=OutKind.RECEIPT, a=ref, b=rtype << 32 | minute, thread=thread)


def _out_row(row: Any) -> OutRow:
    """A row of `_OUT` as it travels."""
    env, redacts = told_of(row)
    n, room, seq, kind, a, b, thread = row[TOLD_WIDTH:]
    return OutRow(n=n, room=room, seq=seq, kind=kind, a=a, b=b, thread=thread, envelope=env, redacts=redacts)
