"""Small numbers that stand in the columns of the positioned tables."""

from enum import IntEnum, IntFlag


class LogKind(IntEnum):
    """What a record of the log reports. What `room`, `a` and `b` hold is said beside each kind."""

    EVENT = 1
    """room, a = seq. Kept for the last event of a batch only: `events.pos` is the record of every other one."""
    MEMBERSHIP = 2
    """room, a = account: this account's own membership of the room changed."""
    RECEIPTS = 3
    """room: some receipts of the room moved."""
    ACCOUNT_DATA = 4
    """room (0: global), a = account."""
    HEAL = 5
    """room: a cell answers again whose part of the room was left out of answers; tell the room anew."""


class OutKind(IntEnum):
    """What a row of `out` brings to another cell."""

    EVENT = 1
    """room, seq."""
    RECEIPT = 2
    """room, seq, a = ref, b = receipt type * 2**32 + minute; the thread in `thread`."""
    ERASED = 3
    """room, a = ref: whose person is erased; drop what was derived from them."""
    GONE = 4
    """room, seq: an event was redacted; delete its content, if its author is at home there, and mark it in the copy."""
    SWEPT = 5
    """There were rows up to this number that are no longer kept: see `missed`."""


class ContentState(IntEnum):
    PENDING = 1
    """Written, but the room's home has not said yet whether the event came to be."""
    LIVE = 2
    OWED = 3
    """A leaving: it holds here already, and is sent to the room's home until that has heard it."""


class CellRole(IntEnum):
    """Why another cell hears of a room."""

    MEMBER = 1
    """It has a joined member: everything."""
    INVITE = 2
    """It has somebody who is invited, was, or left: only what is about them."""


class Loud(IntFlag):
    """What an event is to the members of its room, by the default push rules; 0: nothing."""

    NOTIFIES = 1
    """Everybody but its sender is notified."""
    SHOUTS = 2
    """It highlights for everybody, and notifies."""
    NAMES = 4
    """It highlights for those whom it names, of whom the accounts of a cell have rows in `highlights`."""


class ReceiptType(IntEnum):
    READ = 1
    PRIVATE = 2
    FULLY_READ = 3


MAIN_THREAD = -1
"""The thread of a receipt for the main timeline; 0 is an unthreaded receipt, any other number a root event's seq."""
