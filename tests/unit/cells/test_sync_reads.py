"""The statements of a sync against PostgreSQL: each as of a position, and for all rooms at once."""

import itertools
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from hutong.cells import tables
from hutong.cells.codes import MAIN_THREAD, Loud, ReceiptType
from hutong.cells.records import Event
from hutong.cells.sync_reads import SyncReads
from hutong.engines.postgres import EmbeddedPostgres
from hutong.engines.tables import Table
from hutong.ids import AccountNo, MemberRef, Pos, RoomNo, Seq
from hutong.rooms.event_types import HISTORY_VISIBILITY, MEMBER, MESSAGE, NAME, TOPIC, Membership
from tests.support.places import data_folder

ALICE, BOB = MemberRef(-11), MemberRef(12)
ACCOUNT = AccountNo(7)
END = Seq(2**62)
HASHED = -987


@pytest.fixture(scope="module")
async def pool() -> AsyncIterator["asyncpg.Pool[Any]"]:
    with data_folder("reads") as folder:
        postgres = EmbeddedPostgres(folder / "postgres")
        await postgres.start("cell0")
        made = await asyncpg.create_pool(postgres.dsn("cell0"), min_size=1, max_size=2)
        for table in tables.ALL:
            await made.execute(table.create_sql())
        yield made
        await made.close()
        await postgres.stop()


class Book:
    """Writes a room's timeline straight into the tables, one event per position."""

    _rooms = itertools.count(1)
    _pos = itertools.count(1)

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self.pool = pool
        self.room = RoomNo(next(self._rooms))
        self.seq = 0
        self.notes = 0
        self.shouts = 0
        self.pos = Pos(0)

    async def begin(self, from_seq: int = 0) -> "Book":
        row = {"room": self.room, "room_id": UUID(int=self.room), "home": 4096, "version": 10, "from_seq": from_seq}
        await self._put(tables.ROOMS, proj=b"", **row)
        return self

    async def event(self, type: int, sender: int = ALICE, *, skey: int | None = None, **more: Any) -> Seq:
        """One event; `more`: further columns. State also becomes the current one."""
        self.seq, self.pos = self.seq + 1, Pos(next(self._pos))
        loud = int(more.get("loud", Loud.NOTIFIES if type == MESSAGE else 0))
        if more.get("thread") is None:
            self.notes, self.shouts = self.notes + bool(loud & Loud.NOTIFIES), self.shouts + bool(loud & Loud.SHOUTS)
        row = {
            "room": self.room, "seq": self.seq, "pos": self.pos, "event_id": UUID(int=self.room << 64 | self.seq),
            "home": 4096, "sender": sender, "type": type, "skey": skey, "value": None, "rel_seq": None,
            "rel_type": None, "minute": 1, "notes": self.notes, "prev_seq": None, "redacted_by": None,
            "thread": None, "loud": loud, "shouts": self.shouts,
        }  # fmt: skip
        await self._put(tables.EVENTS, **{**row, **more})
        if skey is not None and type != MEMBER:
            await self.pool.execute("DELETE FROM state WHERE room = $1 AND type = $2", self.room, type)
            await self._put(tables.STATE, room=self.room, type=type, skey=skey, seq=self.seq)
        return Seq(self.seq)

    async def member(self, ref: MemberRef, membership: Membership, account: int | None = None) -> Seq:
        seq = await self.event(MEMBER, ref, skey=ref, value=int(membership))
        await self.pool.execute("DELETE FROM members WHERE room = $1 AND ref = $2", self.room, ref)
        row = {"room": self.room, "ref": ref, "account": account, "home": 4096, "seq": seq, "forgotten": False}
        await self._put(tables.MEMBERS, membership=int(membership), **row)
        return seq

    async def says(self, sender: MemberRef = ALICE, count: int = 1) -> Seq:
        for _ in range(count):
            seq = await self.event(MESSAGE, sender)
        return seq

    async def reads(self, ref: MemberRef, seq: int, rtype: ReceiptType, thread: int = 0) -> Pos:
        self.pos = Pos(next(self._pos))
        await self.pool.execute(
            "DELETE FROM receipts WHERE room = $1 AND ref = $2 AND rtype = $3 AND thread = $4", self.room, ref, rtype,
            thread,
        )  # fmt: skip
        row = {"room": self.room, "ref": ref, "rtype": int(rtype), "thread": thread, "seq": seq, "minute": 1}
        await self._put(tables.RECEIPTS, pos=self.pos, **row)
        return self.pos

    async def _put(self, table: Table, **row: Any) -> None:
        marks = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.pool.execute(f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({marks})", *row.values())


@pytest.fixture
async def book(pool: "asyncpg.Pool[Any]") -> Book:
    return await Book(pool).begin()


@pytest.fixture
def reads(pool: "asyncpg.Pool[Any]") -> SyncReads:
    return SyncReads(pool)


def seqs(events: list[Event]) -> list[int]:
    return sorted(event.env.seq for event in events)


async def test_my_rooms_are_as_they_were_at_a_position(book: Book, reads: SyncReads) -> None:
    account = AccountNo(1_001)
    await book.member(ALICE, Membership.INVITE, account)
    invited = book.pos
    await book.member(ALICE, Membership.JOIN, account)
    [then] = await reads.my_rooms(account, invited)
    [now] = await reads.my_rooms(account, book.pos)
    assert (then.membership, then.seq, then.pos) == (Membership.INVITE, 1, invited)
    assert (now.membership, now.seq, now.pos) == (Membership.JOIN, 2, book.pos)
    assert await reads.my_rooms(account, Pos(invited - 1)) == []
    assert await reads.my_rooms(account, book.pos, [RoomNo(999_999)]) == []


async def test_a_membership_that_was_left_and_taken_up_again_is_told_as_broken(book: Book, reads: SyncReads) -> None:
    await book.member(ALICE, Membership.JOIN)
    since = book.pos
    await book.member(ALICE, Membership.LEAVE)
    left = book.pos
    await book.member(ALICE, Membership.JOIN)
    assert await reads.memberships_before([(book.room, ALICE, left)], since) == {book.room: (2, False)}
    assert await reads.memberships_before([(book.room, ALICE, book.pos)], since) == {book.room: (2, True)}
    assert await reads.memberships_before([(book.room, BOB, left)], since) == {book.room: (0, False)}


async def test_a_timeline_is_the_end_of_its_window(book: Book, reads: SyncReads) -> None:
    await book.says(count=5)
    since = book.pos
    await book.says(count=6)
    upto = Pos(book.pos - 1)
    found = await reads.timelines([(book.room, since, upto, Seq(0))], None, 3)
    assert seqs(found[book.room]) == [8, 9, 10]
    assert await reads.timelines([(book.room, upto, upto, Seq(0))], None, 3) == {}
    assert seqs((await reads.timelines([(book.room, Pos(0), upto, Seq(9))], None, 30))[book.room]) == [9, 10]


async def test_a_timeline_by_types_holds_them_and_whatever_is_no_type_of_the_specification(
    book: Book, reads: SyncReads
) -> None:
    await book.event(NAME, skey=0)
    await book.says()
    await book.event(HASHED)
    found = await reads.timelines([(book.room, Pos(0), book.pos, Seq(0))], [NAME], 10)
    assert seqs(found[book.room]) == [1, 3]


async def test_state_that_came_with_a_snapshot_is_state_and_no_timeline(
    pool: "asyncpg.Pool[Any]", reads: SyncReads
) -> None:
    copy = await Book(pool).begin(from_seq=40)
    await copy.event(NAME, skey=0)
    copy.seq = 39
    joined = await copy.member(ALICE, Membership.JOIN)
    window = (copy.room, Pos(0), copy.pos, Seq(40))
    assert seqs((await reads.timelines([window], None, 10))[copy.room]) == [joined]
    assert seqs((await reads.state_at([(copy.room, joined, copy.pos)], None, members=True))[copy.room]) == [1]


async def test_state_at_a_place_is_the_last_before_it(book: Book, reads: SyncReads) -> None:
    await book.member(ALICE, Membership.JOIN)  # 1
    await book.event(NAME, skey=0)  # 2
    await book.event(TOPIC, skey=0)  # 3
    start = await book.says()  # 4
    await book.event(NAME, skey=0)  # 5
    await book.member(ALICE, Membership.JOIN)  # 6
    upto = book.pos
    await book.event(TOPIC, skey=0)  # 7: after the answer's end

    async def state(start: Seq, codes: list[int] | None = None, *, members: bool = True) -> list[int]:
        found = await reads.state_at([(book.room, start, upto)], codes, members=members)  # type: ignore[arg-type]
        return seqs(found.get(book.room, []))

    assert await state(start) == [1, 2, 3]
    assert await state(END) == [3, 5, 6]
    assert await state(END, members=False) == [3, 5]
    assert await state(END, [TOPIC]) == [3]


async def test_a_change_of_state_in_a_gap_is_told_as_it_was_before_the_timeline(book: Book, reads: SyncReads) -> None:
    await book.event(NAME, skey=0)  # 1
    await book.event(TOPIC, skey=0)  # 2
    await book.member(ALICE, Membership.JOIN)  # 3
    since = book.pos
    await book.event(NAME, skey=0)  # 4
    await book.event(NAME, skey=0)  # 5
    await book.member(BOB, Membership.JOIN)  # 6
    start = await book.says()  # 7
    await book.event(NAME, skey=0)  # 8
    await book.event(TOPIC, skey=0)  # 9
    found = await reads.state_since([(book.room, start, book.pos)], None, since)
    assert seqs(found[book.room]) == [5, 6]
    found = await reads.state_since([(book.room, END, book.pos)], None, since)
    assert seqs(found[book.room]) == [6, 8, 9]


async def test_single_members_are_found_at_a_place(book: Book, reads: SyncReads) -> None:
    await book.member(ALICE, Membership.JOIN)
    await book.member(BOB, Membership.JOIN)
    start = await book.member(ALICE, Membership.LEAVE)
    asked = [(book.room, ALICE, start, book.pos), (book.room, BOB, Seq(1), book.pos)]
    assert seqs((await reads.members_at(asked))[book.room]) == [1]


async def test_private_markers_are_for_their_owner(book: Book, reads: SyncReads) -> None:
    await book.says(count=3)
    await book.reads(ALICE, 1, ReceiptType.READ)
    since = await book.reads(BOB, 1, ReceiptType.READ)
    await book.reads(ALICE, 3, ReceiptType.PRIVATE)
    await book.reads(BOB, 2, ReceiptType.FULLY_READ)
    await book.reads(BOB, 3, ReceiptType.READ, MAIN_THREAD)
    found = (await reads.receipts([(book.room, ALICE, since)], book.pos))[book.room]
    assert {(row.ref, row.rtype, row.thread) for row in found} == {(ALICE, 2, 0), (BOB, 1, MAIN_THREAD)}
    found = (await reads.receipts([(book.room, BOB, Pos(0))], since))[book.room]
    assert {(row.ref, row.rtype, row.seq) for row in found} == {(ALICE, 1, 1), (BOB, 1, 1)}


async def test_a_summary_counts_and_names_those_who_are_there(book: Book, reads: SyncReads) -> None:
    for number in range(8):
        await book.member(MemberRef(100 + number), Membership.JOIN)
    await book.member(MemberRef(100), Membership.LEAVE)
    await book.member(MemberRef(101), Membership.INVITE)
    summary = (await reads.summaries([book.room]))[book.room]
    assert (summary.joined, summary.invited) == (6, 1)
    assert summary.heroes == (102, 103, 104, 105, 106, 107)


async def test_a_room_that_everybody_left_is_named_after_those_who_were_there(book: Book, reads: SyncReads) -> None:
    await book.member(ALICE, Membership.JOIN)
    await book.member(BOB, Membership.LEAVE)
    summary = (await reads.summaries([book.room]))[book.room]
    assert (summary.joined, summary.invited, set(summary.heroes)) == (1, 0, {ALICE, BOB})


async def test_histories_tell_own_moves_and_rules(book: Book, reads: SyncReads) -> None:
    await book.event(HISTORY_VISIBILITY, skey=0, value=2)
    await book.member(BOB, Membership.JOIN)
    await book.member(ALICE, Membership.INVITE)
    await book.event(HISTORY_VISIBILITY, skey=0, value=4)
    await book.member(ALICE, Membership.JOIN)
    histories = (await reads.histories([(book.room, ALICE)]))[book.room]
    assert histories.membership == [(3, Membership.INVITE), (5, Membership.JOIN)]
    assert histories.visibility == [(1, 2), (4, 4)]


async def test_each_method_is_one_statement_however_many_rooms(pool: "asyncpg.Pool[Any]", reads: SyncReads) -> None:
    books = [await Book(pool).begin() for _ in range(5)]
    for book in books:
        await book.member(ALICE, Membership.JOIN)
        await book.says(BOB, 2)
    upto = books[-1].pos
    rooms = [book.room for book in books]
    assert len(await reads.timelines([(room, Pos(0), upto, Seq(0)) for room in rooms], None, 10)) == 5
    assert len(await reads.state_at([(room, END, upto) for room in rooms], None, members=True)) == 5
    assert len(await reads.unread(ACCOUNT, [(room, ALICE, Seq(1)) for room in rooms], upto)) == 5
    assert reads.statements == 3
