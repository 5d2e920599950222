"""A leaving that comes late to a room's home: whether it still ends what it was said to end."""

import pytest
from msgspec import structs

from hutong.cells.append import AppendOp
from hutong.errors import Forbidden
from hutong.ids import RoomNo, Seq
from hutong.rooms.event_types import Membership
from tests.unit.cells.desk import ALICE, BOB, HERE, THERE, Desk, draft


async def leave(desk: Desk, room: RoomNo, ends: Seq) -> Seq:
    """bob of another region leaves, from where his home knew him to be."""
    said = draft(
        "m.room.member", b'{"membership":"leave"}', sender=BOB, home=THERE, state_key="@bob:eu", target=BOB
    )  # fmt: skip
    return await desk.writer.submit(AppendOp(desk.home, room, structs.replace(said, leaves=ends)))


async def move_bob(desk: Desk, room: RoomNo, membership: str) -> Seq:
    """alice moves bob."""
    said = draft(
        "m.room.member", b'{"membership":"%b"}' % membership.encode(), sender=ALICE, home=HERE, state_key="@bob:eu",
        target=BOB,
    )  # fmt: skip
    return await desk.writer.submit(AppendOp(desk.home, room, structs.replace(said, target_home=THERE)))


async def membership(desk: Desk, room: RoomNo) -> int:
    return (await desk.home.reads.members_by_ref(room, [BOB]))[BOB].membership


async def test_it_ends_what_it_was_said_to_end(desk: Desk, room: RoomNo) -> None:
    joined = await desk.member(room, "join", BOB, THERE)
    await leave(desk, room, joined)
    assert await membership(desk, room) == Membership.LEAVE


async def test_it_ends_what_was_said_of_oneself_since(desk: Desk, room: RoomNo) -> None:
    """A new name, of which the leaver's home had not heard."""
    joined = await desk.member(room, "join", BOB, THERE)
    await desk.member(room, "join", BOB, THERE)
    await desk.member(room, "join", BOB, THERE)
    await leave(desk, room, joined)
    assert await membership(desk, room) == Membership.LEAVE


@pytest.mark.parametrize("moves", [["leave", "invite"], ["ban"]])
async def test_it_does_not_end_what_others_have_decided_since(desk: Desk, room: RoomNo, moves: list[str]) -> None:
    joined = await desk.member(room, "join", BOB, THERE)
    for move in moves:
        await move_bob(desk, room, move)
    before, head = await membership(desk, room), len(await desk.timeline(room))
    with pytest.raises(Forbidden):
        await leave(desk, room, joined)
    assert (await membership(desk, room), len(await desk.timeline(room))) == (before, head)


async def test_it_does_not_end_a_joining_after_one_was_put_out(desk: Desk, room: RoomNo) -> None:
    joined = await desk.member(room, "join", BOB, THERE)
    await move_bob(desk, room, "leave")
    await desk.member(room, "join", BOB, THERE)
    with pytest.raises(Forbidden):
        await leave(desk, room, joined)
    assert await membership(desk, room) == Membership.JOIN
