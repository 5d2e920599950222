"""The table of "Room History Visibility", all of it."""

import pytest

from hutong.rooms.event_types import HistoryVisibility, Membership
from hutong.rooms.visibility import visible

WORLD, SHARED, INVITED, JOINED = HistoryVisibility
INVITE, JOIN, KNOCK, LEAVE, BAN = Membership
OUTSIDE = (KNOCK, LEAVE, BAN)

TABLE = [
    *(pytest.param(WORLD, m, False, True, id=f"1-{m.text}") for m in Membership),
    *(pytest.param(v, JOIN, False, True, id=f"2-{v.text}") for v in HistoryVisibility),
    *(pytest.param(SHARED, m, True, True, id=f"3-{m.text}") for m in (INVITE, *OUTSIDE)),
    pytest.param(INVITED, INVITE, False, True, id="4"),
    *(pytest.param(SHARED, m, False, False, id=f"5-shared-never joined-{m.text}") for m in (INVITE, *OUTSIDE)),
    *(pytest.param(INVITED, m, True, False, id=f"5-invited-{m.text}") for m in OUTSIDE),
    *(pytest.param(JOINED, m, True, False, id=f"5-joined-{m.text}") for m in (INVITE, *OUTSIDE)),
]


@pytest.mark.parametrize(("visibility", "membership", "joined_later", "seen"), TABLE)
def test_table(visibility: HistoryVisibility, membership: Membership, joined_later: bool, seen: bool) -> None:
    assert visible(visibility, membership, joined_later=joined_later) is seen


@pytest.mark.parametrize(("before", "after"), [(WORLD, JOINED), (JOINED, WORLD)])
def test_a_change_of_visibility_is_seen_if_before_or_after_it_would_be(
    before: HistoryVisibility, after: HistoryVisibility
) -> None:
    assert visible(after, LEAVE, joined_later=False, visibility_before=before)
    assert not visible(JOINED, LEAVE, joined_later=True, visibility_before=INVITED)


@pytest.mark.parametrize("before", Membership)
def test_ones_own_change_of_membership_is_seen_if_before_or_after_it_would_be(before: Membership) -> None:
    assert visible(JOINED, JOIN, joined_later=False, membership_before=before)
    assert visible(JOINED, before, joined_later=False, membership_before=JOIN)
    seen = visible(INVITED, LEAVE, joined_later=False, membership_before=before)
    assert seen is (before in (INVITE, JOIN))
