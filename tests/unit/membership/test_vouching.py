"""Who vouches for somebody who joins: people of the region first, whichever of its cells they are at home in."""

from hutong.cells.records import Member
from hutong.ids import MemberRef, RegionNo, RoomNo, Seq, home_no
from hutong.membership.restricted import near_first
from hutong.rooms.event_types import Membership

CN, EU = RegionNo(1), RegionNo(2)


def member(ref: int, region: RegionNo, bucket: int) -> Member:
    home = home_no(region, bucket)
    return Member(room=RoomNo(1), ref=MemberRef(ref), account=None, home=home, membership=Membership.JOIN, seq=Seq(ref))


def test_another_cell_of_the_region_is_as_near_as_this_one() -> None:
    members = [member(1, EU, 0), member(2, CN, 4_000), member(3, CN, 0), member(4, EU, 4_000)]
    assert [each.ref for each in near_first(members, CN)] == [2, 3, 1, 4]
