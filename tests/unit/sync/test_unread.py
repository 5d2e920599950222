from hutong.cells.codes import MAIN_THREAD, ReceiptType
from hutong.cells.sync_reads import UnreadRow
from hutong.ids import Seq
from hutong.sync.unread import counts, rolled
from tests.unit.sync.people import ALICE, BOB, receipt, record

ME = "@alice:cn"
AT_FIVE = UnreadRow(Seq(5), 3, 3, ())


def test_messages_of_others_add_up() -> None:
    row = rolled(AT_FIVE, [record(6, notes=4), record(7, notes=5)], ALICE, ME)
    assert row is not None
    assert counts(row) == (2, 0)


def test_an_own_message_clears_all_before_it() -> None:
    row = rolled(AT_FIVE, [record(6, notes=4), record(7, notes=5, sender=ALICE), record(8, notes=6)], ALICE, ME)
    assert row is not None
    assert counts(row) == (1, 0)
    assert row.base == 7


def test_a_receipt_clears_up_to_its_event_and_not_beyond() -> None:
    said = [record(6, notes=4), record(7, notes=5)]
    row = rolled(AT_FIVE, [*said, receipt(90, ALICE, 6, ReceiptType.PRIVATE)], ALICE, ME)
    assert row is not None
    assert counts(row) == (1, 0)
    for moved in (
        receipt(90, BOB, 7, ReceiptType.READ),
        receipt(90, ALICE, 7, ReceiptType.FULLY_READ),
        receipt(90, ALICE, 7, ReceiptType.READ, thread=6),
        receipt(90, ALICE, 5, ReceiptType.READ),
    ):
        row = rolled(AT_FIVE, [*said, moved], ALICE, ME)
        assert row is not None
        assert counts(row) == (2, 0), moved
    row = rolled(AT_FIVE, [*said, receipt(90, ALICE, 7, ReceiptType.READ, MAIN_THREAD)], ALICE, ME)
    assert row is not None
    assert counts(row) == (0, 0)


def test_a_receipt_at_an_event_that_the_tail_lacks_needs_the_tables() -> None:
    row = UnreadRow(Seq(5), 3, 9, (Seq(8),))
    assert rolled(row, [receipt(90, ALICE, 7, ReceiptType.READ)], ALICE, ME) is None


def test_a_mention_needs_the_tables_and_a_cleared_one_is_gone() -> None:
    assert rolled(AT_FIVE, [record(6, b'{"m.mentions":{"user_ids":["@alice:cn"]}}', notes=4)], ALICE, ME) is None
    for content in (b'{"m.mentions":{"room":true}}', b'{"m.mentions":{"user_ids":["\\u0040alice:cn"]}}'):
        assert rolled(AT_FIVE, [record(6, content, notes=4)], ALICE, ME) is None
    row = rolled(UnreadRow(Seq(5), 3, 4, (Seq(6),)), [record(7, notes=5, sender=ALICE)], ALICE, ME)
    assert row is not None
    assert counts(row) == (0, 0)


def test_a_mention_of_somebody_else_needs_no_table() -> None:
    said = [record(6, b'{"m.mentions":{"user_ids":["@carol:ru"]}}', notes=4)]
    row = rolled(AT_FIVE, said, ALICE, ME)
    assert row is not None
    assert counts(row) == (1, 0)
    assert rolled(AT_FIVE, said, ALICE, None) is None, "nobody knows who the reader is"


def test_a_highlight_that_the_counter_does_not_know_still_notifies() -> None:
    assert counts(UnreadRow(Seq(5), 3, 3, (Seq(6),))) == (1, 1)
