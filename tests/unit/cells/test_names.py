"""What an erased person is called, and whom that name stands for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.cells.names import erased_id, erased_ref
from hutong.ids import MemberRef


@given(st.integers(-(2**63), 2**63 - 1).map(MemberRef))
def test_the_name_of_an_erased_person_stands_for_them_alone(ref: MemberRef) -> None:
    assert erased_ref(erased_id(ref, "cn.localhost")) == ref


@pytest.mark.parametrize(
    "user_id",
    ["@bob:cn.localhost", "@erased-:cn.localhost", "@erased-aaaa:cn.localhost", "@erased-AAAAAAAAAAAAA:cn.localhost",
     "@erased-aaaaaaaaaaaaa1:cn.localhost", "@erased-aaaaaaaaaaaab:cn.localhost", "@erased-宝:cn.localhost", ""],
)  # fmt: skip
def test_every_other_name_stands_for_no_erased_person(user_id: str) -> None:
    assert erased_ref(user_id) is None
