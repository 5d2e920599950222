"""Any projection and any change, for property tests."""

from hypothesis import strategies as st

from hutong.ids import MemberRef, RegionNo, TypeCode
from hutong.rooms.event_types import Algorithm, GuestAccess, HistoryVisibility, JoinRule, Membership
from hutong.rooms.projection import (
    LEVEL_MAX,
    VERSIONS,
    Change,
    Create,
    Encryption,
    GuestRule,
    HistoryRule,
    JoinRules,
    MemberChange,
    PowerLevels,
    Projection,
    Tombstone,
)

INT8 = st.integers(-(2**63), 2**63 - 1)
REFS = st.one_of(st.integers(0, 5), INT8).map(MemberRef)
TYPES = st.one_of(st.integers(1, 20), st.integers(-(2**63), -1)).map(TypeCode)
LEVELS = st.one_of(st.integers(-3, 3), st.sampled_from([50, 100]), st.integers(-LEVEL_MAX, LEVEL_MAX))
ROOM_IDS = st.binary(min_size=16, max_size=16)


def optional_levels() -> st.SearchStrategy[int | None]:
    return st.one_of(st.none(), LEVELS)


POWER_LEVELS: st.SearchStrategy[PowerLevels] = st.builds(
    PowerLevels,
    users=st.dictionaries(REFS, LEVELS, max_size=5),
    events=st.dictionaries(TYPES, LEVELS, max_size=5),
    notifications=st.dictionaries(st.one_of(st.just(1), INT8), LEVELS, max_size=3),
    users_default=optional_levels(),
    events_default=optional_levels(),
    state_default=optional_levels(),
    ban=optional_levels(),
    kick=optional_levels(),
    redact=optional_levels(),
    invite=optional_levels(),
)
CREATES: st.SearchStrategy[Create] = st.builds(
    Create,
    version=st.sampled_from(VERSIONS),
    federate=st.booleans(),
    room_type=st.one_of(st.sampled_from([0, 1]), INT8),
    predecessor=st.one_of(st.none(), ROOM_IDS),
    additional=st.lists(REFS, max_size=3).map(tuple),
)
CHANGES: st.SearchStrategy[Change] = st.one_of(
    POWER_LEVELS,
    st.builds(MemberChange, membership=st.sampled_from(Membership), third_party=st.booleans()),
    st.builds(JoinRules, rule=st.sampled_from(JoinRule), allowed=st.lists(ROOM_IDS, max_size=3).map(tuple)),
    st.builds(HistoryRule, visibility=st.sampled_from(HistoryVisibility)),
    st.builds(GuestRule, access=st.sampled_from(GuestAccess)),
    st.builds(Encryption, algorithm=st.sampled_from(Algorithm)),
    st.builds(Tombstone, replacement=st.one_of(st.none(), ROOM_IDS)),
)


def _after(create: Create, creator: MemberRef, region: int, changes: list[Change]) -> Projection:
    room = Projection.created(create, creator, RegionNo(region))
    for change in changes:
        room = room.apply(change)
    return room


PROJECTIONS: st.SearchStrategy[Projection] = st.builds(
    _after, CREATES, REFS, st.integers(1, 32_767), st.lists(CHANGES, max_size=6)
)
