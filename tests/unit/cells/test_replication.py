"""Which pushed rows may be ingested: those without a gap before them. The rest is pulled."""

from hypothesis import given
from hypothesis import strategies as st

from hutong.cells.codes import OutKind
from hutong.cells.messages import OutRow, Push
from hutong.cells.replication import _joined
from hutong.ids import RoomNo, Seq


def push(after: int, *numbers: int, last: int | None = None) -> Push:
    rows = tuple(OutRow(n=n, room=RoomNo(1), seq=Seq(n), kind=OutKind.ERASED) for n in numbers)
    return Push(after=after, last=numbers[-1] if last is None else last, rows=rows)


def numbers(portions: list[Push], cursor: int) -> list[int]:
    return [row.n for row in _joined(portions, cursor)]


def test_pushes_that_follow_each_other_are_one() -> None:
    assert numbers([push(3, 4, 5), push(5, 6)], 3) == [4, 5, 6]


def test_what_was_ingested_already_is_left_out() -> None:
    assert numbers([push(3, 4, 5), push(5, 6)], 4) == [5, 6]
    assert numbers([push(3, 4, 5)], 9) == []


def test_nothing_is_taken_from_behind_a_gap() -> None:
    assert numbers([push(4, 5), push(5, 6)], 3) == []
    assert numbers([push(3, 4), push(5, 6)], 3) == [4]


def test_numbers_may_jump_where_their_home_says_so() -> None:
    assert numbers([push(3, 1_000), push(1_000, 1_001)], 3) == [1_000, 1_001]


def test_a_bell_without_all_of_its_rows_only_rings() -> None:
    assert numbers([push(3, 4, last=5)], 3) == []
    assert numbers([Push(after=3, last=4)], 3) == []


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.data())
def test_whatever_gets_lost_or_changes_places_what_is_taken_has_no_gap(sizes: list[int], data: st.DataObject) -> None:
    sent, at = [], 0
    for size in sizes:
        sent.append(push(at, *range(at + 1, at + size + 1)))
        at += size
    arrived = data.draw(st.lists(st.sampled_from(sent), max_size=12))
    cursor = data.draw(st.integers(0, at))
    taken = numbers(arrived, cursor)
    assert taken == list(range(cursor + 1, cursor + 1 + len(taken)))
