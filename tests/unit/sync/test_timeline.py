import msgspec
import pytest

from hutong.cells.records import Event
from hutong.cells.sync_reads import Histories
from hutong.ids import Seq
from hutong.rooms.event_types import HISTORY_VISIBILITY, MESSAGE, TOPIC, HistoryVisibility, Membership
from hutong.sync.filters import EVERYTHING, Filter, parse
from hutong.sync.model import END_OF_TIME, News
from hutong.sync.timeline import choose, sees
from tests.unit.sync.people import ALICE, BOB, event, move, news, own, piece

JOINED = own((1, 10, Membership.JOIN))


def limited_to(limit: int, **timeline: object) -> Filter:
    return parse(msgspec.json.encode({"room": {"timeline": {"limit": limit, **timeline}}}))


def chosen(told: News, filter: Filter, *unread: int, joined_since: bool = False) -> list[int]:
    pieces = {e.env.event_id: piece(e) for e in told.scanned if e.env.seq not in unread}
    choose(told, filter, pieces, joined_since=joined_since)
    return [e.env.seq for e in told.events]


def says(*seqs: int) -> list[Event]:
    return [event(seq, MESSAGE, BOB) for seq in seqs]


def test_all_that_fits_is_shown() -> None:
    told = news(JOINED, says(5, 6, 7), after=40)
    assert chosen(told, limited_to(3)) == [5, 6, 7]
    assert (told.limited, told.start) == (False, 5)


def test_the_last_few_are_shown_and_the_gap_is_told() -> None:
    told = news(JOINED, says(5, 6, 7), after=40)
    assert chosen(told, limited_to(2)) == [6, 7]
    assert (told.limited, told.start) == (True, 6)


def test_nothing_is_shown_with_a_limit_of_nothing() -> None:
    told = news(JOINED, says(5, 6), after=40)
    assert chosen(told, limited_to(0)) == []
    assert (told.limited, told.start) == (True, END_OF_TIME)


def test_events_that_the_filter_leaves_out_do_not_count() -> None:
    mixed = [event(5, MESSAGE, BOB), event(6, TOPIC, BOB, skey=0), event(7, MESSAGE, BOB)]
    told = news(JOINED, mixed, after=40)
    assert chosen(told, limited_to(2, types=["m.room.message"])) == [5, 7]
    assert not told.limited


@pytest.mark.parametrize("after", [0, 40])
def test_what_is_cut_off_is_left_out_and_the_room_is_limited(after: int) -> None:
    told = news(JOINED, says(5, 6, 7, 8), after=after)
    assert chosen(told, EVERYTHING, 6) == [5, 7, 8]
    assert told.limited
    assert told.start == 5


def test_a_copy_of_a_room_has_a_gap_before_its_first_event() -> None:
    told = news(own((40, 400, Membership.JOIN), from_seq=40), says(41))
    assert chosen(told, EVERYTHING) == [41]
    assert told.limited


def test_a_room_joined_since_the_token_is_a_gap() -> None:
    told = news(JOINED, says(1, 2))
    chosen(told, EVERYTHING, joined_since=True)
    assert told.limited
    chosen(told, EVERYTHING, joined_since=False)
    assert not told.limited


def test_who_left_sees_only_the_event_about_it() -> None:
    kicked = own((1, 10, Membership.INVITE), (7, 70, Membership.LEAVE))
    told = news(kicked, [*says(5, 6), move(7, ALICE, Membership.LEAVE)], after=40, own_only=True)
    assert chosen(told, EVERYTHING) == [7]


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        (HistoryVisibility.WORLD_READABLE, [2, 3, 5, 7, 8]),
        (HistoryVisibility.SHARED, [2, 3, 5, 7, 8]),
        (HistoryVisibility.INVITED, [5, 7, 8]),
        (HistoryVisibility.JOINED, [7, 8]),
    ],
)
def test_who_joins_sees_what_the_history_visibility_lets_them(rule: HistoryVisibility, seen: list[int]) -> None:
    histories = Histories([(Seq(4), Membership.INVITE), (Seq(7), Membership.JOIN)], [(Seq(1), rule)])
    told = news(own((7, 70, Membership.JOIN)), [*says(2, 3, 5), move(7, ALICE, Membership.JOIN), *says(8)])
    told.histories = histories
    assert [e.env.seq for e in told.scanned if sees(told, e.env)] == seen


def test_a_change_of_the_rule_is_seen_by_whom_either_rule_lets() -> None:
    rules: list[tuple[Seq, int]] = [(Seq(1), HistoryVisibility.SHARED), (Seq(5), HistoryVisibility.JOINED)]
    told = news(own((7, 70, Membership.JOIN)), [event(5, HISTORY_VISIBILITY, BOB, skey=0), *says(6)])
    told.histories = Histories([(Seq(7), Membership.JOIN)], rules)
    assert [sees(told, e.env) for e in told.scanned] == [True, False]


def test_who_was_away_between_two_joins_does_not_see_what_was_said_meanwhile() -> None:
    moves: list[tuple[Seq, int]] = [(Seq(1), Membership.JOIN), (Seq(4), Membership.LEAVE), (Seq(7), Membership.JOIN)]
    told = news(own((7, 70, Membership.JOIN)), [*says(3), move(4, ALICE, Membership.LEAVE), *says(5, 8)])
    told.histories = Histories(moves, [(Seq(1), HistoryVisibility.JOINED)])
    assert [sees(told, e.env) for e in told.scanned] == [True, True, False, True]
    assert chosen(told, EVERYTHING) == [8], "what changed in the hole is the state's to tell"
    assert told.limited
