"""docs/api/matrix.md is true: what it calls served is answered by an endpoint of its own, everything else by none."""

import asyncio
import re
from collections import Counter

import pytest

from tests.support import matrix
from tests.support.client import CLIENT, Answer, Http, Json
from tests.support.matrix import COMMAND, PAGE, Row, Status
from tests.support.openapi import VARIABLE, Contract

AT_ONCE = 20
OPERATIONS = 166


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return matrix.committed(PAGE.read_text(encoding="utf-8"))


@pytest.fixture
def known(contract: Contract | None) -> Contract:
    if contract is None:
        pytest.skip(f"the table is NOT compared: no Matrix specification beside the repository; {VARIABLE} may name it")
    return contract


def test_the_page_is_what_the_specification_and_the_router_say(known: Contract) -> None:
    fresh = matrix.page(known, matrix.routes())
    assert PAGE.read_text(encoding="utf-8") == fresh, f"docs/api/matrix.md is stale: `{COMMAND}` writes it anew"


def test_the_page_can_be_read_again(known: Contract, rows: list[Row]) -> None:
    assert rows == matrix.rows(known, matrix.routes())


def test_no_reason_is_left_for_what_is_served(known: Contract) -> None:
    surplus = matrix.surplus(known, matrix.routes())
    assert not surplus, f"take out of UNSERVED in tests/support/matrix.py: {', '.join(sorted(surplus))}"


def test_an_operation_without_a_reason_is_named(known: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "UNSERVED", ())
    with pytest.raises(matrix.Incomplete, match=r"[A-Z]+ /_matrix/\S+ \(.*yaml\) is not served; say why in UNSERVED"):
        matrix.page(known, matrix.routes())


def test_every_operation_has_a_row_and_what_is_not_served_a_reason(rows: list[Row]) -> None:
    assert len(rows) == OPERATIONS
    twice = [key for key, times in Counter((row.method, row.path) for row in rows).items() if times > 1]
    # Each is described by two files: events to a peeking guest and long ago, invitations by user id and by address.
    assert sorted(twice) == [("GET", f"{CLIENT}/events"), ("POST", f"{CLIENT}/rooms/{{roomId}}/invite")]
    for row in rows:
        assert bool(row.slice) == (row.status is Status.SERVED) == (not row.reason), row


async def test_every_row_is_what_the_node_answers(http: Http, rows: list[Row]) -> None:
    """Asked by nobody, so that nothing is done; the router has found the endpoint before anybody asks who calls."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def asked(method: str, path: str) -> Answer:
        async with gate:
            body: Json | None = {} if method in ("POST", "PUT") else None
            return await http.request(method, re.sub(r"\{.*?\}", "x", path), body)

    async def wrong(row: Row) -> str:
        answer, allowed = await asked(row.method, row.path), (await asked("PATCH", row.path)).headers.get("Allow", "")
        found = answer.errcode != "M_UNRECOGNIZED"
        if found != (row.status is Status.SERVED) or (row.method in allowed.split(", ")) != found:
            return f"{row.method} {row.path} is {row.status}, and answers {answer} (methods: {allowed or 'none'})"
        if not found and answer.status not in (404, 405):
            return f"{row.method} {row.path}: {answer}"
        return "" if answer.headers["Access-Control-Allow-Origin"] == "*" else f"{row.method} {row.path}: no CORS"

    assert [said for said in await asyncio.gather(*map(wrong, rows)) if said] == []
