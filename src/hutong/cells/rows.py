"""From a row of the positioned tables to a typed record."""

from typing import Any

from asyncpg import Record as Row

from hutong.cells.records import Envelope, Event, Member

EVENT_COLUMNS = (
    "room, seq, pos, event_id, home, sender, type, skey, value, rel_seq, rel_type, minute, notes, prev_seq, redacted_by"
)
MEMBER_COLUMNS = "room, ref, account, home, membership, seq, forgotten"


def event_of(row: Row | tuple[Any, ...]) -> Event:
    """A row with EVENT_COLUMNS, in that order."""
    room, seq, pos, event_id, home, sender, type, skey, value = row[:9]
    rel_seq, rel_type, minute, notes, prev_seq, redacted_by = row[9:15]
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
    )
    return Event(pos=pos, env=env)


def member_of(row: Row) -> Member:
    """A row with MEMBER_COLUMNS, in that order."""
    room, ref, account, home, membership, seq, forgotten = row[:7]
    return Member(room=room, ref=ref, account=account, home=home, membership=membership, seq=seq, forgotten=forgotten)
