"""docs/residency.md says what is: its table is that of the declarations, each topic of a finding has its heading."""

import re

import pytest

from hutong.engines.tables import Placement, Table
from hutong.residency.explain import ADVICE, explain, lines
from hutong.residency.placements import BEGIN, END, PAGE, renewed, table_of_placements


def test_the_table_of_placements_is_not_stale() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "run: python -m hutong.residency.placements"


def test_every_column_stands_under_its_placement() -> None:
    table = Table("letters", key="id", home="body bytea", envelope="id uuid, room int8", hashed="type int8")
    assert table_of_placements((table,)).splitlines()[-1] == "| `letters` | `body` | `room`, `id` | `type` |  |  |"
    assert all(placement.value in table_of_placements(()) for placement in Placement)


def test_a_page_without_a_place_for_it_is_refused() -> None:
    assert table_of_placements(()) in renewed(f"{BEGIN} old {END}")
    with pytest.raises(ValueError, match="has no"):
        renewed("# A page")


def test_each_topic_has_a_heading() -> None:
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE.read_text(), re.MULTILINE)
    }
    assert ADVICE.keys() <= headings


def test_a_finding_is_explained_with_what_to_do() -> None:
    finding = {"where": "ru/logs/x.log, line 3", "what": "a name, in clear", "topic": "logs"}
    explained = explain({"findings": [finding]}, 1)
    assert explained["next"]
    assert lines(explained)[0] == "1. ru/logs/x.log, line 3"
    assert lines(explained)[-1] == "More: docs/residency.md#logs"
    with pytest.raises(LookupError, match="findings 1 to 1"):
        explain({"findings": [finding]}, 2)
    with pytest.raises(LookupError, match="no findings"):
        explain({"findings": []}, 1)
