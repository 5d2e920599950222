"""What holds for every room, sender and event: nobody rises above their own level; what is refused changes nothing."""

from functools import reduce

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hutong.ids import MemberRef, RegionNo, StateKeyCode, TypeCode
from hutong.rooms.authorisation import DEFAULTS, INFINITE, Member, Proposed, Refused, authorise, level_of
from hutong.rooms.event_types import CREATE, MEMBER, MESSAGE, NAME, POWER_LEVELS, Membership
from hutong.rooms.projection import VERSIONS, Change, PowerLevels, Projection, Version
from tests.unit.rooms import strategies as any_
from tests.unit.rooms.people import CN, bare, moves, sets

SOMEBODY_ELSE = MemberRef(987_654_321)  # stands for everybody without an entry
MEMBERS = st.builds(Member, any_.REFS, st.integers(1, 3).map(RegionNo), st.sampled_from(Membership))

# Few people, few levels and few changes at a time, so that many are allowed and most touch somebody.
FIELDS = ("users_default", "events_default", "ban", "kick", "redact", "invite")
FEW_LEVELS = st.integers(-1, 3)
FEW_KEYS: dict[str, list[int]] = {"users": [0, 1, 2, 3], "events": [NAME, MESSAGE, -7], "notifications": [1, -7]}
FEW_POWERS = st.builds(
    PowerLevels,
    state_default=st.integers(-1, 1),
    **{field: st.one_of(st.none(), FEW_LEVELS) for field in FIELDS},
    **{field: st.dictionaries(st.sampled_from(keys), FEW_LEVELS) for field, keys in FEW_KEYS.items()},
)
Edit = tuple[str, int | None, int | None]
"""A field, a key in it (None for a plain field), and the level there (None: not any more)."""
EDITS: st.SearchStrategy[Edit] = st.one_of(
    st.tuples(st.sampled_from([*FIELDS, "state_default"]), st.none(), st.one_of(st.none(), FEW_LEVELS)),
    *(
        st.tuples(st.just(field), st.sampled_from(keys), st.one_of(st.none(), FEW_LEVELS))
        for field, keys in FEW_KEYS.items()
    ),
)


def edited(power: PowerLevels, edit: Edit) -> PowerLevels:
    field, key, level = edit
    if key is None:
        return msgspec.structs.replace(power, **{field: level})
    entries = {other: was for other, was in getattr(power, field).items() if other != key}
    return msgspec.structs.replace(power, **{field: entries if level is None else entries | {key: level}})


@given(st.sampled_from(VERSIONS), FEW_POWERS, st.lists(EDITS, min_size=1, max_size=2), st.integers(0, 3))
@settings(max_examples=500)
def test_nobody_rises_above_the_level_of_who_changes_the_levels(
    version: Version, old: PowerLevels, edits: list[Edit], who: int
) -> None:
    before, sender = bare(version).apply(old), Member(MemberRef(who), CN, Membership.JOIN)
    new = reduce(edited, edits, old)
    own = level_of(before, sender.ref)
    try:
        authorise(before, sender, sets(POWER_LEVELS, new))
    except Refused:
        return
    after = before.apply(new)
    for ref in {*old.users, *new.users, *before.creators, SOMEBODY_ELSE}:
        assert level_of(after, ref) <= max(level_of(before, ref), own)
    for ref, level in old.users.items():  # nor does anybody bring down who is their equal
        if ref != sender.ref and level >= own:
            assert new.users.get(ref) == level
    for field, default in DEFAULTS.items():
        was, is_now = getattr(old, field), getattr(new, field)
        if was != is_now:
            assert own >= max(default if was is None else was, default if is_now is None else is_now)
    for keyed in ("events", "notifications"):
        was, is_now = getattr(old, keyed), getattr(new, keyed)
        for key in was.keys() | is_now.keys():
            if was.get(key) != is_now.get(key):
                assert own >= max(was.get(key, own), is_now.get(key, own))


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
