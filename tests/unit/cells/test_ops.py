"""Operations beside those that number events: markers, forgetting, erasing, giving up."""

from collections.abc import AsyncIterator

import pytest

from hutong.cells.batch import Batch
from hutong.cells.codes import LogKind, ReceiptType
from hutong.cells.ops import Forget, MarkRead, TellErased, VoidEvent
from hutong.errors import GivenUp, MatrixError
from hutong.ids import MemberRef, Minute, Pos, RoomNo, Seq
from tests.unit.cells.conftest import CellTables
from tests.unit.cells.desk import ABROAD, ALICE, ALICES, BOB, HERE, THERE, Desk, new_id


@pytest.fixture
async def desk(cell_tables: CellTables) -> AsyncIterator[Desk]:
    await cell_tables.empty()
    desk = await Desk(cell_tables).start()
    yield desk
    await desk.writer.stop()


@pytest.fixture
async def room(desk: Desk) -> RoomNo:
    return await desk.create_room()


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
    markers = [marker(desk, room, seq, ref) for seq in (1, 2, 3) for ref in (ALICE, BOB)]
    batch = Batch(Pos(100))
    for each in markers:
        await each.prepare(desk.memory)
        assert each.form(batch, desk.memory)
    batch.finish()
    [record] = batch.records
    assert (record.kind, record.pos, batch.head) == (LogKind.RECEIPTS, 101, 101)
    assert len(record.receipts) == len(markers)


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


async def out(desk: Desk) -> list[int]:
    rows = await desk.tables.pool.fetch("SELECT n FROM out WHERE dest = $1 ORDER BY n", ABROAD)
    return [row["n"] for row in rows]


async def test_nobody_forgets_a_room_that_they_are_in(desk: Desk, room: RoomNo) -> None:
    """They may have come back between the look at their membership and the commit."""
    with pytest.raises(MatrixError, match="leave it first"):
        await desk.writer.submit(Forget(account=ALICES, room=room, ref=ALICE))
    await desk.member(room, "leave", ALICE, HERE)
    await desk.writer.submit(Forget(account=ALICES, room=room, ref=ALICE))
    member = await desk.home.reads.member(ALICES, room)
    assert member is not None
    assert member.forgotten
    await desk.member(room, "join", ALICE, HERE)
    member = await desk.home.reads.member(ALICES, room)
    assert member is not None
    assert not member.forgotten


async def test_every_cell_of_the_room_is_told_of_an_erasure(desk: Desk, room: RoomNo) -> None:
    await desk.member(room, "join", BOB, THERE)
    await desk.member(room, "leave", BOB, THERE)
    before = await out(desk)
    await desk.writer.submit(TellErased(room=room, ref=ALICE, home=desk.home))
    assert len(await out(desk)) == len(before) + 1, "also one whose people have left"
    assert desk.committed[-1].erased == [(room, ALICE)]


async def test_what_was_given_up_never_comes_to_be_also_after_a_start(desk: Desk, room: RoomNo) -> None:
    event_id = new_id()
    await desk.writer.submit(VoidEvent(event_id=event_id, minute=Minute(1)))
    for _ in range(2):
        with pytest.raises(GivenUp):
            await desk.writer.submit(desk.message(room, event_id))
        desk.memory.voided = await desk.home.reads.all_voided()


async def test_outbox_numbers_go_on_after_a_start(desk: Desk, room: RoomNo) -> None:
    await desk.member(room, "join", BOB, THERE)
    await desk.writer.submit(desk.message(room))
    await desk.writer.stop()
    again = await Desk(desk.tables).start()
    await again.writer.submit(again.message(room))
    await again.writer.stop()
    assert await out(desk) == [1, 2, 3]
