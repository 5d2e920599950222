"""From a row of the positioned tables to a typed record."""

from collections.abc import Iterable
from typing import Any

from asyncpg import Record as Row
from msgspec import structs

from hutong.cells.records import Envelope, Event, Leaving, Member
from hutong.rooms.event_types import MEMBER, STRUCTURAL, Relation

EVENT_COLUMNS = (
    "room, seq, pos, event_id, home, sender, type, skey, value, rel_seq, rel_type, minute, notes, prev_seq, "
    "redacted_by, thread, loud, shouts"
)
EVENT_WIDTH = len(EVENT_COLUMNS.split(","))
MEMBER_COLUMNS = "room, ref, account, home, membership, seq, forgotten"
TOLD_WIDTH = 2 + 2 * EVENT_WIDTH


def _columns_of(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in EVENT_COLUMNS.split(", "))


# With an event `e` what a push carries from memory: the home of whom it is about, the projection as it is now, and the
# event that it redacts.
TOLD_COLUMNS = f"r.proj, m.home, {_columns_of('e')}, {_columns_of('t')}"
TOLD_JOINS = f"""
    LEFT JOIN rooms r ON r.room = e.room
    LEFT JOIN members m ON m.room = e.room AND m.ref = e.skey AND e.type = {MEMBER}
    LEFT JOIN events t ON t.room = e.room AND t.seq = e.rel_seq AND e.rel_type = {Relation.REDACTION}"""


def event_of(row: Row | tuple[Any, ...]) -> Event:
    """A row with EVENT_COLUMNS, in that order."""
    room, seq, pos, event_id, home, sender, type, skey, value = row[:9]
    rel_seq, rel_type, minute, notes, prev_seq, redacted_by, thread, loud, shouts = row[9:EVENT_WIDTH]
    env = Envelope(
        room=room,
        seq=seq,
        event_id=event_id.bytes,
        home=home,
        sender=sender,
        type=type,
        skey=skey,
        value=value,
        rel_seq=rel_seq,
        rel_type=rel_type,
        minute=minute,
        notes=notes,
        prev_seq=prev_seq,
        redacted_by=redacted_by,
        thread=thread,
        loud=loud,
        shouts=shouts,
    )
    return Event(pos=pos, env=env)


def member_of(row: Row) -> Member:
    """A row with MEMBER_COLUMNS, in that order."""
    room, ref, account, home, membership, seq, forgotten = row[:7]
    return Member(room=room, ref=ref, account=account, home=home, membership=membership, seq=seq, forgotten=forgotten)


def told_of(row: Row | tuple[Any, ...]) -> tuple[Envelope | None, Envelope | None]:
    """The event in a row with TOLD_COLUMNS, as it travels, and the one that it redacts."""
    proj, target_home = row[:2]
    event, redacted = row[2 : 2 + EVENT_WIDTH], row[2 + EVENT_WIDTH : TOLD_WIDTH]
    env = None if event[0] is None else event_of(event).env
    if env is not None and env.target is not None:
        env = structs.replace(env, target_home=target_home)
    elif env is not None and env.type in STRUCTURAL and env.skey == 0:
        env = structs.replace(env, proj=proj)
    return env, None if redacted[0] is None else event_of(redacted).env


def columns(rows: Iterable[tuple[int, ...]], width: int) -> list[list[int]]:
    """Rows of `width` numbers as the arrays of `unnest`."""
    turned = [list(column) for column in zip(*rows, strict=True)]
    return turned or [[] for _ in range(width)]


def leaving_of(row: Row) -> Leaving:
    """A row of `leaving`."""
    room, ref, account, event_id, seq, ends, pos, minute = row[:8]
    return Leaving(
        room=room, ref=ref, account=account, event_id=event_id.bytes, seq=seq, ends=ends, pos=pos, minute=minute
    )
