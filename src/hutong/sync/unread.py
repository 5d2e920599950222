"""Unread counts from a cumulative counter: what a room's events notify of beyond what the reader has read.

Every event carries how many events of its room notify by default, itself included (`notes`). The count is the
difference between the last event and the one read up to: a receipt, an own event, or the own join, whichever is latest.
"""

from collections.abc import Iterable

from hutong.cells.codes import MAIN_THREAD, ReceiptType
from hutong.cells.records import Record
from hutong.cells.sync_reads import UnreadRow
from hutong.ids import MemberRef, Seq

_MENTIONS = b'"m.mentions"'
_CLEARING = (ReceiptType.READ, ReceiptType.PRIVATE)
UNTHREADED = 0


def counts(row: UnreadRow) -> tuple[int, int]:
    """Notifications and highlights. A highlight notifies too."""
    highlights = len(row.highlights)
    return max(row.notes - row.base_notes, highlights, 0), highlights


def _may_mention(content: bytes, me: bytes | None) -> bool:
    """Whether an event with this content may highlight for the reader; false only when it certainly does not."""
    if _MENTIONS not in content:
        return False
    return me is None or me in content or b'"room"' in content or b"\\" in content  # an escape may hide a name


def rolled(row: UnreadRow, records: Iterable[Record], ref: MemberRef, user_id: str | None) -> UnreadRow | None:
    """`row` after `records` of its room, as `ref` reads it; None when only the tables can tell."""
    me = None if user_id is None else user_id.encode()
    notes_at: dict[Seq, int] = {}
    base, base_notes, notes, highlights = row.base, row.base_notes, row.notes, row.highlights
    for record in records:
        if record.event is not None:
            env = record.event.env
            notes_at[env.seq] = notes = env.notes
            if env.sender == ref:
                base, base_notes, highlights = env.seq, env.notes, ()
            elif record.words is None or _may_mention(record.words.json, me):
                return None  # the table of highlights knows
        for receipt in record.receipts:
            if receipt.ref != ref or receipt.rtype not in _CLEARING or receipt.thread not in {UNTHREADED, MAIN_THREAD}:
                continue
            if receipt.seq > base:
                if receipt.seq not in notes_at:
                    return None
                base, base_notes = receipt.seq, notes_at[receipt.seq]
                highlights = tuple(seq for seq in highlights if seq > base)
    return UnreadRow(base, base_notes, notes, highlights)
