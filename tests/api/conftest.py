"""The API as one region of one cell answers it, and as one of two: growing is a matter of adding cells."""

import pytest

from tests.conftest import DEMO, TWO_CELLS, is_soaking

ONCE = {
    "test_absurd",
    "test_accounts",
    "test_accounts_data",
    "test_bad_input",
    "test_bad_shapes",
    "test_bad_tokens",
    "test_fuzz",
    "test_hostile",
    "test_operations",
    "test_sync_filters",
    "test_sync_lazy",
    "test_sync_wakes",
}
"""What crosses no cells, or takes long: `make test` runs it with one cell only, `make soak` with two as well."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever asks for a node runs once more on one with two cells in cn, unless it says itself on which it runs."""
    chosen = any("place" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if chosen or "place" not in metafunc.fixturenames:
        return
    soaking = is_soaking(metafunc.config)
    if soaking or metafunc.module.__name__.rpartition(".")[2] not in ONCE:
        two = pytest.param(TWO_CELLS, marks=[pytest.mark.soak] if soaking else [])
        metafunc.parametrize("place", [DEMO, two], indirect=True)
