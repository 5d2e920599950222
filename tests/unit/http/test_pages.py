"""What the edge serves by itself: the page at /, health, metrics, the OpenAPI document."""

import base64
import re
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import httpx
import pytest

from hutong.errors import UnknownToken
from hutong.http import health, landing, metrics, openapi
from hutong.http.app import build_app
from hutong.http.landing import LandingPage, RegionAddress
from hutong.http.request import EMPTY, Caller, Request, Response

REGIONS = [
    RegionAddress("cn", "cn.localhost", port=8009),
    RegionAddress("eu", "eu.example.org", url="https://eu.example.org"),
    RegionAddress("ru", "ru.localhost"),
]


class Thing:
    openapi: ClassVar[dict[str, Any]] = {
        "get": {"summary": "A thing", "responses": {"200": {"description": "The thing."}}},
    }

    async def on_get(self, req: Request, resp: Response, thing_id: str) -> None:
        resp.data = EMPTY


THING = "/hutong/v1/things/{thing_id}"


async def nobody(token: str) -> Caller:
    raise UnknownToken


class Node:
    """The edge, with problems that a test can set."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.metrics = metrics.Metrics()

    async def check(self) -> Sequence[str]:
        if "raise" in self.problems:
            raise ValueError("a secret")
        return self.problems


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def edge(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    page = LandingPage(lambda: REGIONS, public_url=None, registration_open=True)
    routes = [
        *landing.routes(page),
        *health.routes(node.check),
        *metrics.routes(node.metrics),
        (THING, Thing()),
    ]
    app = build_app(openapi.with_document(routes), nobody, observe=node.metrics.observe)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://laptop:8008") as client:
        yield client


async def test_the_page_says_where_to_connect(edge: httpx.AsyncClient) -> None:
    page = (await edge.get("/")).text
    for address in ("http://laptop:8008<", "http://laptop:8009<", "https://eu.example.org<"):
        assert address in page
    assert "curl -X POST http://laptop:8008/_matrix/client/v3/register" in page
    assert 'class="registration-open"' in page
    assert "CHAT_URL=http://laptop:8008 .venv/bin/python examples/chat.py cn alice" in page
    assert "End-to-end encrypted rooms are not served yet" in page


async def test_the_example_is_not_told_where_it_looks_anyway(edge: httpx.AsyncClient) -> None:
    page = (await edge.get("/", headers={"host": "localhost:8008"})).text
    assert "<code>.venv/bin/python examples/chat.py cn alice" in page


async def test_the_page_loads_nothing_and_allows_nothing_else(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for element in ("style", "script"):
        for text in re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL):
            assert f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" in policy
    assert re.findall(r'(?:src|srcset|style)="', answer.text) == []
    assert re.findall(r"url\(|@import", answer.text) == []
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert [link for link in links if link.startswith("http")] == ["https://spec.matrix.org/latest/client-server-api/"]
    assert "$" not in answer.text


@pytest.mark.parametrize("host", ['"><script>alert(1)</script>', "a b", "x" * 300, "", "a'onload='"])
async def test_a_forged_host_does_not_get_into_the_page(edge: httpx.AsyncClient, host: str) -> None:
    page = (await edge.get("/", headers={"host": host})).text
    assert "http://localhost/_matrix" in page
    assert "alert(1)" not in page
    assert "onload" not in page


async def test_closed_registration_is_said(node: Node) -> None:
    page = LandingPage(lambda: REGIONS, public_url="https://chat.example.org", registration_open=False)
    app = build_app(landing.routes(page), nobody)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:  # type: ignore[arg-type]
        text = (await client.get("/")).text
    assert 'class="registration-closed"' in text
    assert "https://chat.example.org<" in text


async def test_health(edge: httpx.AsyncClient, node: Node) -> None:
    assert (await edge.get("/health/live")).status_code == 200
    assert (await edge.get("/health/ready")).json() == {"status": "ready"}
    node.problems = ["region ru: its database does not answer"]
    answer = await edge.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["problems"] == node.problems
    assert (await edge.get("/health/live")).status_code == 200


async def test_a_check_that_fails_is_a_problem_and_tells_nothing(edge: httpx.AsyncClient, node: Node) -> None:
    node.problems = ["raise"]
    answer = await edge.get("/health/ready")
    assert answer.status_code == 503
    assert "secret" not in answer.text


async def test_metrics_count_by_route_and_name_nobody(edge: httpx.AsyncClient, node: Node) -> None:
    node.metrics.gauge("hutong_things", "How many things there are.", lambda: 3)
    await edge.get("/hutong/v1/things/alice-secret?access_token=secret")
    await edge.get("/nowhere/alice-secret")
    await edge.get("/health/live")
    await edge.get("/health/live")
    text = (await edge.get("/metrics")).text
    assert 'hutong_http_request_seconds_count{method="GET",region="none",route="/health/live",status="2xx"} 2.0' in text
    assert f'_count{{method="GET",region="none",route="{THING}",status="4xx"}} 1.0' in text
    assert '_count{method="GET",region="none",route="unmatched",status="4xx"} 1.0' in text
    assert "hutong_things 3.0" in text
    assert "# TYPE hutong_things gauge" in text
    assert "process_resident_memory_bytes" in text
    assert "secret" not in text


async def test_the_openapi_document_describes_what_is_served(edge: httpx.AsyncClient) -> None:
    document = (await edge.get(openapi.PATH)).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {"/health/live", "/health/ready", openapi.PATH, THING}
    operation = document["paths"][THING]["get"]
    assert operation["parameters"] == [
        {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    assert operation["security"] == [{"access_token": []}]
    assert "security" not in document["paths"]["/health/live"]["get"]
    assert operation["responses"]["default"] == {"$ref": "#/components/responses/error"}
    assert "error" in document["components"]["responses"]


def test_a_route_of_hutong_that_is_not_described_is_refused() -> None:
    with pytest.raises(ValueError, match="/hutong/v1/x: Undescribed"):
        openapi.document([("/hutong/v1/x", type("Undescribed", (), {})())])
