"""What a client gets wrong, or an enemy tries: 4xx with the right code, the field in words, nothing written, never 5xx.

`Http.request` itself fails a test on any 5xx, and on an error without `errcode`.
"""

import asyncio
import io
import json
from typing import Any

import pytest

from tests.support.client import Answer, Client, Json, path
from tests.support.wire import exchange

MESSAGE = {"msgtype": "m.text", "body": "hello"}


async def told(person: Client, room: str) -> tuple[list[Json], dict[tuple[str, str], Json]]:
    """All that a room holds, to compare with later."""
    return await person.history(room, page=100), await person.all_state(room)


def expect(answer: Answer, errcode: str, naming: str, status: int | None = None) -> None:
    assert 400 <= answer.status < 500, answer
    assert answer.errcode == errcode, answer
    assert naming.lower() in answer.error.lower(), answer
    assert status in (None, answer.status), answer


MALFORMED = {
    "nothing at all": (b"", "M_NOT_JSON"),
    "half an object": (b'{"msgtype": "m.text"', "M_NOT_JSON"),
    "single quotes": (b"{'msgtype': 'm.text'}", "M_NOT_JSON"),
    "two objects": (b"{}{}", "M_NOT_JSON"),
    "not UTF-8": (b'{"body": "\xff\xfe"}', "M_NOT_JSON"),
    "half a surrogate pair": (b'{"body": "\\ud83d"}', "M_NOT_JSON"),
    "not a number": (b'{"n": NaN}', "M_NOT_JSON"),
    "infinity": (b'{"n": Infinity}', "M_NOT_JSON"),
    "a comment": (b'{"n": 1 /* one */}', "M_NOT_JSON"),
    "a bare control character": (b'{"body": "a\x00b"}', "M_NOT_JSON"),
    "a list": (b"[]", "M_BAD_JSON"),
    "a string": (b'"hello"', "M_BAD_JSON"),
    "null": (b"null", "M_BAD_JSON"),
    "one key twice": (b'{"body": "a", "body": "b"}', "M_BAD_JSON"),
    "an integer beyond 53 bits": (b'{"n": 9007199254740993}', "M_BAD_JSON"),
    "an integer beyond 64 bits": (b'{"n": 1' + b"0" * 40 + b"}", "M_BAD_JSON"),
    "a fraction": (b'{"n": 1.5}', "M_BAD_JSON"),
    "nested too deep": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "M_BAD_JSON"),
    "lists nested too deep": (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "M_BAD_JSON"),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_content_that_is_no_json_object(bob: Client, room: str, what: str) -> None:
    raw, errcode = MALFORMED[what]
    before = await told(bob, room)
    for target in (
        path("rooms", room, "send", "m.room.message", "1"),
        path("rooms", room, "state", "m.room.member", bob.user_id),
    ):
        answer = await bob.request("PUT", target, raw=raw)
        expect(answer, errcode, "", 400)
    assert await told(bob, room) == before


@pytest.mark.parametrize("where", ["content", "type", "state_key"])
async def test_an_event_of_more_than_64_kib(alice: Client, room: str, where: str) -> None:
    before = await told(alice, room)
    huge = "宝" * 22_000
    if where == "content":
        answer = await alice.put(path("rooms", room, "send", "m.room.message", "1"), {**MESSAGE, "body": huge})
        expect(answer, "M_TOO_LARGE", "", 413)
    elif where == "type":
        answer = await alice.put(path("rooms", room, "send", "t" * 300, "1"), {})
        assert answer.errcode in ("M_TOO_LARGE", "M_INVALID_PARAM"), answer
    else:
        answer = await alice.put(path("rooms", room, "state", "org.example.gate", "k" * 300), {})
        assert answer.errcode in ("M_TOO_LARGE", "M_INVALID_PARAM"), answer
    assert await told(alice, room) == before


async def test_the_largest_event_that_may_be(alice: Client, bob: Client, room: str) -> None:
    text = "a" * 63_000
    sent = await alice.send(room, text)
    assert (await bob.sees(room, sent))["content"]["body"] == text


async def test_a_body_of_many_megabytes_is_refused(alice: Client, room: str) -> None:
    raw = io.BytesIO(b'{"body": "' + b"a" * 8_000_000 + b'"}')
    answer = await alice.request("PUT", path("rooms", room, "send", "m.room.message", "1"), raw=raw)
    expect(answer, "M_TOO_LARGE", "", 413)


WRONG_TYPES: list[tuple[str, str, Any, str]] = [
    ("POST", "invite", {"user_id": 7}, "user_id"),
    ("POST", "invite", {}, "user_id"),
    ("POST", "invite", {"user_id": None}, "user_id"),
    ("POST", "kick", {"user_id": ["@a:b"]}, "user_id"),
    ("POST", "kick", {"user_id": "@bob:eu.localhost", "reason": {"a": 1}}, "reason"),
    ("POST", "ban", {"reason": "no id"}, "user_id"),
    ("POST", "unban", {"user_id": True}, "user_id"),
    ("POST", "join", {"reason": 3}, "reason"),
    ("POST", "leave", {"reason": 3}, "reason"),
    ("PUT", "typing/{me}", {"typing": "yes"}, "typing"),
    ("PUT", "typing/{me}", {}, "typing"),
    ("PUT", "typing/{me}", {"typing": True, "timeout": "long"}, "timeout"),
    ("PUT", "redact/$AAAAAAAAAAAAAAAAAAAAAA/1", {"reason": 3}, "reason"),
    ("PUT", "state/m.room.join_rules", {"join_rule": 5}, "join_rule"),
    ("PUT", "state/m.room.join_rules", {}, "join_rule"),
    ("PUT", "state/m.room.history_visibility", {"history_visibility": []}, "history_visibility"),
    ("PUT", "state/m.room.member/{me}", {"membership": "visiting"}, "membership"),
    ("PUT", "state/m.room.member/{me}", {}, "membership"),
    ("PUT", "state/m.room.member/{me}", {"membership": 1}, "membership"),
    ("PUT", "state/m.room.member/not-an-id", {"membership": "invite"}, "state_key"),
    ("PUT", "state/m.room.power_levels", {"users": 5}, "users"),
]


@pytest.mark.parametrize(("method", "target", "body", "field"), WRONG_TYPES)
async def test_a_field_of_the_wrong_type_is_named(
    alice: Client, room: str, method: str, target: str, body: Json, field: str
) -> None:
    before = await told(alice, room)
    answer = await alice.request(method, path("rooms", room) + "/" + target.format(me=alice.user_id), body)
    assert answer.status == 400, answer
    assert answer.errcode in ("M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"), answer
    assert field in answer.error, answer
    assert await told(alice, room) == before


CREATIONS: list[tuple[Json, str]] = [
    ({"name": 5}, "name"),
    ({"topic": []}, "topic"),
    ({"preset": "cosy"}, "preset"),
    ({"visibility": "mostly"}, "visibility"),
    ({"invite": "@bob:eu.localhost"}, "invite"),
    ({"invite": [5]}, "invite"),
    ({"invite": ["no id"]}, "invite"),
    ({"invite": ["@x:elsewhere.example"]}, "invite"),
    ({"room_version": 11}, "room_version"),
    ({"initial_state": {}}, "initial_state"),
    ({"initial_state": [{"content": {}}]}, "type"),
    ({"initial_state": [{"type": "m.room.name"}]}, "content"),
    ({"initial_state": [{"type": 5, "content": {}}]}, "type"),
    ({"creation_content": []}, "creation_content"),
    ({"power_level_content_override": {"users": 5}}, "users"),
    ({"power_level_content_override": {"users": {"alice": 100}}}, "users"),
    ({"is_direct": "yes"}, "is_direct"),
]


@pytest.mark.parametrize(("body", "field"), CREATIONS)
async def test_a_room_is_not_created_from_nonsense(alice: Client, body: Json, field: str) -> None:
    answer = await alice.post("/createRoom", body)
    assert answer.status == 400, answer
    assert field in answer.error, answer
    assert await alice.joined_rooms() == []


OTHER_GENERATION = "h1.1.2.3.4"
TOKENS = [
    "nonsense",
    "s72594_4483_1934",
    "h1",
    "h1.",
    OTHER_GENERATION,
    "h1.1.-1.0.0",
    "h1.99999999999999999999.1.1.1",
    "h1." + "1" * 5_000,
    "h1.١.٢.٣.٤",
    "\u0000",
    "r1.1.aa.1",
]


@pytest.mark.parametrize("token", TOKENS)
async def test_a_forged_since_is_refused_or_a_fresh_start(bob: Client, room: str, token: str) -> None:
    answer = await bob.get("/sync", since=token)
    if answer.status == 200:  # another generation's: answered as an initial sync
        assert room in answer.body["rooms"]["join"]
    else:
        expect(answer, "M_INVALID_PARAM", "since", 400)


async def test_a_since_ahead_of_the_log_is_refused(bob: Client, room: str) -> None:
    version, gen, pos, *rest = str((await bob.sync())["next_batch"]).split(".")
    ahead = ".".join([version, gen, str(int(pos) + 1_000_000), *rest])
    answer = await bob.get("/sync", since=ahead)
    expect(answer, "M_INVALID_PARAM", "since", 400)


@pytest.mark.parametrize("parameter", ["from", "to"])
@pytest.mark.parametrize("token", TOKENS)
async def test_a_forged_page_token_is_named(bob: Client, room: str, parameter: str, token: str) -> None:
    answer = await bob.get(path("rooms", room, "messages"), dir="b", **{parameter: token})
    if token == OTHER_GENERATION and answer.status == 200:
        return  # a token from before a restore is as good as none
    expect(answer, "M_INVALID_PARAM", parameter, 400)


async def test_a_page_token_of_another_room_is_none_here(bob: Client, room: str) -> None:
    other = await bob.create_room()
    token = (await bob.messages(other, limit=1))["end"]
    answer = await bob.get(path("rooms", room, "messages"), dir="b", **{"from": token})
    expect(answer, "M_INVALID_PARAM", "from", 400)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"dir": "up"}, "dir"),
        ({}, "dir"),
        ({"dir": "b", "limit": "many"}, "limit"),
        ({"dir": "b", "limit": "-1"}, "limit"),
        ({"dir": "b", "limit": "٣"}, "limit"),
        ({"dir": "b", "filter": "{"}, "filter"),
        ({"dir": "b", "filter": "[]"}, "filter"),
        ({"dir": "b", "filter": '{"types": 5}'}, "types"),
    ],
)
async def test_a_page_asked_for_wrongly(bob: Client, room: str, query: dict[str, str], field: str) -> None:
    answer = await bob.get(path("rooms", room, "messages"), **query)
    assert answer.status == 400, answer
    assert field in answer.error, answer


@pytest.mark.parametrize("limit", [0, 1_000_000_000, 10**30])
async def test_a_page_of_any_size_has_a_bounded_size(bob: Client, room: str, limit: int) -> None:
    got = await bob.messages(room, limit=limit)
    assert len(got["chunk"]) <= 1_000


async def test_a_filter_nested_too_deep_is_named(bob: Client, room: str) -> None:
    deep = '{"a":' + "[" * 1_500 + "]" * 1_500 + "}"
    answer = await bob.get(path("rooms", room, "messages"), dir="b", filter=deep)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), answer
    assert "filter" in answer.error


ROOM_IDS = [
    "nonsense",
    "!",
    "!a",
    "#alias:cn.localhost",
    "!a:b:c",
    "!" + "A" * 500,
    "!\u0000:cn.localhost",
    "!é:cn",
    "%",
]


@pytest.mark.parametrize("room_id", ROOM_IDS)
@pytest.mark.parametrize("verb", ["join", "leave", "send", "messages", "state", "members"])
async def test_a_room_id_that_is_none(alice: Client, room_id: str, verb: str) -> None:
    target = path("rooms", room_id, *(("send", "m.room.message", "1") if verb == "send" else (verb,)))
    method = {"send": "PUT", "join": "POST", "leave": "POST"}.get(verb, "GET")
    query = {"dir": "b"} if verb == "messages" else {}
    answer = await alice.request(method, target, None if method == "GET" else MESSAGE, query=query)
    assert answer.status in (400, 403, 404), answer
    assert answer.errcode in ("M_INVALID_PARAM", "M_NOT_FOUND", "M_FORBIDDEN"), answer


@pytest.mark.parametrize("event_id", ["nonsense", "$", "$a", "$" + "A" * 500, "$AAAAAAAAAAAAAAAAAAAAAB", "$é", "!a"])
async def test_an_event_id_that_is_none(alice: Client, room: str, event_id: str) -> None:
    answer = await alice.get(path("rooms", room, "event", event_id))
    assert (answer.status, answer.errcode) in ((404, "M_NOT_FOUND"), (400, "M_INVALID_PARAM")), answer
    answer = await alice.post(path("rooms", room, "receipt", "m.read", event_id))
    assert answer.status in (400, 404), answer


USER_IDS = [
    "bob",
    "@bob",
    "@:eu.localhost",
    "@bob:",
    "@bob:eu.localhost:",
    "@BOB:eu.localhost",
    "@bob:elsewhere.example",
    "@bob :eu.localhost",
    "@bo\u200bb:eu.localhost",
    "@bоb:eu.localhost",  # a Cyrillic о
    "@" + "b" * 300 + ":eu.localhost",
    "@bob\u0000:eu.localhost",
    "@bob\u202e:eu.localhost",
    "＠bob:eu.localhost",
]


@pytest.mark.parametrize("user_id", USER_IDS)
@pytest.mark.parametrize("verb", ["invite", "kick", "ban"])
async def test_a_user_id_that_is_nobodys_here(alice: Client, room: str, user_id: str, verb: str) -> None:
    before = await told(alice, room)
    answer = await alice.post(path("rooms", room, verb), {"user_id": user_id})
    assert 400 <= answer.status < 500, answer
    if answer.errcode in ("M_INVALID_PARAM", "M_BAD_JSON"):
        assert "user_id" in answer.error, answer
    assert await told(alice, room) == before


NAMES = [
    "",
    "A",
    "alice smith",
    "alicé",
    "аlice",  # a Cyrillic а
    "ali\u200dce",
    "ali\u202ece",
    "ALICE",
    "a" * 256,
    "alice\n",
    "alice\u0000",
    "@alice:cn.localhost",
    "alice:cn",
    "..\\..",
    "%61lice",
    "erased-aaaa",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_nobody_can_have(alice: Client, name: str) -> None:
    answer = await alice.http.request("POST", "/register", {"username": name, "password": "a long password"})
    if name.isascii() and name.lower() != name and answer.status != 400:
        return  # a server may also fold the case, which is tried with the account's own tests
    expect(answer, "M_INVALID_USERNAME", "username", 400)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer h.cn.0.AAAA"},
        {"Authorization": "Bearer h.xx.0." + "A" * 43},
        {"Authorization": "Bearer h.cn.99." + "A" * 43},
        {"Authorization": "Bearer h.cn.0." + "A" * 43},
        {"Authorization": "Bearer " + "A" * 5_000},
        {"Authorization": "Basic YWxpY2U6cGFzcw=="},
    ],
)
async def test_a_token_that_is_none(alice: Client, headers: dict[str, str]) -> None:
    answer = await alice.http.request("GET", "/account/whoami", headers=headers)
    assert answer.status == 401, answer
    assert answer.errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"), answer
    assert (await alice.http.request("GET", "/account/whoami")).errcode == "M_MISSING_TOKEN"


async def test_anothers_name_in_the_path_is_forbidden(alice: Client, bob: Client, room: str) -> None:
    answer = await alice.put(path("rooms", room, "typing", bob.user_id), {"typing": True})
    expect(answer, "M_FORBIDDEN", "", 403)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/_matrix/client/v3/nothing/here", 404),
        ("GET", "/_matrix/client/v9/sync", 404),
        ("GET", "/_matrix/federation/v1/version", 404),
        ("PUT", "/_matrix/federation/v1/send/1", 404),
        ("GET", "/_matrix/key/v2/server", 404),
        ("DELETE", "/_matrix/client/v3/createRoom", 405),
        ("GET", "/_matrix/client/v3/createRoom", 405),
        ("PATCH", "/_matrix/client/v3/sync", 405),
    ],
)
async def test_what_is_not_served(alice: Client, method: str, target: str, status: int) -> None:
    answer = await alice.request(method, target)
    expect(answer, "M_UNRECOGNIZED", "", status)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("target", ["/sync", "/createRoom", "/nothing", "/register"])
async def test_a_browser_may_ask_from_anywhere(alice: Client, target: str) -> None:
    answer = await alice.http.request("OPTIONS", target, headers={"Origin": "https://app.example"})
    assert answer.status in (200, 204), answer
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


async def test_headers_of_a_megabyte_end_the_connection(alice: Client) -> None:
    sent = b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n"
    got = await exchange(alice.http.base_url, sent)
    assert got == b"" or got.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), got[:200]


async def test_half_a_request_is_not_held_for_ever(alice: Client, room: str) -> None:
    before = await told(alice, room)
    target = "/_matrix/client/v3" + path("rooms", room, "send", "m.room.message", "1")
    body = json.dumps(MESSAGE).encode()
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {alice.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body) + 1}\r\n\r\n"
    ).encode()
    got = await exchange(alice.http.base_url, head + body, end=True)
    assert not got.startswith(b"HTTP/1.1 200"), got[:200]
    assert await told(alice, room) == before


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"HELO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_is_refused(alice: Client, sent: bytes) -> None:
    got = await exchange(alice.http.base_url, sent, end=True)
    assert got == b"" or got.startswith(b"HTTP/1.1 4"), got[:200]


async def test_a_replayed_transaction_with_other_words_says_what_it_said_first(bob: Client, room: str) -> None:
    first = await bob.send_event(room, "m.room.message", {**MESSAGE, "body": "first"}, txn="1")
    again = await bob.send_event(room, "m.room.message", {**MESSAGE, "body": "second"}, txn="1")
    assert first == again
    assert await bob.texts(room) == ["first"]


async def test_a_very_long_transaction_id_is_named(bob: Client, room: str) -> None:
    answer = await bob.put(path("rooms", room, "send", "m.room.message", "t" * 5_000), MESSAGE)
    assert answer.status in (200, 400, 414), answer


async def test_nonsense_at_full_speed_leaves_the_room_as_it_was(alice: Client, room: str) -> None:
    before = await told(alice, room)
    raws = [raw for raw, _ in MALFORMED.values()]
    answers = await asyncio.gather(
        *(
            alice.request("PUT", path("rooms", room, "send", "m.room.message", f"n{n}"), raw=raws[n % len(raws)])
            for n in range(200)
        )
    )
    assert {answer.status for answer in answers} == {400}
    assert await told(alice, room) == before
