"""Typed records of a sync: what is asked, the caller's own place in a room, what is new in one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from msgspec import Struct

from hutong.cells.records import Envelope, Event, ReceiptRow
from hutong.cells.sync_reads import HEROES_MAX, Histories, Moment, SummaryRow
from hutong.cells.unread_reads import UnreadRow
from hutong.ids import HomeNo, MemberRef, Pos, RoomNo, Seq
from hutong.rooms.event_types import Membership
from hutong.sync.filters import Filter

START: Final = Pos(0)
END_OF_TIME: Final = Seq(2**62)
NOT_FOLLOWED: Final = -1
"""`from_seq` of a room of which this cell only knows what is about its own people."""


class Ask(Struct, frozen=True, kw_only=True):
    """What a client asks of `/sync`."""

    since: str | None
    filter: Filter
    timeout_ms: int = 0
    full_state: bool = False
    state_after: bool = False


def is_about(env: Envelope, ref: MemberRef) -> bool:
    """Whether the event sets the membership of `ref`."""
    return env.target == ref


@dataclass(slots=True, kw_only=True)
class Own:
    """An account's own place in one room. `history`: the moves of its membership since the session began, ascending."""

    room: RoomNo
    room_id: str
    ref: MemberRef
    home: HomeNo
    version: int
    from_seq: Seq
    forgotten: bool
    history: list[Moment]
    healed: Pos = START
    """When the room was last to be told anew, after a cut."""
    leaving: Event | None = None
    """The own leaving, while the room's home has not heard of it."""
    unread: UnreadRow | None = None
    """Valid as of `unread_at`."""
    unread_at: Pos = START

    def at(self, pos: Pos) -> Moment | None:
        """The last move at or before `pos`."""
        for moment in reversed(self.history):
            if moment.pos <= pos:
                return moment
        return None

    @property
    def followed(self) -> bool:
        return self.from_seq != NOT_FOLLOWED


class Before(Struct, frozen=True):
    """A membership at the time of the client's token. `broken`: it was not joined from then until its last move."""

    membership: int
    broken: bool


NOWHERE: Final = Before(0, broken=True)


class Section(Enum):
    JOIN = b"join"
    INVITE = b"invite"
    KNOCK = b"knock"
    LEAVE = b"leave"


SECTIONS: Final = {
    Membership.JOIN: Section.JOIN,
    Membership.INVITE: Section.INVITE,
    Membership.KNOCK: Section.KNOCK,
    Membership.LEAVE: Section.LEAVE,
    Membership.BAN: Section.LEAVE,
}


@dataclass(slots=True, kw_only=True)
class News:
    """What one room has to tell a reader."""

    own: Own
    section: Section
    moment: Moment
    """The reader's own membership now."""
    after: Pos
    """The timeline tells what came after this; 0: anew, with the whole state."""
    upto: Pos
    since: Pos = START
    """A timeline that begins anew does so for something at this position; 0: the client has no token."""
    own_only: bool = False
    """Only the event about the reader's own membership may be shown."""
    full_state: bool = False
    was_in: bool = False
    """The reader was joined at the client's token: it knows the room as it was then."""
    scanned: list[Event] = field(default_factory=list)
    """Everything in the window that was read, ascending."""
    more: bool = False
    """There is more in the window, before what was read."""
    events: list[Event] = field(default_factory=list)
    limited: bool = False
    start: Seq = END_OF_TIME
    """The seq of the first event shown; everything before it is the state's to tell."""
    horizon: Seq = END_OF_TIME
    """Of the room's state from this seq on, a reader who is not in the room any more is told nothing."""
    state: list[Event] = field(default_factory=list)
    receipts: Sequence[ReceiptRow] = ()
    typists: list[MemberRef] | None = None
    account_data: list[bytes] = field(default_factory=list)
    summary: SummaryRow | None = None
    unread: UnreadRow | None = None
    histories: Histories | None = None
    stripped: Sequence[bytes] = ()
    from_tail: bool = False

    @property
    def heroes(self) -> list[MemberRef]:
        """Those by whom a room without a name is called; never the reader."""
        refs = () if self.summary is None else self.summary.heroes
        return [ref for ref in refs if ref != self.own.ref][:HEROES_MAX]

    @property
    def fresh(self) -> bool:
        return self.after == 0
