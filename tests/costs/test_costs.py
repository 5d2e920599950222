"""What each operation costs, and that it costs the same beside more rooms, members, history and accounts."""

import pytest

from tests.costs.operations import OPERATIONS, Budget, Measured, row_of_the_page
from tests.costs.scene import LARGE, SMALL
from tests.support.openapi import REPOSITORY

LINES_BESIDE = 15
"""How many lines more may run where the work is the same: something happens now and then beside it."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_costs_so_much_at_any_size(in_small: Measured, in_large: Measured, name: str) -> None:
    _, budget = OPERATIONS[name]
    assert Budget.of(in_small[name]) == budget, f"{name} in {SMALL}: {in_small[name]}"
    assert Budget.of(in_large[name]) == budget, f"{name} in {LARGE}: {in_large[name]}"


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "first sync"])
def test_its_work_does_not_grow_with_rooms_members_history_or_accounts(
    in_small: Measured, in_large: Measured, name: str
) -> None:
    before, after = in_small[name].lines_in, in_large[name].lines_in
    assert before
    assert after.total() <= before.total() + LINES_BESIDE, (after - before).most_common(5)


def test_the_page_says_what_is_counted() -> None:
    page = (REPOSITORY / "docs" / "costs.md").read_text()
    missing = [row for name in OPERATIONS if (row := row_of_the_page(name)) not in page]
    assert not missing, "put these into docs/costs.md:\n" + "\n".join(missing)
