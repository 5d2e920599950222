"""Who gets a ref in a room gets one, whoever else asks at the same time; and the writer need not look for a new one."""

import asyncio

from hutong.cells.memory import Memory, RoomState
from hutong.cells.reads import Reads
from hutong.cells.records import Member
from hutong.ids import AccountNo, MemberRef, RoomNo, Seq
from tests.unit.cells.conftest import CellTables
from tests.unit.cells.desk import ALICES, BOBS, HERE

ROOM = RoomNo(77)


async def test_a_ref_is_given_once(cell_tables: CellTables) -> None:
    reads = Reads(cell_tables.pool)
    first, made = await reads.give_ref(ROOM, MemberRef(-1), ALICES, HERE)
    assert made
    assert first == Member(room=ROOM, ref=MemberRef(-1), account=ALICES, home=HERE, membership=0, seq=Seq(0))
    assert await reads.give_ref(ROOM, MemberRef(-2), ALICES, HERE) == (first, False)
    both = await reads.give_refs(ROOM, [(MemberRef(-3), ALICES, HERE), (MemberRef(-4), BOBS, HERE)])
    assert {account: member.ref for account, member in both.items()} == {ALICES: -1, BOBS: -4}


async def test_whoever_asks_at_once_gets_the_same_ref(cell_tables: CellTables) -> None:
    reads = Reads(cell_tables.pool)
    for account in map(AccountNo, range(100, 120)):
        asked = [reads.give_ref(ROOM, MemberRef(account * 10 + n), account, HERE) for n in range(4)]
        given = await asyncio.gather(*asked)
        assert len({member.ref for member, _ in given}) == 1
        assert sum(made for _, made in given) == 1


async def test_the_writer_knows_a_member_that_was_just_made(cell_tables: CellTables) -> None:
    memory = Memory(cell_tables.pool)
    fresh = Member(room=ROOM, ref=MemberRef(-9), account=ALICES, home=HERE, membership=0, seq=Seq(0))
    memory.know(fresh)
    assert memory.get(ROOM) is None, "a room that is not in memory is read when it is needed"
    state = RoomState(room=ROOM, room_id=bytes(16), home=HERE, version=11, from_seq=Seq(0))
    memory.add(state)
    memory.know(fresh)
    await memory.load_members(state, [fresh.ref])
    assert state.members == {fresh.ref: fresh}, "no row of it is in the table: it was not looked for"
    moved = Member(room=ROOM, ref=fresh.ref, account=ALICES, home=HERE, membership=2, seq=Seq(5))
    state.members[fresh.ref] = moved
    memory.know(fresh)
    assert state.members == {fresh.ref: moved}, "what was said since counts"
