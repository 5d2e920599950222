from hutong.ids import Pos
from hutong.rooms.event_types import Membership
from hutong.sync.filters import EVERYTHING, parse
from hutong.sync.model import Ask, Before, News, Own, Section
from hutong.sync.rooms import incremental, initial
from tests.unit.sync.people import own

JOIN, INVITE, LEAVE, BAN = Membership.JOIN, Membership.INVITE, Membership.LEAVE, Membership.BAN
ASK = Ask(since=None, filter=EVERYTHING)
LEFT_TOO = Ask(since=None, filter=parse('{"room":{"include_leave":true}}'))
SINCE, UPTO = Pos(100), Pos(200)


def at_first(place: Own, ask: Ask = ASK) -> News | None:
    return initial(place, ask, UPTO)


def since(place: Own, was: int, *, broken: bool = False) -> News | None:
    return incremental(place, Before(was, broken or was != JOIN), ASK, SINCE, UPTO)


def test_at_first_joined_rooms_and_invitations_are_told_and_left_ones_on_request() -> None:
    for place, section in ((own((1, 10, JOIN)), Section.JOIN), (own((1, 10, INVITE)), Section.INVITE)):
        told = at_first(place)
        assert told is not None
        assert told.section is section
    gone = own((1, 10, JOIN), (5, 50, LEAVE))
    assert at_first(gone) is None
    told = at_first(gone, LEFT_TOO)
    assert told is not None
    assert (told.section, told.upto) == (Section.LEAVE, 50)
    assert at_first(own((5, 50, BAN), forgotten=True), LEFT_TOO) is None


def test_a_move_after_the_answers_end_is_not_told_yet() -> None:
    assert at_first(own((9, 250, JOIN))) is None
    told = at_first(own((1, 10, INVITE), (9, 250, JOIN)))
    assert told is not None
    assert told.section is Section.INVITE


def test_a_room_that_one_stayed_in_goes_on() -> None:
    told = since(own((1, 10, JOIN)), JOIN)
    assert told is not None
    assert (told.fresh, told.after, told.upto) == (False, SINCE, UPTO)


def test_a_room_newly_joined_or_joined_again_begins_anew() -> None:
    for place, was, broken in (
        (own((9, 150, JOIN)), 0, True),
        (own((1, 10, JOIN), (5, 120, LEAVE), (9, 150, JOIN)), JOIN, True),
    ):
        told = since(place, was, broken=broken)
        assert told is not None
        assert told.fresh


def test_who_left_is_told_up_to_the_leave_once() -> None:
    told = since(own((1, 10, JOIN), (9, 150, LEAVE)), JOIN)
    assert told is not None
    assert (told.section, told.after, told.upto, told.own_only) == (Section.LEAVE, SINCE, 150, False)
    assert since(own((1, 10, JOIN), (5, 50, LEAVE)), LEAVE) is None


def test_who_left_joined_and_left_again_is_told_anew_up_to_the_last_leave() -> None:
    told = since(own((1, 10, JOIN), (5, 120, LEAVE), (7, 130, JOIN), (9, 150, LEAVE)), JOIN, broken=True)
    assert told is not None
    assert (told.section, told.fresh, told.upto, told.own_only) == (Section.LEAVE, True, 150, False)


def test_who_was_never_in_is_told_only_what_concerns_them() -> None:
    told = since(own((1, 10, INVITE), (9, 150, LEAVE)), INVITE)
    assert told is not None
    assert told.own_only
    banned = since(own((1, 10, LEAVE), (9, 150, BAN)), LEAVE)
    assert banned is not None
    assert banned.own_only


def test_an_invitation_is_told_once() -> None:
    assert since(own((9, 150, INVITE)), 0) is not None
    assert since(own((1, 10, INVITE)), INVITE) is None
