"""What is sealed comes out again as it went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.cells.records import Words, pack, unpack

texts = st.text(max_size=60)


@given(st.integers(0, 2**63 - 1), texts, st.none() | texts, st.binary(max_size=200))
def test_words_come_out_as_they_went_in(ts_ms: int, type: str, state_key: str | None, json: bytes) -> None:
    words = Words(ts_ms, type, state_key, json)
    assert unpack(pack(words)) == words


def test_no_state_key_is_not_an_empty_one() -> None:
    assert unpack(pack(Words(0, "t", None, b"{}"))).state_key is None
    assert unpack(pack(Words(0, "t", "", b"{}"))).state_key == ""


def test_a_format_of_later_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="format 9"):
        unpack(b"\x09" + pack(Words(0, "t", None, b"{}"))[1:])
