"""What holds for every room, sender and event: nobody rises above their own level; what is refused changes nothing."""

from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hutong.ids import MemberRef, RegionNo, StateKeyCode, TypeCode
from hutong.rooms.authorisation import INFINITE, Member, Proposed, Refused, authorise, level_needed, level_of
from hutong.rooms.event_types import CREATE, MEMBER, MESSAGE, NAME, POWER_LEVELS, Membership
from hutong.rooms.projection import Change, PowerLevels, Projection
from tests.unit.rooms import strategies as any_
from tests.unit.rooms.people import moves, sets

SOMEBODY_ELSE = MemberRef(987_654_321)  # stands for everybody without an entry
MEMBERS = st.builds(Member, any_.REFS, st.integers(1, 3).map(RegionNo), st.sampled_from(Membership))

# Few people and few levels, so that many changes are allowed and most touch somebody.
FEW_LEVELS = st.integers(-1, 3)
FEW_REFS = st.integers(0, 3).map(MemberRef)
FEW: dict[str, st.SearchStrategy[Any]] = {
    "users": st.dictionaries(FEW_REFS, FEW_LEVELS, max_size=4),
    "events": st.dictionaries(st.sampled_from([NAME, MESSAGE, POWER_LEVELS, TypeCode(-7)]), FEW_LEVELS, max_size=3),
    "notifications": st.dictionaries(st.sampled_from([1, -7]), FEW_LEVELS, max_size=2),
    "state_default": st.one_of(st.none(), FEW_LEVELS),
    **{
        field: st.one_of(st.none(), FEW_LEVELS)
        for field in ("users_default", "events_default", "ban", "kick", "redact", "invite")
    },
}
FEW_POWERS = st.fixed_dictionaries(FEW).map(lambda fields: PowerLevels(**fields))
SOME_FIELDS = st.fixed_dictionaries({}, optional=FEW)


@st.composite
def allowed_changes(draw: st.DrawFn) -> tuple[Projection, Member, PowerLevels]:
    """A room, somebody in it, and a change of power levels that the rules let them make."""
    room = draw(any_.PROJECTIONS).apply(draw(FEW_POWERS))
    sender = Member(draw(FEW_REFS), room.origin, Membership.JOIN)
    assert room.power is not None
    proposed = msgspec.structs.replace(room.power, **draw(SOME_FIELDS))
    try:
        authorise(room, sender, sets(POWER_LEVELS, proposed))
    except Refused:
        assume(False)
    return room, sender, proposed


@given(allowed_changes())
@settings(max_examples=300)
def test_nobody_rises_above_the_level_of_who_changes_the_levels(case: tuple[Projection, Member, PowerLevels]) -> None:
    before, sender, new = case
    own = level_of(before, sender.ref)
    after = before.apply(new)
    old = before.power
    assert old is not None
    for ref in {*old.users, *new.users, *before.creators, sender.ref, SOMEBODY_ELSE}:
        assert level_of(after, ref) <= max(level_of(before, ref), own)
    for ref, level in old.users.items():
        if ref != sender.ref and level >= own:
            assert new.users.get(ref) == level
    for type, level in new.events.items():
        if level != old.events.get(type):
            assert level_needed(after, type, is_state=True) <= own


@given(st.one_of(st.none(), any_.PROJECTIONS), MEMBERS, MEMBERS, any_.TYPES, st.one_of(st.none(), any_.CHANGES),
       st.one_of(st.none(), st.sampled_from([0, 1, 2]), any_.INT8), st.booleans(), st.booleans())  # fmt: skip
def test_every_proposal_is_allowed_or_refused_and_the_room_stays_as_it_was(
    room: Projection | None,
    sender: Member,
    target: Member,
    type: TypeCode,
    change: Change | None,
    key: int | None,
    names_user: bool,
    follows_create: bool,
) -> None:
    event = Proposed(
        type=type,
        state_key=None if key is None else StateKeyCode(key),
        names_user=names_user,
        change=change,
        follows_create=follows_create,
    )
    before = msgspec.msgpack.encode((room, sender, event, target))
    try:
        authorise(room, sender, event, target, authoriser=target)
    except Refused:
        pass
    else:
        assert (room is None) == (type == CREATE)
        assert sender.membership == Membership.JOIN or type in {CREATE, MEMBER}
    assert msgspec.msgpack.encode((room, sender, event, target)) == before


@given(any_.PROJECTIONS, MEMBERS, MEMBERS, st.sampled_from([Membership.LEAVE, Membership.BAN]))
def test_nobody_removes_somebody_of_their_own_level_or_above(
    room: Projection, sender: Member, target: Member, becomes: Membership
) -> None:
    assume(sender.ref != target.ref)
    try:
        authorise(room, sender, moves(target, becomes), target)
    except Refused:
        return
    assert level_of(room, sender.ref) > level_of(room, target.ref)


@given(any_.PROJECTIONS, any_.CHANGES, any_.REFS)
def test_creators_of_version_12_keep_their_power_whatever_changes(
    room: Projection, change: Change, ref: MemberRef
) -> None:
    after = room.apply(change)
    creators = room.creators if room.version >= 12 else ()
    for somebody in (*room.creators, ref):
        assert (level_of(after, somebody) == INFINITE) == (somebody in creators)
        assert level_of(after, somebody) <= INFINITE
