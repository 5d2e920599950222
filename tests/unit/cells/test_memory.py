"""What a writer knows of its rooms: as the tables say it, from a batch that was taken back on, and after a restore."""

import pytest

from hutong.cells.memory import SEQ_BITS_PER_MINUTE, Memory, NotLoaded
from hutong.ids import Minute, Pos, RoomNo
from hutong.rooms.event_types import TOPIC, Membership
from tests.unit.cells.desk import ALICE, ALICES, BOB, HERE, THERE, Desk

RESTORED = Minute(29_000_000)


async def test_what_is_read_from_the_tables_is_what_was_in_memory(desk: Desk, room: RoomNo) -> None:
    await desk.member(room, "join", BOB, THERE)
    await desk.writer.submit(desk.message(room))
    kept = desk.memory.room(room)
    read = await Memory(desk.tables.pool).load(room)
    assert read is not None
    assert (read.head, read.notes, read.projection, read.cells) == (kept.head, kept.notes, kept.projection, kept.cells)
    assert read.joined == {HERE: 1, THERE: 1} == kept.joined
    await desk.memory.load_members(read, [ALICE, BOB])
    assert read.members == kept.members
    assert read.members[ALICE].account == ALICES


async def test_looking_up_changes_nothing_that_a_batch_has_changed(desk: Desk, room: RoomNo) -> None:
    state = desk.memory.room(room)
    state.head = state.head + 7  # type: ignore[assignment]
    state.state[TOPIC, 0] = state.head  # type: ignore[index]
    del state.members[ALICE]
    assert await desk.memory.load(room) is state
    await desk.memory.load_state(state, [(TOPIC, 0)])  # type: ignore[list-item]
    await desk.memory.load_members(state, [ALICE])
    assert state.state[TOPIC, 0] == state.head  # type: ignore[index]
    assert state.members[ALICE].membership == Membership.JOIN


async def test_a_room_that_is_not_there_must_be_read_first(desk: Desk, room: RoomNo) -> None:
    desk.memory.drop([room])
    with pytest.raises(NotLoaded):
        desk.memory.room(room)
    assert await desk.memory.load(RoomNo(404)) is None
    assert await desk.memory.load(room) is desk.memory.room(room)


async def test_the_rooms_longest_unused_are_forgotten(desk: Desk) -> None:
    rooms = [await desk.create_room() for _ in range(3)]
    memory = Memory(desk.tables.pool, rooms_max=2)
    for room in rooms:
        await memory.load(room)
    memory.room(rooms[0])
    memory.trim()
    assert [memory.get(room) is not None for room in rooms] == [True, False, True]


async def test_after_a_restore_a_room_goes_on_above_what_was_given_out(desk: Desk, room: RoomNo) -> None:
    restored_pos = desk.tail.head
    memory = Memory(desk.tables.pool, RESTORED, restored_pos)
    state = await memory.load(room)
    assert state is not None
    assert state.head == RESTORED << SEQ_BITS_PER_MINUTE
    await desk.writer.submit(desk.message(room))  # the first since then, wherever it was numbered
    again = await Memory(desk.tables.pool, RESTORED, restored_pos).load(room)
    assert again is not None
    assert again.head == 4, "only once: it goes on after its last event"


async def test_a_room_never_goes_on_below_its_last_event(desk: Desk, room: RoomNo) -> None:
    early = Memory(desk.tables.pool, Minute(0), Pos(10))
    state = await early.load(room)
    assert state is not None
    assert state.head == 3
