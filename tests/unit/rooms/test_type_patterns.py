import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.errors import BadParam
from hutong.rooms.type_patterns import WILDCARDS_MAX, TypePatterns


@given(st.text("ab.*", max_size=12), st.text("ab.*", max_size=12))
def test_it_fits_what_a_regular_expression_fits(pattern: str, type: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), type) is not None
    assert (type in TypePatterns([pattern])) is expected


def test_no_pattern_takes_long_on_any_type() -> None:
    hostile = TypePatterns(["*a" * stars + "*b" for stars in range(1, WILDCARDS_MAX)])
    begun = time.perf_counter()
    assert "a" * 255 not in hostile
    assert time.perf_counter() - begun < 1


def test_more_wildcards_than_anybody_needs_are_refused() -> None:
    with pytest.raises(BadParam, match="types"):
        TypePatterns(f"{n}*" for n in range(WILDCARDS_MAX + 1))
    assert "999" in TypePatterns(str(n) for n in range(1_000))
