"""The list of published rooms: whatever rooms there are in whatever cells, its pages lead through all of them once."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.cells.directory_messages import Place, PublishedRoom, Wanted
from hutong.directory.listing import ListTokens, Page, Turn, admits, cut, page
from hutong.errors import BadParam

KEY = b"k" * 32
TOKENS = ListTokens(KEY)


def a_room(number: int, joined: int = 1, **more: str) -> PublishedRoom:
    return PublishedRoom(
        room_id=f"!{number:03}", num_joined_members=joined, world_readable=False, guest_can_join=False,
        join_rule="public", **more,
    )  # fmt: skip


cells = st.lists(st.lists(st.integers(1, 3), max_size=6), min_size=1, max_size=4).map(
    lambda sizes: [[a_room(10 * cell + n, size) for n, size in enumerate(each)] for cell, each in enumerate(sizes)]
)


def look(cells: list[list[PublishedRoom]], turn: Turn, limit: int) -> Page:
    return page([cut(rooms, turn, limit + 1) for rooms in cells], turn, limit)


@given(cells, st.integers(1, 5))
def test_forward_every_room_comes_once_the_largest_first(cells: list[list[PublishedRoom]], limit: int) -> None:
    found: list[PublishedRoom] = []
    turn = Turn()
    for _ in range(100):
        got = look(cells, turn, limit)
        assert (got.before is None) == (not found), "there is something before all pages but the first"
        assert got.total == sum(map(len, cells))
        found += got.rooms
        if got.after is None:
            break
        assert len(got.rooms) == limit
        turn = got.after
    assert found == sorted(chain(*cells), key=lambda room: (-room.num_joined_members, room.room_id))


@given(cells, st.integers(1, 5), st.data())
def test_from_any_place_the_pages_back_and_on_make_the_whole(
    cells: list[list[PublishedRoom]], limit: int, data: st.DataObject
) -> None:
    """Also from beside a room that is gone since."""
    rank = (-data.draw(st.integers(1, 3)), f"!{data.draw(st.integers(0, 40)):03}")
    place = Place(rank, data.draw(st.booleans()))
    back: list[PublishedRoom] = []
    on: list[PublishedRoom] = []
    for found, turn in ((back, Turn(place, backwards=True)), (on, Turn(place))):
        following: Turn | None = turn
        while following is not None:
            got = look(cells, following, limit)
            found[:] = [*got.rooms, *found] if following.backwards else [*found, *got.rooms]
            following = got.before if following.backwards else got.after
    assert back + on == sorted(chain(*cells), key=lambda room: room.rank)


@given(cells, st.integers(1, 5))
def test_a_page_back_is_the_page_that_one_came_from(cells: list[list[PublishedRoom]], limit: int) -> None:
    first = look(cells, Turn(), limit)
    if first.after is not None:
        second = look(cells, first.after, limit)
        assert second.before is not None
        again = look(cells, second.before, limit)
        assert (again.rooms, again.before) == (first.rooms, None)
        assert again.after is not None
        assert look(cells, again.after, limit).rooms == second.rooms


texts = st.text(max_size=8)
wants = st.builds(Wanted, term=st.none() | texts, room_types=st.none() | st.lists(st.none() | texts, max_size=2))
turns = st.builds(
    Turn, place=st.none() | st.builds(Place, rank=st.tuples(st.integers(-(2**40), 0), texts), after=st.booleans()),
    backwards=st.booleans(),
)  # fmt: skip


@given(turns, st.none() | texts, wants)
def test_a_token_is_read_as_it_was_written(turn: Turn, server: str | None, wanted: Wanted) -> None:
    assert TOKENS.read(TOKENS.write(turn, server, wanted), server, wanted) == turn


@given(turns, st.none() | texts, wants, st.none() | texts, wants)
def test_a_token_holds_for_its_own_list(
    turn: Turn, server: str | None, wanted: Wanted, other_server: str | None, other: Wanted
) -> None:
    token = TOKENS.write(turn, server, wanted)
    if (server, wanted) != (other_server, other):
        with pytest.raises(BadParam, match="since"):
            TOKENS.read(token, other_server, other)
    with pytest.raises(BadParam, match="since"):
        ListTokens(b"another key").read(token, server, wanted)


@given(st.text(max_size=80) | st.text("d1.AB_-=", max_size=80))
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(BadParam, match="since"):
        TOKENS.read(text, None, Wanted())


def test_a_token_repeats_no_word_that_was_searched_for() -> None:
    assert TOKENS.write(Turn(), "s", Wanted(term="alpha")) != TOKENS.write(Turn(), "s", Wanted(term="bravo"))
    long = [len(TOKENS.write(Turn(), "s", Wanted(term=term))) for term in ("a", "a" * 200)]
    assert long[0] == long[1]


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (Wanted(), True),
        (Wanted(term=""), True),
        (Wanted(term="STRASSE"), True),
        (Wanted(term="straße"), True),
        (Wanted(term="koi"), True),
        (Wanted(term="#Lane:CN"), True),
        (Wanted(term="!001"), False),
        (Wanted(term="absent"), False),
        (Wanted(room_types=[None]), False),
        (Wanted(room_types=["m.space"]), True),
        (Wanted(room_types=["m.space"], term="absent"), False),
        (Wanted(room_types=[]), False),
    ],
)
def test_what_is_asked_for(wanted: Wanted, shown: bool) -> None:
    room = a_room(1, name="Hutongstraße", topic="Koi", canonical_alias="#lane:cn.localhost", room_type="m.space")
    assert admits(wanted, room) is shown
