"""What the tables say of what is unread, against counting one by one."""

import random
from typing import Any

import pytest

from hutong.cells import tables
from hutong.cells.codes import MAIN_THREAD, Loud, ReceiptType
from hutong.cells.records import Record
from hutong.cells.sync_reads import SyncReads
from hutong.cells.unread_reads import MAIN, OWN_EVENTS_BACK_MAX, THREADED_BACK_MAX, UnreadRow
from hutong.ids import AccountNo, Pos, Seq
from hutong.push.defaults import effect_of
from hutong.rooms.event_types import MESSAGE, Membership
from hutong.sync import unread as unread_rules
from tests.support.push_reference import ME, Read, Said, count, line_of
from tests.unit.cells.conftest import CellTables
from tests.unit.cells.test_sync_reads import ALICE, BOB, Book
from tests.unit.push.test_defaults import loud_of, record_of

ACCOUNT = AccountNo(7)
ROOMS = 40


@pytest.fixture
async def book(cell_tables: CellTables) -> Book:
    return await Book(cell_tables.pool).begin()


@pytest.fixture
def reads(cell_tables: CellTables) -> SyncReads:
    return SyncReads(cell_tables.pool)


async def test_unread_counts_begin_after_the_latest_of_receipt_own_event_and_join(book: Book, reads: SyncReads) -> None:
    await book.says(BOB, 2)
    joined = await book.member(ALICE, Membership.JOIN)  # 3
    await book.says(BOB, 4)  # 4 to 7

    async def unread() -> tuple[int, int]:
        row = (await reads.unread(ACCOUNT, [(book.room, ALICE, joined)], book.pos))[book.room]
        return row.lines[MAIN].notes, len(row.named)

    await book.pool.execute("INSERT INTO highlights VALUES ($1, $2, 4), ($1, $2, 7)", ACCOUNT, book.room)
    assert await unread() == (4, 2)
    await book.reads(ALICE, 5, ReceiptType.PRIVATE)
    assert await unread() == (2, 1)
    await book.reads(ALICE, 6, ReceiptType.READ, MAIN_THREAD)
    assert await unread() == (1, 1)
    await book.reads(ALICE, 7, ReceiptType.FULLY_READ)
    assert await unread() == (1, 1), "a fully read marker clears nothing"
    await book.says(ALICE)
    await book.says(BOB)
    assert await unread() == (1, 0)


async def test_an_own_event_far_back_is_not_looked_for_through_the_whole_room(book: Book, reads: SyncReads) -> None:
    joined = await book.member(ALICE, Membership.JOIN)
    await book.says(ALICE)
    book.seq, book.notes = OWN_EVENTS_BACK_MAX + 10, 500
    await book.says(BOB)
    row = (await reads.unread(ACCOUNT, [(book.room, ALICE, joined)], book.pos))[book.room]
    assert row.lines[MAIN].base == joined


def step_of(dice: random.Random, events: list[Said]) -> Said | Read:
    """What happens next: mostly somebody says something, to everybody or in a thread."""
    if events and dice.random() < 0.3:
        index = dice.randrange(len(events))
        return Read(index, dice.choice([None, line_of(events, index)]))
    content: dict[str, Any] = {"msgtype": dice.choice(["m.text", "m.text", "m.notice"])}
    if dice.random() < 0.4:
        content["m.mentions"] = dice.choice([{"room": True}, {"user_ids": [ME]}, {"user_ids": [ME], "room": True}])
    relates = None
    if events and dice.random() < 0.6:
        relates = (dice.choice(["m.thread", "m.thread", "m.annotation", "m.replace"]), dice.randrange(len(events)))
    sender = dice.choice([ME, "@bob:eu.localhost", "@bob:eu.localhost", "@carol:ru.localhost"])
    type = dice.choice(["m.room.message", "m.room.message", "m.reaction", "org.example.own"])
    return Said(sender, type, content, None, relates, sender_may_notify=dice.random() < 0.5)


async def write(book: Book, events: list[Said], step: Said | Read) -> None:
    if isinstance(step, Read):
        thread = 0 if step.thread is None else MAIN_THREAD if step.thread == "main" else int(step.thread) + 1
        rows = "SELECT seq FROM receipts WHERE room = $1 AND ref = $2 AND rtype = 2 AND thread = $3"
        if (await book.pool.fetchval(rows, book.room, ALICE, thread) or 0) < step.index + 1:
            await book.reads(ALICE, step.index + 1, ReceiptType.PRIVATE, thread)
        return
    events.append(step)
    line, loud = line_of(events, len(events) - 1), loud_of(step)
    await book.event(
        MESSAGE,
        ALICE if step.sender == ME else BOB,
        thread=None if line == "main" else int(line) + 1,
        loud=loud,
    )
    if loud & Loud.NAMES and ME in effect_of(step.type, None, step.content).named:
        await book.pool.execute("INSERT INTO highlights VALUES ($1, $2, $3)", ACCOUNT, book.room, book.seq)


async def test_the_tables_and_the_tail_count_as_one_by_one(book: Book, reads: SyncReads, seeded: random.Random) -> None:
    """Whatever was read from the tables at some moment, and rolled on from there."""
    for _ in range(ROOMS):
        book = await Book(book.pool).begin()
        steps: list[Said | Read] = []
        events: list[Said] = []
        kept: UnreadRow | None = None
        for _ in range(seeded.randrange(4, 16)):
            steps.append(step_of(seeded, events))
            await write(book, events, steps[-1])
            expected = count(steps)
            read = (await reads.unread(ACCOUNT, [(book.room, ALICE, Seq(0))], book.pos))[book.room]
            news: list[Record] = [record_of(events, steps[-1])]
            rolled = None if kept is None else unread_rules.rolled(kept, news, ALICE, ME)
            for row in (read, rolled):
                if row is None:
                    continue
                found = unread_rules.counts(row)
                assert (found.notifications, found.highlights) == expected.total, steps
                assert {
                    "main" if line == MAIN else line - 1: (each.notifications, each.highlights)
                    for line, each in unread_rules.by_line(row).items()
                } == expected.by_line, steps
            kept = rolled if rolled is not None and seeded.random() < 0.8 else read


async def test_what_was_said_later_is_not_counted_yet(book: Book, reads: SyncReads) -> None:
    """A count is as of a position, in threads too: what comes after it is rolled on."""
    root = await book.says(BOB)
    await book.event(MESSAGE, BOB, thread=root)
    then = book.pos
    await book.event(MESSAGE, BOB, thread=root)
    await book.says(BOB)
    row = (await reads.unread(ACCOUNT, [(book.room, ALICE, Seq(0))], then))[book.room]
    assert unread_rules.counts(row) == unread_rules.Counts(2, 0)


async def test_only_the_last_of_what_is_in_threads_is_looked_at(book: Book, reads: SyncReads) -> None:
    await book.pool.execute(
        f"""INSERT INTO {tables.EVENTS.name} (room, seq, pos, event_id, home, sender, type, minute, thread, loud, notes,
                shouts)
            SELECT $1::int8, n, 0, uuidv4(), 4096, $2::int8, {MESSAGE}, 1, 1, {Loud.NOTIFIES}, 0, 0
            FROM generate_series(2, {THREADED_BACK_MAX + 50}) n""",
        book.room, BOB,
    )  # fmt: skip
    row = (await reads.unread(ACCOUNT, [(book.room, ALICE, Seq(0))], Pos(1)))[book.room]
    assert unread_rules.counts(row).notifications == THREADED_BACK_MAX
