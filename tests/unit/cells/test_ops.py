"""Operations beside those that number events: forgetting, erasing, giving up."""

import pytest

from hutong.cells.ops import Forget, TellErased, VoidEvent
from hutong.errors import GivenUp, MatrixError
from hutong.ids import Minute, RoomNo
from tests.unit.cells.desk import ABROAD, ALICE, ALICES, BOB, HERE, THERE, Desk, new_id


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
