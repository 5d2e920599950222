"""One statement for many rows: what PostgreSQL forbids within one, a batch must have sorted out before."""

import itertools
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import ContentState, OutKind
from hutong.cells.records import Envelope, Event, Words
from hutong.ids import CellNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq, StateKeyCode
from hutong.rooms.event_types import MESSAGE, TOPIC
from tests.unit.cells.conftest import CellTables

HOME = HomeNo(4_096)
_rooms = itertools.count(1)
_positions = itertools.count(1_000, 1_000)


@pytest.fixture
def room() -> RoomNo:
    return RoomNo(next(_rooms))


@pytest.fixture
def batch() -> Batch:
    return Batch(Pos(next(_positions)))


def envelope(room: RoomNo, seq: int, *, state: bool = False, redacted_by: int | None = None) -> Envelope:
    return Envelope(
        room=room, seq=Seq(seq), event_id=id_of(room, seq), home=HOME, sender=MemberRef(1),
        type=TOPIC if state else MESSAGE, skey=StateKeyCode(0) if state else None, value=None, rel_seq=None,
        rel_type=None, minute=Minute(1), notes=0, prev_seq=None,
        redacted_by=None if redacted_by is None else Seq(redacted_by),
    )  # fmt: skip


def id_of(room: RoomNo, seq: int) -> bytes:
    return (room << 64 | seq).to_bytes(16, "big")


async def write(batch: Batch, on: CellTables) -> None:
    batch.finish()
    connection = await on.connect()
    try:
        await batch.execute(connection, 5)
    finally:
        await connection.close()


async def event_rows(on: CellTables, room: RoomNo) -> dict[int, tuple[Any, Any]]:
    rows = await on.pool.fetch("SELECT seq, pos, redacted_by FROM events WHERE room = $1", room)
    return {row["seq"]: (row["pos"], row["redacted_by"]) for row in rows}


async def test_an_event_keeps_its_position_when_a_snapshot_in_the_same_batch_holds_it_too(
    cell_tables: CellTables, batch: Batch, room: RoomNo
) -> None:
    """Somebody was invited and has joined before either was ingested: the state before the join has the invitation."""
    invited = Event(pos=batch.next_pos(), env=envelope(room, 1, state=True))
    batch.event(invited, None)
    batch.snapshot_event(structs.replace(invited.env, redacted_by=Seq(9)))
    await write(batch, cell_tables)
    assert await event_rows(cell_tables, room) == {1: (invited.pos, 9)}


async def test_what_a_snapshot_brings_can_be_redacted_in_the_same_batch(cell_tables: CellTables, room: RoomNo) -> None:
    for _ in range(2):  # the second time, the row is there from an earlier copy of the room
        batch = Batch(Pos(next(_positions)))
        batch.snapshot_event(envelope(room, 1, state=True))
        batch.redacted(room, Seq(1), Seq(2), id_of(room, 1))
        await write(batch, cell_tables)
        assert await event_rows(cell_tables, room) == {1: (0, 2)}


async def test_an_event_that_is_redacted_in_its_own_batch_is_never_shown_with_its_words(
    cell_tables: CellTables, batch: Batch, room: RoomNo
) -> None:
    batch.event(Event(pos=batch.next_pos(), env=envelope(room, 1)), Words(0, "m.room.message", None, b'{"body":"x"}'))
    batch.redacted(room, Seq(1), Seq(2), id_of(room, 1))
    [record] = batch.records
    assert record.event is not None
    assert (record.event.env.redacted_by, record.words) == (2, None)
    assert batch.gone == [id_of(room, 1)]
    await write(batch, cell_tables)
    assert (await event_rows(cell_tables, room))[1][1] == 2


@pytest.mark.parametrize("live_first", [True, False])
async def test_content_that_comes_to_be_and_goes_in_one_batch_is_gone(
    cell_tables: CellTables, room: RoomNo, live_first: bool
) -> None:
    """An event comes back from its room's home together with its redaction."""
    id = id_of(room, 1)
    staged = Batch(Pos(next(_positions)))
    staged.content(id, 1, ContentState.PENDING, room, HOME, b"sealed")
    await write(staged, cell_tables)
    batch = Batch(Pos(next(_positions)))
    for step in (batch.content_live, batch.content_gone) if live_first else (batch.content_gone, batch.content_live):
        step(id)
    await write(batch, cell_tables)
    assert await cell_tables.pool.fetchval("SELECT count(*) FROM content WHERE id = $1", UUID(bytes=id)) == 0


@pytest.mark.parametrize("cut_at_last", [True, False])
async def test_a_cut_that_ends_and_begins_in_one_batch_is_as_it_was_said_last(
    cell_tables: CellTables, batch: Batch, cut_at_last: bool
) -> None:
    cell = CellNo(777)
    before = Batch(Pos(next(_positions)))
    before.cut(cell, Minute(1))
    await write(before, cell_tables)
    if not cut_at_last:
        batch.cut(cell, Minute(2))
    batch.cut_over(cell)
    if cut_at_last:
        batch.cut(cell, Minute(2))
    await write(batch, cell_tables)
    rows = await cell_tables.pool.fetch("DELETE FROM cuts WHERE cell = $1 RETURNING cell", cell)
    assert len(rows) == cut_at_last


async def test_a_batch_that_only_has_rows_for_other_cells_is_known_to_have_landed(
    cell_tables: CellTables, batch: Batch, room: RoomNo
) -> None:
    """Else they would be written again under the same numbers, and nothing could go to that cell any more."""
    batch.out(Bell(dest=CellNo(512), room=room, seq=Seq(0), kind=OutKind.ERASED, n=room, a=1))
    connection = await cell_tables.connect()
    assert not await batch.landed(connection)
    await write(batch, cell_tables)
    assert await batch.landed(connection)
    await connection.close()
