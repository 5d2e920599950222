"""What the tables know of how far somebody has read a room, and of what they have not read.

The main timeline has counters on every event; threads are counted event by event, from the newest backwards.
"""

from typing import Any, Final

from msgspec import Struct

from hutong.cells.codes import MAIN_THREAD, Loud, ReceiptType
from hutong.ids import MemberRef, RoomNo, Seq

OWN_EVENTS_BACK_MAX: Final = 1_000
"""How far back an own event is looked for that marks what was said before it as read; beyond that only receipts do."""
LOUD_BACK_MAX: Final = 2_000
"""How many of a room's last unread events are looked at for those whom the reader ignores."""
THREADED_BACK_MAX: Final = 2_000
"""How many of a room's last events in threads are looked at; what is older counts as read."""
MAIN: Final = 0
"""The line of the main timeline; a thread's line is the seq of its root."""

_CLEARING: Final = f"({ReceiptType.READ}, {ReceiptType.PRIVATE})"

UNREAD: Final = f"""
    SELECT w.room, read.seq AS base, main.seq AS main_base, coalesce(last.seq, 0) AS head,
        coalesce(last.notes, 0) - coalesce(at_base.notes, 0) AS notes,
        coalesce(last.shouts, 0) - coalesce(at_base.shouts, 0) AS shouts,
        threads.roots, threads.bases, threads.notes AS thread_notes, threads.shouts AS thread_shouts,
        named.seqs, named.threads AS named_threads, named.loud AS named_loud
    FROM unnest($1::int8[], $2::int8[], $3::int8[]) AS w(room, ref, joined)
    LEFT JOIN LATERAL (
        SELECT seq, notes, shouts FROM events e WHERE e.room = w.room AND e.pos <= $5 ORDER BY e.pos DESC LIMIT 1
    ) last ON true
    CROSS JOIN LATERAL (
        SELECT greatest(w.joined, max(r.seq) FILTER (WHERE r.thread = 0)) AS seq,
            max(r.seq) FILTER (WHERE r.thread = {MAIN_THREAD}) AS main
        FROM receipts r WHERE r.room = w.room AND r.ref = w.ref AND r.rtype IN {_CLEARING} AND r.thread <= 0
    ) read
    CROSS JOIN LATERAL (
        SELECT greatest(read.seq, read.main, (
            SELECT e.seq FROM events e WHERE e.room = w.room AND e.sender = w.ref AND e.thread IS NULL
                AND e.seq > greatest(read.seq, last.seq - {OWN_EVENTS_BACK_MAX}) ORDER BY e.seq DESC LIMIT 1
        )) AS seq OFFSET 0 -- else it is looked for wherever it stands
    ) main
    LEFT JOIN LATERAL (
        SELECT notes, shouts FROM events e WHERE e.room = w.room AND e.seq <= main.seq ORDER BY e.seq DESC LIMIT 1
    ) at_base ON true
    CROSS JOIN LATERAL (
        WITH said AS (
            SELECT e.thread, e.seq, e.loud, e.sender FROM events e
            WHERE e.room = w.room AND e.thread IS NOT NULL AND e.seq > read.seq AND e.pos <= $5
            ORDER BY e.seq DESC LIMIT {THREADED_BACK_MAX}
        ), line AS (
            SELECT s.thread, greatest(read.seq, max(s.seq) FILTER (WHERE s.sender = w.ref), (
                SELECT max(r.seq) FROM receipts r
                WHERE r.room = w.room AND r.ref = w.ref AND r.rtype IN {_CLEARING} AND r.thread = s.thread
            )) AS base
            FROM said s GROUP BY s.thread
        ), counted AS (
            SELECT l.thread, l.base,
                count(*) FILTER (WHERE s.seq > l.base AND s.loud & {Loud.NOTIFIES} > 0) AS notes,
                count(*) FILTER (WHERE s.seq > l.base AND s.loud & {Loud.SHOUTS} > 0) AS shouts
            FROM line l JOIN said s ON s.thread = l.thread GROUP BY l.thread, l.base
        )
        SELECT array_agg(thread) AS roots, array_agg(base) AS bases, array_agg(notes) AS notes,
            array_agg(shouts) AS shouts
        FROM counted
    ) threads
    CROSS JOIN LATERAL (
        SELECT array_agg(h.seq) AS seqs, array_agg(coalesce(e.thread, {MAIN})) AS threads, array_agg(e.loud) AS loud
        FROM highlights h JOIN events e ON e.room = h.room AND e.seq = h.seq
        WHERE h.account = $4 AND h.room = w.room AND h.seq > read.seq AND e.pos <= $5
    ) named"""
"""($1 rooms, $2 own refs, $3 the seqs of the own joins, $4 the account, $5 up to this position)"""


LOUD: Final = f"""
    SELECT w.room, e.seq, coalesce(e.thread, {MAIN}) AS line, e.sender, e.loud
    FROM unnest($1::int8[], $2::int8[]) AS w(room, base)
    CROSS JOIN LATERAL (
        SELECT seq, thread, sender, loud FROM events e
        WHERE e.room = w.room AND e.seq > w.base AND e.pos <= $3 AND e.loud > 0
        ORDER BY e.seq DESC LIMIT {LOUD_BACK_MAX}
    ) e"""
"""($1 rooms, $2 after these seqs, $3 up to this position)"""


class LoudEvent(Struct, frozen=True):
    room: RoomNo
    seq: Seq
    line: int
    sender: MemberRef
    loud: int


class Line(Struct, frozen=True):
    """The main timeline, or one thread, as somebody has not read it."""

    base: Seq
    """Read up to here."""
    notes: int = 0
    """How much of what came after that notifies everybody."""
    shouts: int = 0
    """How much of it highlights for everybody."""
    sure: Seq = Seq(0)
    """What is loud and came after this is in `recent`."""
    recent: tuple[tuple[Seq, int], ...] = ()
    """(seq, `Loud`), ascending."""


class Named(Struct, frozen=True):
    """An unread event that names the reader. `noted`: everybody is notified of it."""

    seq: Seq
    line: int
    noted: bool


class UnreadRow(Struct, frozen=True):
    """What somebody has not read of a room."""

    base: Seq
    """Everything up to here is read, also in threads."""
    lines: dict[int, Line]
    """Those in which something is unread, and the main timeline."""
    named: tuple[Named, ...] = ()


def unread_row(row: Any) -> UnreadRow:
    """A row of `UNREAD`."""
    head = row["head"]
    lines = {MAIN: Line(row["main_base"], max(row["notes"], 0), max(row["shouts"], 0), head)}
    threads = (row["roots"], row["bases"], row["thread_notes"], row["thread_shouts"])
    for root, base, notes, shouts in zip(*(values or () for values in threads), strict=True):
        lines[root] = Line(base, notes, shouts, head)
    mentions = (row["seqs"], row["named_threads"], row["named_loud"])
    named = tuple(
        Named(seq, line, bool(loud & Loud.NOTIFIES))
        for seq, line, loud in sorted(zip(*(values or () for values in mentions), strict=True))
        if seq > (lines[line].base if line in lines else row["base"])
    )
    kept = {MAIN, *(mention.line for mention in named)}
    unread = {number: line for number, line in lines.items() if line.notes or line.shouts or number in kept}
    return UnreadRow(row["base"], unread, named)
