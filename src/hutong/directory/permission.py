"""Who may name and publish a room: whoever may set its m.room.canonical_alias. No I/O."""

from hutong.cells.records import Member
from hutong.errors import Forbidden
from hutong.ids import StateKeyCode, region_of
from hutong.rooms import authorisation
from hutong.rooms.event_types import CANONICAL_ALIAS, Membership
from hutong.rooms.projection import Projection


def may_name(room: Projection, member: Member) -> bool:
    """Whether `member` may set m.room.canonical_alias now."""
    if not member.membership:
        return False
    sender = authorisation.Member(member.ref, region_of(member.home), Membership(member.membership))
    try:
        authorisation.authorise(room, sender, authorisation.Proposed(type=CANONICAL_ALIAS, state_key=StateKeyCode(0)))
    except Forbidden:
        return False
    return True
