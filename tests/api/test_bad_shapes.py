"""Requests put together oddly: parameters twice, slashes and zeros in a path, other content types, long queries.

Each means one thing to everybody, or is refused by name.
"""

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.client import CLIENT, Answer, Client, path
from tests.support.wire import exchange

if TYPE_CHECKING:
    from hutong.node import Node

MESSAGE = {"msgtype": "m.text", "body": "hello"}
RAW = json.dumps(MESSAGE).encode()


async def head(node: "Node", alice: Client, bob: Client, room: str) -> dict[int, int]:
    """Where the logs are once everybody has heard everything."""
    last = await alice.send(room, "until here")
    await alice.sees(room, last)
    await bob.sees(room, last)
    return {number: cell.tail.head for number, cell in node.cells.items()}


@pytest.mark.parametrize("twice", ["dir=b&dir=f&limit=1", "limit=1&dir=b&limit=5", "limit=1&dir=b&limit=x&dir=up"])
async def test_of_a_parameter_that_stands_twice_the_first_counts(alice: Client, room: str, twice: str) -> None:
    await alice.send(room, "first")
    last = await alice.send(room, "last")
    answer = await alice.http.request(
        "GET", f"{path('rooms', room, 'messages')}?{twice}", headers={"Authorization": f"Bearer {alice.token}"}
    )
    assert [event["event_id"] for event in answer.body["chunk"]] == [last], answer


async def test_two_access_tokens_in_a_query_are_none(alice: Client, bob: Client) -> None:
    whoami = "/account/whoami?access_token="
    assert (await alice.http.request("GET", whoami + alice.token)).body["user_id"] == alice.user_id
    both = await alice.http.request("GET", f"{whoami}{alice.token}&access_token={bob.token}")
    assert (both.status, both.errcode) == (401, "M_MISSING_TOKEN"), both


KEYS = ["a/b", "/", "a\0b", "\0", "a?b", "a#b", "a%2Fb", "%", "..", "a b", "a+b", "\u202e", "宝/宝", ";", "a&b=c"]


@pytest.mark.parametrize("key", KEYS)
async def test_a_state_key_is_what_its_bytes_say(alice: Client, room: str, key: str) -> None:
    event = await alice.set_state(room, "org.example/gate", {"open": True}, key)
    assert await alice.get_state(room, "org.example/gate", key) == {"open": True}
    told = await alice.event(room, event)
    assert (told["type"], told["state_key"]) == ("org.example/gate", key)
    assert (await alice.get(path("rooms", room, "state", "org.example/gate", "neighbour"))).status == 404


async def test_transactions_are_told_apart_by_every_byte(alice: Client, room: str) -> None:
    names = ["a/b", "a%2Fb", "a b", "a+b", "a\0b", "a\0", "A/b"]
    events = [await alice.send_event(room, "m.room.message", MESSAGE, txn=name) for name in names]
    assert len(set(events)) == len(names)
    assert [await alice.send_event(room, "m.room.message", MESSAGE, txn=name) for name in names] == events


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", ""]
)
async def test_json_is_json_whatever_it_is_called(alice: Client, room: str, kind: str) -> None:
    answer = await alice.request(
        "PUT", path("rooms", room, "send", "m.room.message", "1"), raw=RAW, headers={"Content-Type": kind}
    )
    assert answer.status == 200, answer
    assert (await alice.event(room, answer.body["event_id"]))["content"] == MESSAGE


NOT_JSON = {
    "a form": (b"msgtype=m.text&body=hello", {"Content-Type": "application/x-www-form-urlencoded"}),
    "compressed": (gzip.compress(RAW), {"Content-Encoding": "gzip"}),
    "UTF-16": (RAW.decode().encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}),
    "Latin-1": ('{"body": "größe"}'.encode("latin-1"), {"Content-Type": "application/json; charset=latin-1"}),
    "several parts": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--',
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
}


async def test_what_is_no_json_is_none_whatever_it_is_called(
    node: "Node", alice: Client, bob: Client, room: str
) -> None:
    before = await head(node, alice, bob, room)
    for what, (raw, headers) in NOT_JSON.items():
        for method, target in (
            ("PUT", path("rooms", room, "send", "m.room.message", "1")),
            ("PUT", path("rooms", room, "state", "m.room.topic")),
            ("POST", path("rooms", room, "invite")),
            ("POST", "/createRoom"),
            ("PUT", path("user", alice.user_id, "account_data", "org.example")),
        ):
            answer = await alice.request(method, target, raw=raw, headers=headers)
            assert (answer.status, answer.errcode) == (400, "M_NOT_JSON"), (what, target, answer)
            assert answer.error.startswith("body: "), (what, target, answer)
    assert {number: cell.tail.head for number, cell in node.cells.items()} == before


LONG = {
    "since": "h1." + "1" * 8_000,
    "filter": "f" * 9_000,
    "set_presence": "online" * 1_000,
    "timeout": "9" * 8_000,
    "full_state": "t" * 8_000,
}


@pytest.mark.parametrize("name", LONG)
async def test_a_long_parameter_is_named(alice: Client, name: str) -> None:
    answer = await alice.get("/sync", **{name: LONG[name]})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), answer
    assert answer.error.startswith(f"{name}: "), answer


@pytest.mark.parametrize("query", ["x=" + "y" * 70_000, "&".join(f"p{n}=1" for n in range(20_000)), "&" * 70_000])
async def test_a_query_without_end_is_refused(alice: Client, query: str) -> None:
    sent = f"GET {CLIENT}/sync?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.token}\r\n\r\n"
    got = await exchange(alice.http.base_url, sent.encode())
    assert got.startswith((b"HTTP/1.1 414", b"HTTP/1.1 431")), got[:300]
    assert b"M_TOO_LARGE" in got


async def test_parameters_that_nobody_knows_are_passed_over(alice: Client, room: str) -> None:
    odd = "&".join(f"p{number}=%00&p{number}" for number in range(500))
    answer: Answer = await alice.http.request(
        "GET", f"/joined_rooms?{odd}", headers={"Authorization": f"Bearer {alice.token}"}
    )
    assert (answer.status, answer.body) == (200, {"joined_rooms": [room]})
