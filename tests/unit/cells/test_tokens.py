import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.cells.tokens import RoomToken, SyncToken, Tokens
from hutong.errors import BadParam
from hutong.ids import Pos, RoomNo

HEAD = Pos(500)
TOKENS = Tokens(gen=0xDEADBEEF, boot=7, key=b"k" * 32)
ELSEWHERE = Tokens(gen=0xFEED, boot=7, key=b"k" * 32)


@given(st.integers(0, HEAD), st.integers(0, 2**40))
def test_a_sync_token_says_what_was_put_into_it(pos: int, eph: int) -> None:
    assert TOKENS.parse_sync(TOKENS.sync(Pos(pos), eph), HEAD) == SyncToken(Pos(pos), 7, eph)


@pytest.mark.parametrize(
    "text",
    ["", "0", "s72594_4483", "h1", "h1.deadbeef.5.7", "h1.deadbeef.-5.7.0", "h1.deadbeef.5.7.0 ", "h1.deadbeef.٥.7.0",
     "h1.DEADBEEF.5.7.0", "h1.deadbeef." + "9" * 40 + ".7.0", "h2.deadbeef.5.7.0"],
)  # fmt: skip
def test_a_malformed_token_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(BadParam, match="since: is no token"):
        TOKENS.parse_sync(text, HEAD)


def test_a_token_ahead_of_the_log_is_refused() -> None:
    with pytest.raises(BadParam, match="since: is ahead"):
        TOKENS.parse_sync(TOKENS.sync(Pos(501), 0), HEAD)


def test_a_token_of_another_generation_means_begin_anew_even_when_it_lies_ahead() -> None:
    assert TOKENS.parse_sync(ELSEWHERE.sync(Pos(10_000), 0), HEAD) is None
    assert TOKENS.parse(ELSEWHERE.room(RoomNo(4), 3), RoomNo(4), HEAD) is None


def test_a_room_token_holds_for_its_room_only() -> None:
    text = TOKENS.room(RoomNo(4), 33)
    assert TOKENS.parse(text, RoomNo(4), HEAD) == RoomToken(33)  # type: ignore[arg-type]
    with pytest.raises(BadParam, match="from: is a token of another room"):
        TOKENS.parse(text, RoomNo(5), HEAD)


def test_a_page_may_start_at_a_sync_token() -> None:
    assert TOKENS.parse(TOKENS.sync(Pos(9), 0), RoomNo(4), HEAD) == SyncToken(Pos(9), 7, 0)
