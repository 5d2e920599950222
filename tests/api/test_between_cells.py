"""What one cell may ask of another: it speaks for the people who are at home in it, and for nobody else."""

from typing import TYPE_CHECKING

import pytest

from hutong.cells.codes import OutKind, ReceiptType
from hutong.cells.messages import Append, Draft, OutRow, Typing
from hutong.cells.records import Member, Words
from hutong.errors import MatrixError
from hutong.ids import CellNo, HomeNo, MemberRef, Minute, RoomNo, Seq
from tests.conftest import DEMO
from tests.support.client import Client

if TYPE_CHECKING:
    from hutong.node import Node

CN, EU, RU = CellNo(256), CellNo(512), CellNo(768)
pytestmark = pytest.mark.parametrize("place", [DEMO], indirect=True)


def draft(sender: MemberRef, home: HomeNo) -> Draft:
    words = Words(0, "m.room.message", None, b'{"msgtype":"m.text","body":"forged"}')
    return Draft(event_id=b"\7" * 16, home=home, sender=sender, minute=Minute(1), words=words)


async def members_by_region(node: "Node", room: RoomNo) -> dict[int, Member]:
    rows = await node.cells[CN].pool.fetch("SELECT ref FROM members WHERE room = $1", room)
    members = await node.cells[CN].reads.members_by_ref(room, [row["ref"] for row in rows])
    return {member.home // 4_096: member for member in members.values()}


async def test_a_cell_cannot_speak_for_somebody_of_another(
    node: "Node", alice: Client, carol: Client, lane: str
) -> None:
    room = node.cells[CN].view.room_no(lane)
    assert room is not None
    members = await members_by_region(node, room)
    alices, carols = members[1], members[3]
    ask = node.cells[RU].link.call
    for sender, home in ((alices.ref, alices.home), (alices.ref, carols.home), (carols.ref, alices.home)):
        with pytest.raises(MatrixError, match="sender") as refused:
            await ask(CN, Append(room=room, draft=draft(sender, home)))
        assert refused.value.status == 403
    assert await alice.texts(lane) == []


async def receipts(node: "Node", cell: CellNo, room: RoomNo) -> set[tuple[int, int]]:
    """(whose, where) of every receipt that a cell knows."""
    rows = await node.cells[cell].pool.fetch("SELECT ref, seq FROM receipts WHERE room = $1", room)
    return {(row["ref"], row["seq"]) for row in rows}


async def test_a_cell_reads_for_its_own_members_only(
    node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    """At the room's home; and beside it, a cell listens to the room's home alone."""
    room = node.cells[CN].view.room_no(lane)
    assert room is not None
    event = await alice.send(lane, "read me")
    for person in (bob, carol):
        await person.sees(lane, event)
    members = await members_by_region(node, room)
    head = await node.cells[CN].reads.head(room)

    async def push(src: CellNo, dest: CellNo, *said: tuple[MemberRef, int, int, int]) -> None:
        """Rows as an outbox brings them: (whose, seq, type, thread)."""
        writer, after = node.cells[dest], node.cells[dest].memory.cursors.get(src, 0)
        rows = tuple(
            OutRow(n=after + n, room=room, seq=Seq(seq), kind=OutKind.RECEIPT, a=ref, b=rtype << 32 | 1, thread=thread)
            for n, (ref, seq, rtype, thread) in enumerate(said, 1)
        )
        await writer.writer.submit(await writer.replication._gather(src, after, list(rows)))
        assert writer.memory.cursors[src] == rows[-1].n
        node.cells[src].memory.out_numbers[dest] = rows[-1].n

    read = ReceiptType.READ
    await push(
        RU, CN,
        (members[1].ref, head, read, 0), (members[2].ref, head, read, 0), (MemberRef(4711), head, read, 0),
        (members[3].ref, head + 5, read, 0), (members[3].ref, head, ReceiptType.PRIVATE, 0),
        (members[3].ref, head, read, head + 9), (members[3].ref, head, read, -7),
    )  # fmt: skip
    assert await receipts(node, CN, room) == set()
    await push(EU, RU, (members[2].ref, head, read, 0), (members[1].ref, head, read, 0))
    assert await receipts(node, RU, room) == set()
    await push(RU, CN, (members[3].ref, head, read, 0))
    assert await receipts(node, CN, room) == {(members[3].ref, head)}


async def test_a_cell_types_for_its_own_members_only(
    node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    room = node.cells[CN].view.room_no(lane)
    assert room is not None
    members = await members_by_region(node, room)
    for src, dest, ref in ((RU, CN, members[1].ref), (RU, CN, members[2].ref), (EU, RU, members[2].ref)):
        await node.cells[src].link.call(dest, Typing(room=room, ref=ref, ms=10_000))
    fresh = await alice.another_device()
    await fresh.poll()
    assert fresh.typists[lane] == []
    await node.cells[RU].link.call(CN, Typing(room=room, ref=members[3].ref, ms=10_000))
    for person in (alice, bob):
        await person.until(lambda person=person: person.typists[lane] == [carol.user_id], "carol typing")  # type: ignore[misc]
