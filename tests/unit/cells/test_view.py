"""What readers keep in memory of rooms and members: read once, and read anew after what changes it."""

import pytest

from hutong.cells.append import AppendOp
from hutong.cells.messages import SightReply
from hutong.cells.reads import Reads
from hutong.cells.view import View
from hutong.ids import MemberRef, RoomNo
from tests.unit.cells.desk import ALICE, BOB, HERE, Desk, draft


class CountedReads(Reads):
    """Counts how often it is asked for a sight."""

    sights = 0

    async def sight(self, room: RoomNo, ref: MemberRef) -> SightReply:
        CountedReads.sights += 1
        return await super().sight(room, ref)


@pytest.fixture
def view(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> View:
    """A view that hears of every batch."""
    view = View(CountedReads(desk.tables.pool), lambda _: "cn.localhost")
    monkeypatch.setattr(desk.writer, "_committed", view.committed)
    monkeypatch.setattr(CountedReads, "sights", 0)
    return view


async def test_what_somebody_sees_is_read_once(desk: Desk, view: View) -> None:
    room = await desk.create_room()
    first = await view.sight(room, ALICE)
    await desk.writer.submit(desk.message(room))
    assert await view.sight(room, ALICE) == first
    assert CountedReads.sights == 1


async def test_what_somebody_sees_changes_with_the_room_and_with_their_own_moves(desk: Desk, view: View) -> None:
    room = await desk.create_room()
    await view.sight(room, ALICE)
    assert (await view.sight(room, BOB)).membership == []
    joined = await desk.member(room, "join", BOB, HERE)
    assert (await view.sight(room, BOB)).membership == [(joined, 2)]
    assert (await view.sight(room, ALICE)).visibility == []
    assert CountedReads.sights == 3, "alice's is as it was"
    said = draft("m.room.history_visibility", b'{"history_visibility":"joined"}', state_key="")
    changed = await desk.writer.submit(AppendOp(desk.home, room, said))
    assert (await view.sight(room, ALICE)).visibility == [(changed, 4)]
    left = await desk.member(room, "leave", BOB, HERE)
    assert (await view.sight(room, BOB)).membership == [(joined, 2), (left, 4)]


async def test_what_changes_while_it_is_read_is_not_kept(
    desk: Desk, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await desk.create_room()
    read = CountedReads.sight

    async def slow(reads: CountedReads, room: RoomNo, ref: MemberRef) -> SightReply:
        reply = await read(reads, room, ref)
        await desk.member(room, "join", BOB, HERE)
        return reply

    monkeypatch.setattr(CountedReads, "sight", slow)
    assert (await view.sight(room, BOB)).membership == []
    monkeypatch.setattr(CountedReads, "sight", read)
    assert (await view.sight(room, BOB)).membership
