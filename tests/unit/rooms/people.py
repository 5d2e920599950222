"""Who is who in the tests of a room's rules, and how a test makes a room of any version."""

from hutong.ids import MemberRef, RegionNo, StateKeyCode, TypeCode
from hutong.rooms.authorisation import Member, Proposed
from hutong.rooms.event_types import MEMBER, JoinRule, Membership
from hutong.rooms.projection import Create, JoinRules, MemberChange, PowerLevels, Projection, Version

CN, EU = RegionNo(1), RegionNo(2)

INVITE, JOIN, KNOCK, LEAVE, BAN = Membership
FOUNDER = Member(MemberRef(100), CN, JOIN)  # sent m.room.create
PARTNER = Member(MemberRef(101), CN, JOIN)  # one of additional_creators, in version 12
ADMIN = Member(MemberRef(90), CN, JOIN)
MODERATOR = Member(MemberRef(50), CN, JOIN)
OTHER_MODERATOR = Member(MemberRef(51), CN, JOIN)
BOB = Member(MemberRef(1), CN, JOIN)
CAROL = Member(MemberRef(2), EU, JOIN)
LOW = Member(MemberRef(3), EU, JOIN)  # below zero

LEVELS = {
    ADMIN.ref: 100,
    MODERATOR.ref: 50,
    OTHER_MODERATOR.ref: 50,
    LOW.ref: -5,
}
"""What the power levels of `governed` say; a founder of version 10 or 11 has 100 beside it."""


def bare(version: Version, *, federate: bool = True) -> Projection:
    """A room with its `m.room.create` and nothing else."""
    create = Create(version=version, federate=federate, additional=(PARTNER.ref,) if version >= 12 else ())
    return Projection.created(create, FOUNDER.ref, CN)


def governed(version: Version, power: PowerLevels | None = None, join_rule: JoinRule = JoinRule.INVITE) -> Projection:
    """A room with power levels (LEVELS and defaults, unless given) and a join rule."""
    founders = {FOUNDER.ref: 100} if version < 12 else {}
    room = bare(version).apply(power or PowerLevels(users=LEVELS | founders))
    return room.apply(JoinRules(rule=join_rule))


def now(member: Member, membership: Membership) -> Member:
    """`member` with another membership."""
    return Member(member.ref, member.region, membership)


def moves(target: Member, membership: Membership, *, third_party: bool = False) -> Proposed:
    """An `m.room.member` event about `target`."""
    change = MemberChange(membership=membership, third_party=third_party)
    return Proposed(type=MEMBER, state_key=StateKeyCode(target.ref), names_user=True, change=change)


def sets(type: TypeCode, power: PowerLevels | None = None) -> Proposed:
    """State with an empty state key."""
    return Proposed(type=type, state_key=StateKeyCode(0), change=power)
