"""What somebody has not read of a room, as a number: of what notifies them and of what highlights for them.

A room has several lines: its main timeline, and its threads. A receipt without a thread clears all of them up to its
event, one for a thread only that, and so does an own event for the line that it stands in.
Source: Client-Server API v1.19, "Receiving notifications", "Threaded read receipts".
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct, structs

from hutong.cells.codes import MAIN_THREAD, Loud, ReceiptType
from hutong.cells.records import Envelope, Event, ReceiptRow, Record
from hutong.cells.unread_reads import MAIN, Line, LoudEvent, UnreadRow
from hutong.ids import MemberRef, Seq

RECENT_MAX: Final = 100
_CLEARING: Final = (ReceiptType.READ, ReceiptType.PRIVATE)
UNTHREADED: Final = 0
Ignores = Callable[[MemberRef], bool | None]
"""Whether the reader ignores a member; None while nobody knows who that is."""


class Counts(Struct, frozen=True):
    """Notifications, and how many of them are highlights."""

    notifications: int
    highlights: int


def counts(row: UnreadRow) -> Counts:
    """Of the whole room."""
    each = by_line(row).values()
    return Counts(sum(line.notifications for line in each), sum(line.highlights for line in each))


def by_line(row: UnreadRow) -> dict[int, Counts]:
    """Of the main timeline, and of each thread in which there are any, by its root."""
    found = {}
    for number, line in row.lines.items():
        named = [mention for mention in row.named if mention.line == number]
        notes = line.notes + sum(not mention.noted for mention in named)
        if notes or number == MAIN:
            found[number] = Counts(notes, line.shouts + len(named))
    return found


def without(row: UnreadRow, events: Iterable[LoudEvent]) -> UnreadRow:
    """`row` without `events` of its room: somebody's whom the reader ignores."""
    lines, gone = dict(row.lines), set()
    for event in events:
        gone.add(event.seq)
        line = lines.get(event.line)
        if line is not None and event.seq > line.base:
            notes = line.notes - bool(event.loud & Loud.NOTIFIES)
            lines[event.line] = structs.replace(line, notes=notes, shouts=line.shouts - bool(event.loud & Loud.SHOUTS))
    return UnreadRow(row.base, lines, tuple(mention for mention in row.named if mention.seq not in gone))


def rolled(
    row: UnreadRow, records: Iterable[Record], ref: MemberRef, user_id: str | None, ignores: Ignores | None = None
) -> UnreadRow | None:
    """`row` after `records` of its room, as `ref` reads it; None when only the tables can tell."""
    me = None if user_id is None else user_id.encode()
    now: UnreadRow | None = row
    for record in records:
        if now is not None and record.event is not None:
            env = record.event.env
            verdict = False if ignores is None or env.sender == ref else ignores(env.sender)
            if verdict is None and env.loud:
                return None
            if verdict:
                continue
            content = None if record.words is None else record.words.json
            now = _after(now, env, ref, may_name=bool(env.loud & Loud.NAMES) and _may_name(content, me))
        for receipt in record.receipts:
            if now is not None and receipt.ref == ref and receipt.rtype in _CLEARING:
                now = _cleared(now, receipt)
    return now


def bases(receipts: Iterable[ReceiptRow], ref: MemberRef, joined: Seq) -> tuple[Seq, Seq]:
    """Up to where somebody who joined at `joined` has read everything, and up to where the main timeline."""
    base = main = joined
    for row in receipts:
        if row.ref == ref and row.rtype in _CLEARING:
            if row.thread == UNTHREADED:
                base = max(base, row.seq)
            elif row.thread == MAIN_THREAD:
                main = max(main, row.seq)
    return base, max(base, main)


def of_window(events: Sequence[Event], ref: MemberRef, base: Seq, main_base: Seq) -> UnreadRow | None:
    """What is unread of `events`: all from the last one that is not after `base` on.

    None when only the tables can tell: for what is in threads, and what names somebody.
    """
    read, last = events[0].env, events[-1].env
    for event in events:
        env = event.env
        if env.seq > base and (env.thread is not None or env.loud & Loud.NAMES):
            return None
        if env.sender == ref and env.seq > main_base:
            main_base = env.seq
        if env.seq <= main_base:
            read = env
    return UnreadRow(base, {MAIN: Line(main_base, last.notes - read.notes, last.shouts - read.shouts, last.seq)})


def _may_name(content: bytes | None, me: bytes | None) -> bool:
    """Whether an event with this content may name the reader; false only when it certainly does not."""
    if content is None or me is None:
        return True
    return me in content or b"\\" in content  # an escape may hide a name


def _after(row: UnreadRow, env: Envelope, ref: MemberRef, *, may_name: bool) -> UnreadRow | None:
    """`row` after an event."""
    number = MAIN if env.thread is None else env.thread
    line = row.lines.get(number) or Line(row.base)
    if env.sender == ref:
        lines = {**row.lines, number: Line(env.seq, sure=env.seq)}
        return UnreadRow(row.base, lines, tuple(mention for mention in row.named if mention.line != number))
    if env.seq <= max(line.base, row.base):
        return row
    if may_name:
        return None  # the table of highlights knows
    if not env.loud & Loud.NOTIFIES:
        return row
    recent, sure = (*line.recent, (env.seq, env.loud)), line.sure
    if len(recent) > RECENT_MAX:
        sure, recent = recent[0][0], recent[1:]
    shouts = line.shouts + bool(env.loud & Loud.SHOUTS)
    line = structs.replace(line, notes=line.notes + 1, shouts=shouts, sure=sure, recent=recent)
    return structs.replace(row, lines={**row.lines, number: line})


def _cleared(row: UnreadRow, receipt: ReceiptRow) -> UnreadRow | None:
    """`row` after an own receipt."""
    lines = dict(row.lines)
    if receipt.thread == UNTHREADED:
        numbers = list(lines)
    else:
        numbers = [MAIN if receipt.thread == MAIN_THREAD else receipt.thread]
    for number in numbers:
        line = _read(lines.get(number) or Line(row.base), receipt.seq)
        if line is None:
            return None
        lines[number] = line
    base = max(row.base, receipt.seq) if receipt.thread == UNTHREADED else row.base
    named = tuple(mention for mention in row.named if mention.seq > lines[mention.line].base)
    return UnreadRow(base, lines, named)


def _read(line: Line, upto: Seq) -> Line | None:
    if upto <= line.base:
        return line
    if upto < line.sure and line.notes > len(line.recent):
        return None  # it may lie in the middle of what nobody remembers one by one
    recent = tuple((seq, loud) for seq, loud in line.recent if seq > upto)
    shouts = sum(bool(loud & Loud.SHOUTS) for _, loud in recent)
    return Line(upto, len(recent), shouts, max(line.sure, upto), recent)
