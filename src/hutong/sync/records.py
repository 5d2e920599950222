"""What stands at the end of a room's records, as the tail tells them: the last of what each moves. No I/O."""

from collections.abc import Iterable

from hutong.cells.codes import ReceiptType
from hutong.cells.records import Event, ReceiptRow, Record
from hutong.ids import MemberRef, Seq, StateKeyCode, TypeCode


def last_markers(records: Iterable[Record], reader: MemberRef) -> list[ReceiptRow]:
    """Where each marker stands that `reader` may see."""
    last: dict[tuple[MemberRef, int, int], ReceiptRow] = {}
    for record in records:
        for row in record.receipts:
            if row.rtype == ReceiptType.READ or row.ref == reader:
                last[row.ref, row.rtype, row.thread] = row
    return list(last.values())


def last_state(records: Iterable[Record], start: Seq) -> list[Event]:
    """The last state event of each kind before `start`."""
    last: dict[tuple[TypeCode, StateKeyCode], Event] = {}
    for record in records:
        event = record.event
        if event is not None and event.env.skey is not None and event.env.seq < start:
            last[event.env.type, event.env.skey] = event
    return list(last.values())
