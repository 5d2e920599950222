"""How read markers move: forward only, few rows, and to whom it is told."""

import asyncio

import pytest

from hutong.cells import markers
from hutong.cells.batch import Batch
from hutong.cells.codes import LogKind, ReceiptType
from hutong.cells.markers import MarkRead
from hutong.cells.writer import OFTEN_S
from hutong.errors import Unavailable
from hutong.ids import CellNo, HomeNo, MemberRef, Minute, Pos, RegionNo, RoomNo, Seq, home_no
from tests.unit.cells.desk import ABROAD, ALICE, BOB, CELL, THERE, Desk
from tests.unit.cells.test_ops import out

READERS = 10
MESSAGES = 100
PAUSE_S = 0.02


def marker(desk: Desk, room: RoomNo, seq: int, ref: MemberRef = ALICE, thread: int = 0) -> MarkRead:
    return MarkRead(
        room=room, ref=ref, rtype=ReceiptType.READ, thread=thread, seq=Seq(seq), minute=Minute(1), home=desk.home
    )


async def test_a_marker_moves_forward_only_also_after_a_start(desk: Desk, room: RoomNo) -> None:
    assert await desk.writer.submit(marker(desk, room, 2))
    for _ in range(2):
        assert not await desk.writer.submit(marker(desk, room, 2))
        assert not await desk.writer.submit(marker(desk, room, 1))
        desk.memory.drop([room])
    assert await desk.writer.submit(marker(desk, room, 1, thread=3)), "each thread has a marker of its own"
    assert await desk.writer.submit(marker(desk, room, 3))


async def test_markers_of_a_batch_are_one_record_for_their_room(desk: Desk, room: RoomNo) -> None:
    moves = [marker(desk, room, seq, ref) for seq in (1, 2, 3) for ref in (ALICE, BOB)]
    batch = Batch(Pos(100))
    for each in moves:
        await each.prepare(desk.memory)
        assert each.form(batch, desk.memory)
    batch.finish()
    [record] = batch.records
    assert (record.kind, record.pos, batch.head) == (LogKind.RECEIPTS, 101, 101)
    assert len(record.receipts) == len(moves)


async def test_the_other_cells_of_a_room_hear_of_public_markers(desk: Desk, room: RoomNo) -> None:
    await desk.writer.submit(marker(desk, room, 1))
    assert await out(desk) == []
    await desk.member(room, "join", BOB, THERE)
    private = marker(desk, room, 2)
    private.rtype = ReceiptType.PRIVATE
    await desk.writer.submit(private)
    assert len(await out(desk)) == 1
    await desk.writer.submit(marker(desk, room, 2))
    assert await out(desk) == [1, 2]


async def test_who_tells_of_a_marker_is_not_told_of_it(desk: Desk, room: RoomNo) -> None:
    third = home_no(RegionNo(3), 7)
    await desk.member(room, "join", BOB, THERE)
    await desk.member(room, "join", MemberRef(13), third)
    state = await desk.memory.load(room)
    assert state is not None
    for src, told in ((ABROAD, {third_cell(desk, third)}), (CELL, {ABROAD, third_cell(desk, third)})):
        batch = Batch(Pos(100))
        assert markers.move(desk.home, batch, state, (BOB, ReceiptType.READ, src), Seq(2), Minute(1), src)
        assert set(batch.bells) == told


def third_cell(desk: Desk, home: HomeNo) -> CellNo:
    return desk.home.directory.cell_of(home)


async def stands(desk: Desk, room: RoomNo, ref: MemberRef = ALICE) -> int:
    return int(await desk.tables.pool.fetchval("SELECT seq FROM receipts WHERE room = $1 AND ref = $2", room, ref))


async def known(desk: Desk, room: RoomNo, *refs: MemberRef) -> None:
    """Load what a marker needs, so that those submitted together arrive together."""
    for ref in refs:
        await marker(desk, room, 1, ref).prepare(desk.memory)


async def test_of_receipts_that_come_together_the_furthest_is_written(desk: Desk, room: RoomNo) -> None:
    await desk.member(room, "join", BOB, THERE)
    await known(desk, room, ALICE)
    written, told = len(desk.committed), len(await out(desk))
    moved = await asyncio.gather(*(desk.writer.submit_soon(marker(desk, room, seq)) for seq in (1, 3, 2)))
    assert moved == [True, True, True]
    assert await stands(desk, room) == 3
    [batch] = desk.committed[written:]
    [record] = batch.records
    assert [(row.ref, row.seq) for row in record.receipts] == [(ALICE, 3)]
    assert len(await out(desk)) == told + 1


async def test_one_who_gives_up_waiting_does_not_end_it_for_the_others(desk: Desk, room: RoomNo) -> None:
    await known(desk, room, ALICE)
    first = asyncio.create_task(desk.writer.submit_soon(marker(desk, room, 1)))
    second = asyncio.create_task(desk.writer.submit_soon(marker(desk, room, 2)))
    while len(desk.writer._lingering) < 1:
        await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert await stands(desk, room) == 2


async def test_what_lingers_is_written_before_the_end(desk: Desk, room: RoomNo) -> None:
    waiting = asyncio.create_task(desk.writer.submit_soon(marker(desk, room, 2)))
    while not desk.writer._lingering:
        await asyncio.sleep(0)
    await desk.writer.stop()
    assert waiting.done()
    assert await waiting
    assert await stands(desk, room) == 2
    with pytest.raises(Unavailable):
        await desk.writer.submit_soon(marker(desk, room, 3))


async def test_the_rows_of_a_second_do_not_grow_with_its_receipts(desk: Desk, room: RoomNo) -> None:
    """Ten receipts for each message, fifty messages a second: a row is written as often as a marker may move."""
    await desk.member(room, "join", BOB, THERE)
    refs = [MemberRef(100 + n) for n in range(READERS)]
    await known(desk, room, *refs)
    written, told = len(desk.committed), len(await out(desk))
    loop = asyncio.get_running_loop()
    begin, reading = loop.time(), []
    for seq in range(10, 10 + MESSAGES):
        reading += [asyncio.create_task(desk.writer.submit_soon(marker(desk, room, seq, ref))) for ref in refs]
        await asyncio.sleep(PAUSE_S)
    assert all(await asyncio.gather(*reading))
    moves_max = (loop.time() - begin) / OFTEN_S + 1
    batches = [batch for batch in desk.committed[written:] if batch.records]
    rows = [row for batch in batches for record in batch.records for row in record.receipts]
    assert all(len(batch.records) == 1 for batch in batches), "one record for the room"
    assert len(rows) <= moves_max * READERS
    assert len(await out(desk)) - told == len(rows)
    assert {await stands(desk, room, ref) for ref in refs} == {9 + MESSAGES}
