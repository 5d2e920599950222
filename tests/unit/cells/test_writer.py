"""The writer on a real PostgreSQL: whatever fails, what was acknowledged is there once, and positions are dense."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from hutong.cells import writer as writer_module
from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import OutKind
from hutong.cells.memory import Memory
from hutong.cells.records import Txn
from hutong.errors import MatrixError, Unavailable
from hutong.ids import DeviceNo, Minute, RoomNo, Seq
from tests.unit.cells.desk import ABROAD, ALICES, BOB, CELL, THERE, Desk, new_id

ROUNDS = 40


class Op:
    """An operation that does what a test says when it is formed."""

    def __init__(self, form: Any) -> None:
        self._form = form

    async def prepare(self, memory: Memory) -> None:
        pass

    def form(self, batch: Batch, memory: Memory) -> Any:
        return self._form(batch, memory)

    async def found(self) -> None:
        return None


async def is_whole(desk: Desk, room: RoomNo) -> None:
    seqs = [seq for seq, _ in await desk.timeline(room)]
    assert seqs == list(range(1, len(seqs) + 1)), "the timeline is dense"
    positions = await desk.positions()
    assert positions == list(range(1, len(positions) + 1)), "the log is dense"
    assert desk.tail.head == len(positions)


async def test_whatever_fails_what_was_acknowledged_is_there_once(desk: Desk, seeded: random.Random) -> None:
    """Good messages among doubled ones, forbidden ones, rows that PostgreSQL refuses, mistakes, and killed backends."""
    room = await desk.create_room()
    acknowledged: dict[bytes, int] = {}
    sent: list[bytes] = []

    async def send(event_id: bytes) -> None:
        while True:
            try:
                seq = await desk.writer.submit(desk.message(room, event_id))
            except Unavailable:
                continue
            assert acknowledged.setdefault(event_id, seq) == seq
            return

    async def fail(form: Any) -> None:
        with pytest.raises(Exception):  # noqa: B017 - each fails in its own way
            await desk.writer.submit(Op(form))

    def mistake(batch: Batch, memory: Memory) -> None:
        batch.next_pos()
        raise RuntimeError("a mistake, half way")

    def too_large(batch: Batch, memory: Memory) -> None:
        batch.out(Bell(dest=ABROAD, room=room, seq=Seq(0), kind=OutKind.ERASED, n=2**70))

    def doubled(batch: Batch, memory: Memory) -> None:
        batch.txn(1, 1, b"\1" * 20, new_id(), Minute(2**40))  # no int4 holds it

    for _ in range(ROUNDS):
        work: list[Any] = []
        for _ in range(seeded.randrange(1, 12)):
            kind = seeded.choice(["new"] * 6 + ["again", "stranger", "mistake", "large", "doubled"])
            if kind == "new" or not sent:
                sent.append(new_id())
                work.append(send(sent[-1]))
            elif kind == "again":
                work.append(send(seeded.choice(sent)))
            elif kind == "stranger":
                work.append(_refused(desk, room))
            else:
                work.append(fail({"mistake": mistake, "large": too_large, "doubled": doubled}[kind]))
        if seeded.random() < 0.3:
            work.append(desk.kill_writer())
        await asyncio.gather(*work)
    await is_whole(desk, room)
    there = {event_id: seq for seq, event_id in (await desk.timeline(room))[3:]}
    assert there == acknowledged
    assert acknowledged.keys() == set(sent)


async def _refused(desk: Desk, room: RoomNo) -> None:
    with pytest.raises(MatrixError):
        await desk.writer.submit(desk.message(room, sender=BOB, home=THERE))


async def test_a_mistake_after_a_commit_does_not_stop_the_cell(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What readers keep could not be told: the rows are there all the same, and nobody may go on from older ones."""
    room = await desk.create_room()
    with monkeypatch.context() as broken:
        broken.setattr(desk.writer, "_committed", lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await desk.writer.submit(desk.message(room))
    assert await desk.writer.submit(desk.message(room)) == 5
    await is_whole(desk, room)
    assert (desk.lost, desk.tail.resets) == (1, 2)


async def test_a_database_that_goes_away_twice_leaves_no_gap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost in a commit, and again while the writer looks what became of it."""
    room = await desk.create_room()
    await desk.member(room, "join", BOB, THERE)
    with monkeypatch.context() as away:
        away.setattr(Batch, "execute", _cut)
        away.setattr(Batch, "landed", _cut)
        with pytest.raises((ConnectionError, Unavailable)):
            await desk.writer.submit(desk.message(room))
    assert await desk.writer.submit(desk.message(room)) == 5
    await is_whole(desk, room)
    numbers = await desk.tables.pool.fetch("SELECT n FROM out WHERE dest = $1 ORDER BY n", ABROAD)
    assert [row["n"] for row in numbers] == [1, 2]


async def test_nobody_waits_long_for_a_database_that_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those in the batch that was cut, not those behind it, and not those who come later."""
    room = await desk.create_room()
    back = asyncio.Event()
    patience = writer_module.RECONNECT_PATIENCE_S
    monkeypatch.setattr(writer_module, "RECONNECT_PATIENCE_S", 0.2)
    monkeypatch.setattr(desk.writer, "_connect", _when(back, desk))
    await desk.kill_writer()
    waiting = [asyncio.create_task(desk.writer.submit(desk.message(room))) for _ in range(3)]
    async with asyncio.timeout(patience / 2):
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
        with pytest.raises(Unavailable):
            await desk.writer.submit(desk.message(room))
    back.set()
    async with asyncio.timeout(patience):
        assert await _until_it_is_back(desk, room) == 4
    await is_whole(desk, room)


async def _until_it_is_back(desk: Desk, room: RoomNo) -> Seq:
    while True:
        try:
            return await desk.writer.submit(desk.message(room))
        except Unavailable:
            await asyncio.sleep(0.01)


def _when(back: asyncio.Event, desk: Desk) -> Any:
    async def connect() -> "asyncpg.Connection[Any]":
        if not back.is_set():
            raise ConnectionRefusedError
        return await desk.tables.connect()

    return connect


async def _cut(*_: object) -> bool:
    raise ConnectionResetError


async def test_a_cell_has_one_writer(desk: Desk) -> None:
    connection = await desk.tables.connect()
    assert not await connection.fetchval("SELECT pg_try_advisory_lock($1)", CELL)
    await desk.writer.stop()
    assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", CELL)
    await connection.close()


async def test_nobody_waits_for_a_writer_that_has_stopped(desk: Desk) -> None:
    room = await desk.create_room()
    under_way = asyncio.Event()

    class Slow(Op):
        async def prepare(self, memory: Memory) -> None:
            await under_way.wait()

    waiting = asyncio.create_task(desk.writer.submit(Slow(lambda batch, memory: None)))
    await asyncio.sleep(0)
    await desk.writer.stop()
    under_way.set()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(Unavailable):
        await desk.writer.submit(desk.message(room))


async def test_a_transaction_is_one_event_whatever_the_memory_says(desk: Desk) -> None:
    room = await desk.create_room()
    txn = Txn(ALICES, DeviceNo(3), b"\2" * 16)
    first = new_id()
    await desk.writer.submit(desk.message(room, first, txn))
    with pytest.raises(Unavailable):
        await desk.writer.submit(desk.message(room, txn=txn))
    assert await desk.home.reads.txns(ALICES, DeviceNo(3)) == {txn.key: first}
    await is_whole(desk, room)
