"""What is swept, and when: never what a cell that was away, or a start, still needs."""

import pytest

from hutong.cells.codes import OutKind
from hutong.cells.ingest import Ingest
from hutong.cells.messages import OutRow
from hutong.cells.ops import TellErased, VoidEvent
from hutong.cells.retention import LOG_KEPT, OUT_KEPT_MIN, VOIDED_KEPT_MIN, Retention
from hutong.ids import Minute, Pos, RoomNo, Seq
from tests.unit.cells.desk import ABROAD, BOB, THERE, Desk, new_id

PORTION = 3


@pytest.fixture
def retention(desk: Desk) -> Retention:
    return Retention(desk.tables.pool, portion_rows=PORTION)


async def outbox(desk: Desk) -> list[tuple[int, int]]:
    rows = await desk.tables.pool.fetch("SELECT n, kind FROM out WHERE dest = $1 ORDER BY n", ABROAD)
    return [(row["n"], row["kind"]) for row in rows]


async def told(desk: Desk, *minutes: int) -> None:
    """Bob's cell is told of an event in each of these minutes, and in the first one of somebody who is erased."""
    room = await desk.create_room()
    for minute in minutes:
        desk.minute = Minute(minute)
        if minute == minutes[0]:
            await desk.member(room, "join", BOB, THERE)
            await desk.writer.submit(TellErased(room=room, ref=BOB, home=desk.home))
        else:
            await desk.writer.submit(desk.message(room))


async def test_the_outbox_is_kept_thirty_days_and_says_that_there_was_more(desk: Desk, retention: Retention) -> None:
    await told(desk, *range(1, 11))
    whole = await outbox(desk)
    assert [n for n, _ in whole] == list(range(1, 12))
    await retention.sweep(Minute(OUT_KEPT_MIN + 1), desk.tail.head)
    assert await outbox(desk) == whole, "nothing is as old as that"
    await retention.sweep(Minute(OUT_KEPT_MIN + 8), desk.tail.head)
    assert await outbox(desk) == [(2, OutKind.ERASED), (8, OutKind.SWEPT), *whole[8:]]
    await retention.sweep(Minute(OUT_KEPT_MIN + 10), desk.tail.head)
    assert await outbox(desk) == [(2, OutKind.ERASED), (10, OutKind.SWEPT), whole[10]]
    await retention.sweep(Minute(OUT_KEPT_MIN + 1_000), desk.tail.head)
    assert await outbox(desk) == [(2, OutKind.ERASED), (11, OutKind.SWEPT)]
    await desk.memory.load_counters()
    assert desk.memory.out_numbers == {ABROAD: 11}, "a start goes on above what was given out"


async def test_a_clock_that_was_set_back_takes_nothing_away_too_early(desk: Desk, retention: Retention) -> None:
    """Were a row taken from behind one that stays, the event before it would never come to who was away."""
    await told(desk, 1, 5, 3, 6)
    await retention.sweep(Minute(OUT_KEPT_MIN + 4), desk.tail.head)
    assert await outbox(desk) == [(1, OutKind.SWEPT), (2, OutKind.ERASED), *[(n, OutKind.EVENT) for n in (3, 4, 5)]]


async def test_of_the_log_stays_what_a_start_needs(desk: Desk, retention: Retention) -> None:
    room = await desk.create_room()
    for _ in range(8):
        await desk.writer.submit(desk.message(room))
    head = desk.tail.head
    await retention.sweep(Minute(1), head)
    assert await desk.tables.pool.fetchval("SELECT count(*) FROM log") == 10  # a membership record, and nine commits
    await retention.sweep(Minute(1), Pos(LOG_KEPT + head - 2))
    assert await desk.tables.pool.fetch("SELECT pos FROM log ORDER BY pos") == [(head - 1,), (head,)]
    assert await desk.timeline(room), "events are no records of the log"


async def test_of_the_cursors_stays_the_highest_of_each_source(desk: Desk, retention: Retention) -> None:
    for n in range(1, 2 * PORTION + 3):
        await desk.writer.submit(
            Ingest(
                home=desk.home, src=ABROAD, after=n - 1, snapshots={}, words={}, mentioned={},
                rows=[OutRow(n=n, room=RoomNo(1), seq=Seq(0), kind=OutKind.ERASED, a=BOB)],
            )
        )  # fmt: skip
    await retention.sweep(Minute(1), desk.tail.head)
    assert await desk.tables.pool.fetch("SELECT src, n FROM in_cursor") == [(ABROAD, 2 * PORTION + 2)]


async def test_given_up_events_are_forgotten_when_nothing_can_be_on_its_way(desk: Desk, retention: Retention) -> None:
    old, late = [new_id() for _ in range(PORTION + 1)], new_id()
    for event_id in old:
        await desk.writer.submit(VoidEvent(event_id=event_id, minute=Minute(1)))
    await desk.writer.submit(VoidEvent(event_id=late, minute=Minute(2)))
    assert await retention.sweep(Minute(VOIDED_KEPT_MIN + 2), desk.tail.head) == set(old)
    assert await desk.home.reads.all_voided() == {late}
