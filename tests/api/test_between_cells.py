"""What one cell may ask of another: it speaks for the people who are at home in it, and for nobody else."""

from typing import TYPE_CHECKING

import pytest

from hutong.cells.messages import Append, Draft
from hutong.cells.records import Member, Words
from hutong.errors import MatrixError
from hutong.ids import CellNo, HomeNo, MemberRef, Minute, RoomNo
from tests.support.client import Client

if TYPE_CHECKING:
    from hutong.node import Node

CN, RU = CellNo(256), CellNo(768)


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
