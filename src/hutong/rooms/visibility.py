"""Whether somebody may see an event of a room's history. No I/O, no clock.

Source: Client-Server API v1.19, "Room History Visibility", "Server behaviour".
"""

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
