"""Whether somebody may see an event of a room's history. No I/O, no clock.

Source: Client-Server API v1.19, "Room History Visibility", "Server behaviour".
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from hutong.ids import Seq
from hutong.rooms.event_types import HistoryVisibility, Membership


def visible(
    visibility: HistoryVisibility,
    membership: Membership,
    *,
    joined_later: bool,
    visibility_before: HistoryVisibility | None = None,
    membership_before: Membership | None = None,
) -> bool:
    """Whether a reader may see an event.

    `visibility` and `membership` are the room's and the reader's at the event, itself included; `joined_later`: the
    reader joined at any time after it. For an `m.room.history_visibility` event `visibility_before` is what held until
    then (SHARED when there was none), and for the reader's own `m.room.member` event `membership_before` is: being
    allowed by one of the two is enough.
    """
    return any(
        _allowed(rule, membership_then, joined_later)
        for rule in (visibility, visibility_before)
        if rule is not None
        for membership_then in (membership, membership_before)
        if membership_then is not None
    )


def _allowed(visibility: HistoryVisibility, membership: Membership, joined_later: bool) -> bool:
    return (
        visibility == HistoryVisibility.WORLD_READABLE
        or membership == Membership.JOIN
        or (visibility == HistoryVisibility.SHARED and joined_later)
        or (visibility == HistoryVisibility.INVITED and membership == Membership.INVITE)
    )


Moves = Sequence[tuple[Seq, int]]
"""(seq, the value from that event on), ascending."""


def value_at(moves: Moves, seq: Seq, default: int) -> int:
    """The value that held after event `seq`."""
    at = bisect_right(moves, seq, key=lambda move: move[0])
    return moves[at - 1][1] if at else default


def seen_ranges(visibility: Moves, membership: Moves, upto: Seq) -> Iterator[tuple[Seq, Seq]]:
    """The seqs that a reader may see, from and to, none after `upto`; of events that change neither of the two.

    Between two changes of the room's visibility or of the own membership, all is seen or nothing.
    """
    joins = [seq for seq, value in membership if value == Membership.JOIN]
    last_join = joins[-1] if joins else Seq(0)
    changes = sorted({Seq(0), *(seq for seq, _ in visibility), *(seq for seq, _ in membership)})
    for first, after in zip(changes, [*changes[1:], Seq(upto + 1)], strict=True):
        last = Seq(min(after - 1, upto))
        rule = HistoryVisibility(value_at(visibility, first, HistoryVisibility.SHARED))
        then = Membership(value_at(membership, first, Membership.LEAVE))
        if first <= last and visible(rule, then, joined_later=last_join > first):
            yield first, last
