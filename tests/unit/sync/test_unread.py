import random

import pytest
from msgspec import structs

from hutong.cells.codes import MAIN_THREAD, LogKind, Loud, ReceiptType
from hutong.cells.records import Event, Record
from hutong.cells.unread_reads import MAIN, Line, LoudEvent, Named, UnreadRow
from hutong.ids import Seq
from hutong.rooms.event_types import MESSAGE
from hutong.sync.unread import RECENT_MAX, Counts, bases, by_line, counts, of_window, rolled, without
from tests.unit.sync.people import ALICE, BOB, ROOM, event, receipt, record

ME = "@alice:cn"
AT_FIVE = UnreadRow(Seq(5), {MAIN: Line(Seq(5), sure=Seq(5))})
NOTE, SHOUT, NAMING = Loud.NOTIFIES, Loud.NOTIFIES | Loud.SHOUTS, Loud.NOTIFIES | Loud.NAMES


def noted(seq: int, **more: int) -> Record:
    return record(seq, b"{}", loud=NOTE, **more)


def after(row: UnreadRow, *records: Record) -> Counts:
    rolled_on = rolled(row, records, ALICE, ME)
    assert rolled_on is not None
    return counts(rolled_on)


def test_messages_of_others_add_up() -> None:
    assert after(AT_FIVE, noted(6), record(7), noted(8)) == Counts(2, 0)


def test_an_own_message_clears_the_line_it_stands_in() -> None:
    assert after(AT_FIVE, noted(6), noted(7, sender=ALICE), noted(8)) == Counts(1, 0)
    assert after(AT_FIVE, noted(6), noted(7, thread=2), noted(8, thread=2, sender=ALICE)) == Counts(1, 0)
    assert after(AT_FIVE, noted(6, thread=2), noted(7, sender=ALICE)) == Counts(1, 0)


def test_a_receipt_clears_up_to_its_event_and_not_beyond() -> None:
    said = [noted(6), noted(7)]
    assert after(AT_FIVE, *said, receipt(90, ALICE, 6, ReceiptType.PRIVATE)) == Counts(1, 0)
    for moved in (
        receipt(90, BOB, 7, ReceiptType.READ),
        receipt(90, ALICE, 7, ReceiptType.FULLY_READ),
        receipt(90, ALICE, 7, ReceiptType.READ, thread=6),
        receipt(90, ALICE, 5, ReceiptType.READ),
    ):
        assert after(AT_FIVE, *said, moved) == Counts(2, 0), moved
    assert after(AT_FIVE, *said, receipt(90, ALICE, 7, ReceiptType.READ, MAIN_THREAD)) == Counts(0, 0)


def test_a_receipt_for_a_thread_clears_that_thread_only() -> None:
    row = rolled(AT_FIVE, [noted(6), noted(7, thread=2), noted(8, thread=2), noted(9, thread=3)], ALICE, ME)
    assert row is not None
    assert by_line(row) == {MAIN: Counts(1, 0), 2: Counts(2, 0), 3: Counts(1, 0)}
    assert after(row, receipt(90, ALICE, 7, ReceiptType.READ, thread=2)) == Counts(3, 0)
    assert after(row, receipt(90, ALICE, 9, ReceiptType.READ, MAIN_THREAD)) == Counts(3, 0)
    assert after(row, receipt(90, ALICE, 8, ReceiptType.READ)) == Counts(1, 0), "all up to 8, wherever it is"


def test_a_receipt_in_the_midst_of_what_only_the_tables_know_needs_them() -> None:
    row = UnreadRow(Seq(5), {MAIN: Line(Seq(5), notes=4, sure=Seq(9))})
    assert rolled(row, [receipt(90, ALICE, 7, ReceiptType.READ)], ALICE, ME) is None
    assert after(row, noted(10), receipt(90, ALICE, 9, ReceiptType.READ)) == Counts(1, 0)


def test_only_the_last_unread_events_are_remembered_one_by_one() -> None:
    many = [noted(seq) for seq in range(6, 6 + RECENT_MAX + 10)]
    row = rolled(AT_FIVE, many, ALICE, ME)
    assert row is not None
    assert len(row.lines[MAIN].recent) == RECENT_MAX
    assert counts(row) == Counts(RECENT_MAX + 10, 0)
    assert rolled(row, [receipt(90, ALICE, 7, ReceiptType.READ)], ALICE, ME) is None
    assert after(row, receipt(90, ALICE, 16, ReceiptType.READ)) == Counts(RECENT_MAX - 1, 0)


def test_what_arrives_late_and_is_read_already_is_not_counted() -> None:
    assert after(AT_FIVE, receipt(90, ALICE, 8, ReceiptType.READ), noted(7), noted(9)) == Counts(1, 0)


def test_a_naming_event_needs_the_tables_and_a_cleared_one_is_gone() -> None:
    mention = b'{"m.mentions":{"user_ids":["@alice:cn"]}}'
    for content in (mention, b'{"m.mentions":{"user_ids":["\\u0040alice:cn"]}}'):
        assert rolled(AT_FIVE, [record(6, content, loud=NAMING)], ALICE, ME) is None
    row = UnreadRow(Seq(5), {MAIN: Line(Seq(5), 1)}, (Named(Seq(6), MAIN, noted=True),))
    assert counts(row) == Counts(1, 1)
    assert after(row, noted(7, sender=ALICE)) == Counts(0, 0)
    assert after(row, receipt(90, ALICE, 6, ReceiptType.READ)) == Counts(0, 0)


def test_somebody_elses_name_or_a_shout_needs_no_table() -> None:
    said = [record(6, b'{"m.mentions":{"user_ids":["@carol:ru"]}}', loud=NAMING)]
    assert after(AT_FIVE, *said) == Counts(1, 0)
    assert rolled(AT_FIVE, said, ALICE, None) is None, "nobody knows who the reader is"
    assert after(AT_FIVE, record(6, b'{"m.mentions":{"room":true}}', loud=SHOUT)) == Counts(1, 1)


def test_who_is_ignored_is_not_counted_and_who_is_unknown_is_looked_up() -> None:
    said = [noted(6), record(7, loud=NAMING), noted(8, sender=BOB + 1)]
    row = rolled(AT_FIVE, said, ALICE, ME, lambda ref: ref == BOB)
    assert row is not None
    assert counts(row) == Counts(1, 0)
    assert rolled(AT_FIVE, said, ALICE, ME, lambda ref: None) is None
    assert rolled(AT_FIVE, [record(6), noted(7, sender=ALICE)], ALICE, ME, lambda ref: None) is not None
    row = UnreadRow(Seq(5), {MAIN: Line(Seq(5), 3, 1), 2: Line(Seq(7), 1)}, (Named(Seq(6), MAIN, noted=True),))
    gone = [
        LoudEvent(ROOM, Seq(seq), line, BOB, loud)
        for seq, line, loud in ((6, MAIN, NAMING), (8, MAIN, SHOUT), (7, 2, NOTE))
    ]
    assert by_line(without(row, gone)) == {MAIN: Counts(1, 0), 2: Counts(1, 0)}


def test_a_highlight_of_which_nobody_else_is_notified_still_notifies() -> None:
    assert counts(UnreadRow(Seq(5), {MAIN: Line(Seq(5))}, (Named(Seq(6), MAIN, noted=False),))) == Counts(1, 1)


@pytest.mark.parametrize("seed", range(40))
def test_a_window_tells_what_rolling_on_tells(seed: int) -> None:
    chance = random.Random(seed)
    joined, notes, shouts, events = 3, 0, 0, []
    for seq in range(3, 30):
        loud = chance.choice((0, NOTE, NOTE, SHOUT))
        notes, shouts = notes + bool(loud & Loud.NOTIFIES), shouts + bool(loud & Loud.SHOUTS)
        sender = ALICE if chance.random() < 0.05 else BOB
        found = event(seq, MESSAGE, sender, loud=loud, notes=notes)
        events.append(Event(pos=found.pos, env=structs.replace(found.env, shouts=shouts)))
    receipts = [
        receipt(400 + n, chance.choice((ALICE, ALICE, BOB)), chance.randrange(3, 30), rtype, thread)
        for n, (rtype, thread) in enumerate(
            (chance.choice(list(ReceiptType)), chance.choice((0, MAIN_THREAD, 7))) for _ in range(chance.randrange(4))
        )
    ]
    base, main = bases([row for moved in receipts for row in moved.receipts], ALICE, Seq(joined))
    row = of_window([each for each in events if each.env.seq >= base], ALICE, base, main)
    records = [Record(pos=each.pos, kind=LogKind.EVENT, room=ROOM, event=each) for each in events]
    start = UnreadRow(Seq(joined), {MAIN: Line(Seq(joined), sure=Seq(joined))})
    assert row is not None
    assert counts(row) == after(start, *records, *receipts)


def test_a_window_with_threads_or_mentions_is_left_to_the_tables() -> None:
    for more in ({"thread": 2}, {"loud": NAMING}):
        events = [event(5), event(6, MESSAGE, BOB, **more)]
        assert of_window(events, ALICE, Seq(5), Seq(5)) is None
        assert of_window(events, ALICE, Seq(6), Seq(6)) is not None, "what is read does not matter"
