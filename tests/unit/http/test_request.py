"""What an endpoint gets to see of a request. In process, through the real application; sockets are in tests/api."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

import httpx
import msgspec
import pytest

from hutong.errors import BadJson, UnknownToken
from hutong.http import request as asked
from hutong.http.app import build_app
from hutong.http.request import Caller, Request, Response
from hutong.ids import AccountNo, CellNo, DeviceNo

CAROL = Caller(CellNo(768), AccountNo(7), DeviceNo(8), b"")


class Part(msgspec.Struct):
    size: int


class Body(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    parts: list[Part] = []
    free: msgspec.Raw = msgspec.Raw(b"null")


BODY = msgspec.json.Decoder(Body)


class Seen:
    """Says what arrived."""

    async def on_get(self, req: Request, resp: Response, **path: str) -> None:
        resp.data = msgspec.json.encode(
            {
                "path": path,
                "limit": asked.query_int(req, "limit", 10, 0, 100),
                "text": asked.query_text(req, "text", None, max=20),
                "via": asked.query_texts(req, "via"),
                "full": asked.query_flag(req, "full"),
                "dir": asked.query_choice(req, "dir", ("b", "f"), "b"),
                "account": asked.caller(req).account,
                "region": asked.request_region(req),
            }
        )

    async def on_put(self, req: Request, resp: Response, **path: str) -> None:
        resp.data = await asked.raw_object(req)

    async def on_post(self, req: Request, resp: Response, **path: str) -> None:
        record = await asked.body(req, BODY, bytes_max=1_000)
        resp.data = msgspec.json.encode({"name": record.name, "parts": len(record.parts)})


class Open:
    auth = "optional"

    async def on_get(self, req: Request, resp: Response) -> None:
        found = asked.caller_or_none(req)
        resp.data = msgspec.json.encode({"account": found and found.account})


class Mixed:
    auth: ClassVar = {"GET": False}

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = asked.EMPTY

    async def on_post(self, req: Request, resp: Response) -> None:
        resp.data = asked.EMPTY


class Broken:
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        raise ValueError("alice's secret")


async def authenticate(token: str) -> Caller:
    if token != "carols":
        raise UnknownToken
    return CAROL


STATE = "/_matrix/client/v3/rooms/{room_id}/state/{event_type}"


@pytest.fixture(scope="module")
async def edge() -> AsyncIterator[httpx.AsyncClient]:
    seen = Seen()
    routes = [
        (STATE, seen),
        (STATE + "/{state_key}", seen),
        ("/open", Open()),
        ("/mixed", Mixed()),
        ("/broken", Broken()),
    ]
    app = build_app(routes, authenticate, hosts={"Ru.localhost": "ru", "[::1]": "eu"})
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        client.headers["authorization"] = "Bearer carols"
        yield client


ROOM = "/_matrix/client/v3/rooms/!r:cn.localhost/state/"


async def seen(edge: httpx.AsyncClient, url: str, **more: Any) -> Any:
    answer = await edge.get(url, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("m.a", {"event_type": "m.a"}),
        ("m.a/", {"event_type": "m.a", "state_key": ""}),
        ("m.a/k", {"event_type": "m.a", "state_key": "k"}),
        ("m.a/a%2Fb", {"event_type": "m.a", "state_key": "a/b"}),
        ("m.a/%2F", {"event_type": "m.a", "state_key": "/"}),
        ("m.a/a%252Fb", {"event_type": "m.a", "state_key": "a%2Fb"}),
        ("a%2fb/%00", {"event_type": "a/b", "state_key": "\x00"}),
        ("m.a/%40x%3Aru.localhost", {"event_type": "m.a", "state_key": "@x:ru.localhost"}),
        ("m.a/a+b", {"event_type": "m.a", "state_key": "a+b"}),
        ("m.a/%E8%83%A1%E5%90%8C", {"event_type": "m.a", "state_key": "胡同"}),
        ("m.a/100%25", {"event_type": "m.a", "state_key": "100%"}),
    ],
)
async def test_parameters_of_the_path_arrive_decoded(edge: httpx.AsyncClient, sent: str, path: dict[str, str]) -> None:
    assert (await seen(edge, ROOM + sent))["path"] == {"room_id": "!r:cn.localhost", **path}


async def test_names_of_the_path_may_be_encoded_and_old_clients_say_r0(edge: httpx.AsyncClient) -> None:
    assert (await seen(edge, ROOM.replace("rooms", "%72ooms") + "m.a"))["path"]["event_type"] == "m.a"
    assert (await seen(edge, ROOM.replace("/v3/", "/r0/") + "m.a"))["path"]["event_type"] == "m.a"


@pytest.mark.parametrize("sent", ["%ff", "m.a/%c0%80", "m.a/%ed%a0%80", "%e8%83"])
async def test_a_path_that_is_not_utf8(edge: httpx.AsyncClient, sent: str) -> None:
    answer = await edge.get(ROOM + sent)
    assert (answer.status_code, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("query", "named", "value"),
    [
        ("limit=5", "limit", 5),
        ("limit=0", "limit", 0),
        ("limit=101", "limit", 100),
        ("limit=" + "9" * 4_000, "limit", 100),
        ("", "limit", 10),
        ("text=a%20b+c", "text", "a b c"),
        ("text=", "text", ""),
        ("text=a&text=b", "text", "a"),
        ("text=%EF%BF%BD", "text", "�"),
        ("text=%00", "text", "\x00"),
        ("text=a,b", "text", "a,b"),
        ("via=a&via=b", "via", ["a", "b"]),
        ("full=true", "full", True),
        ("dir=f", "dir", "f"),
    ],
)
async def test_parameters_of_the_query(edge: httpx.AsyncClient, query: str, named: str, value: object) -> None:
    assert (await seen(edge, f"{ROOM}m.a?{query}"))[named] == value


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=-1", "limit"),
        ("limit=-" + "9" * 4_000, "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1.5", "limit"),
        ("text=" + "a" * 21, "text"),
        ("text=%ff", "text"),
        ("text=%ed%a0%80", "text"),
        ("&".join(["via=a"] * 51), "via"),
        ("full=yes", "full"),
        ("dir=up", "dir"),
    ],
)
async def test_a_parameter_of_the_query_that_cannot_be(edge: httpx.AsyncClient, query: str, named: str) -> None:
    answer = await edge.get(f"{ROOM}m.a?{query}")
    assert (answer.status_code, answer.json()["errcode"]) == (400, "M_INVALID_PARAM")
    assert answer.json()["error"].startswith(f"{named}: ")


@pytest.mark.parametrize(
    ("sent", "status", "errcode", "named"),
    [
        (b'{"name": "ok", "parts": [{"size": 1}]}', 200, None, None),
        (b"", 400, "M_MISSING_PARAM", "name: "),
        (b"{}", 400, "M_MISSING_PARAM", "name: "),
        (b'{"name": "a", "parts": [{}]}', 400, "M_MISSING_PARAM", "parts[0].size: "),
        (b'{"name": 1}', 400, "M_BAD_JSON", "name: "),
        (b'{"name": null}', 400, "M_BAD_JSON", "name: "),
        (b'{"name": "a", "parts": [{"size": "big"}]}', 400, "M_BAD_JSON", "parts[0].size: "),
        (b'{"name": "too long"}', 400, "M_INVALID_PARAM", "name: "),
        (b"[]", 400, "M_BAD_JSON", "body: "),
        (b'{"name": "a"', 400, "M_NOT_JSON", "body: "),
        (b'{"name": "a", "free": "\xff"}', 400, "M_NOT_JSON", "body: "),
        (b'{"name": "a", "unknown": "\xff"}', 400, "M_NOT_JSON", "body: "),
        (b'{"name": "a", "free": ' + b"[" * 900 + b"}", 400, "M_NOT_JSON", "body: "),
        (b'{"name": "' + b"a" * 1_000 + b'"}', 413, "M_TOO_LARGE", "1,000 bytes"),
    ],
)
async def test_bodies_as_records(
    edge: httpx.AsyncClient, sent: bytes, status: int, errcode: str | None, named: str | None
) -> None:
    answer = await edge.post(ROOM + "m.a", content=sent)
    assert (answer.status_code, answer.json().get("errcode")) == (status, errcode)
    assert named is None or named in answer.json()["error"]


@pytest.mark.parametrize(("sent", "named"), [(b'{"a": 1}', "body[...]: "), (b'{"a": {"b": []}}', "body[...][...]: ")])
def test_what_stands_under_a_name_of_the_clients_own_is_placed_in_the_body(sent: bytes, named: str) -> None:
    with pytest.raises(BadJson, match=re.escape(named)):
        asked.decode(sent, msgspec.json.Decoder(dict[str, dict[str, int]]))


async def test_an_object_is_handed_on_as_it_was_sent(edge: httpx.AsyncClient) -> None:
    raw = b'{ "b": [1, 2],\n "a": "\\u80e1" }'
    assert (await edge.put(ROOM + "m.a", content=b" " + raw + b"\r\n")).content == raw
    assert (await edge.put(ROOM + "m.a", content=b"")).json()["errcode"] == "M_NOT_JSON"
    large = await edge.put(ROOM + "m.a", content=b'{"a":"' + b"a" * 65_536 + b'"}')
    assert (large.status_code, large.json()["errcode"]) == (413, "M_TOO_LARGE")
    assert "65,536" in large.json()["error"]


async def test_who_calls(edge: httpx.AsyncClient) -> None:
    async def errcode(url: str, **headers: str) -> tuple[int, str | None]:
        answer = await edge.get(url, headers={"authorization": "", **headers})
        return answer.status_code, answer.json().get("errcode")

    assert await errcode(ROOM + "m.a") == (401, "M_MISSING_TOKEN")
    assert await errcode(ROOM + "m.a", authorization="Basic carols") == (401, "M_MISSING_TOKEN")
    assert await errcode(ROOM + "m.a", authorization="Bearer ") == (401, "M_MISSING_TOKEN")
    assert await errcode(ROOM + "m.a", authorization="Bearer bobs") == (401, "M_UNKNOWN_TOKEN")
    assert await errcode(ROOM + "m.a", authorization="bearer carols") == (200, None)
    del edge.headers["authorization"]
    try:
        assert (await edge.get(ROOM + "m.a?access_token=carols")).json()["account"] == 7
        assert (await edge.get(ROOM + "m.a?access_token=bobs")).status_code == 401
        assert (await edge.get("/open")).json() == {"account": None}
        assert (await edge.get("/open?access_token=carols")).json() == {"account": 7}
        assert (await edge.get("/open?access_token=bobs")).status_code == 401
        assert (await edge.get("/mixed")).status_code == 200
        assert (await edge.post("/mixed")).json()["errcode"] == "M_MISSING_TOKEN"
        wrong_method = await edge.delete(ROOM + "m.a")
    finally:
        edge.headers["authorization"] = "Bearer carols"
    assert (wrong_method.status_code, wrong_method.json()["errcode"]) == (405, "M_UNRECOGNIZED")
    assert wrong_method.headers["allow"] == "GET, POST, PUT, OPTIONS"


@pytest.mark.parametrize(
    ("host", "region"),
    [("ru.localhost", "ru"), ("RU.localhost:8008", "ru"), ("[::1]:8008", "eu"), ("[::1]", "eu"), ("other", None)],
)
async def test_the_region_that_a_host_name_stands_for(edge: httpx.AsyncClient, host: str, region: str | None) -> None:
    assert (await seen(edge, ROOM + "m.a", headers={"host": host}))["region"] == region


async def test_an_unexpected_exception_says_where_but_not_what(
    edge: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await edge.get("/broken?access_token=carols")
    assert (answer.status_code, answer.json()["errcode"]) == (500, "M_UNKNOWN")
    assert "GET /broken failed: ValueError at http/test_request.py" in caplog.text
    assert "secret" not in answer.text + caplog.text
    assert "carols" not in caplog.text
