"""There are no guests here: none is made, in no endpoint that the specification opens to them. "Guest Access"."""

from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client, Http, path

if TYPE_CHECKING:
    from hutong.node import Node

OPEN_TO_GUESTS = [
    ("GET", "rooms/{room}/state"),
    ("GET", "rooms/{room}/context/{event}"),
    ("GET", "rooms/{room}/event/{event}"),
    ("GET", "rooms/{room}/state/m.room.name/"),
    ("GET", "rooms/{room}/messages?dir=b"),
    ("GET", "rooms/{room}/members"),
    ("GET", "sync"),
    ("POST", "rooms/{room}/join"),
    ("POST", "rooms/{room}/leave"),
    ("PUT", "rooms/{room}/send/m.room.message/1"),
    ("PUT", "rooms/{room}/state/m.room.topic/"),
    ("PUT", "sendToDevice/m.dummy/1"),
    ("PUT", "profile/{alice}/displayname"),
    ("GET", "devices"),
    ("GET", "devices/X"),
    ("PUT", "devices/X"),
    ("GET", "account/whoami"),
    ("POST", "keys/upload"),
    ("POST", "keys/query"),
    ("POST", "keys/claim"),
]
"""Where the specification lets guests in."""


async def accounts(node: "Node") -> list[int]:
    return [await cell.pool.fetchval("SELECT count(*) FROM accounts") for cell in node.cells.values()]


@pytest.mark.parametrize("body", [{}, {"initial_device_display_name": "a passer-by"}, {"username": "guest-of-ours"}])
async def test_no_guest_is_registered(node: "Node", http: Http, body: dict[str, str]) -> None:
    before = await accounts(node)
    answer = await http.request("POST", "/register", body, query={"kind": "guest"})
    assert (answer.status, answer.errcode, "kind" in answer.error) == (403, "M_GUEST_ACCESS_FORBIDDEN", True)
    assert await accounts(node) == before


async def test_a_kind_of_account_that_there_is_not_is_named(node: "Node", http: Http) -> None:
    before = await accounts(node)
    answer = await http.request("POST", "/register", {}, query={"kind": "visitor"})
    assert (answer.status, "kind" in answer.error) == (400, True), answer
    assert await accounts(node) == before


async def test_a_room_that_lets_guests_join_is_still_for_people_with_an_account(
    http: Http, alice: Client, room: str
) -> None:
    await alice.set_state(room, "m.room.guest_access", {"guest_access": "can_join"})
    event = await alice.send(room, "hello")
    before = await alice.history(room)
    for method, target in OPEN_TO_GUESTS:
        filled = target.format(room=path(room)[1:], event=path(event)[1:], alice=path(alice.user_id)[1:])
        body: dict[str, str] | None = None if method == "GET" else {}
        for token, errcode in (("", "M_MISSING_TOKEN"), ("h.cn.0." + "A" * 43, "M_UNKNOWN_TOKEN")):
            answer = await http.request(method, "/" + filled, body, token=token)
            assert (answer.status, answer.errcode) == (401, errcode) or answer.errcode == "M_UNRECOGNIZED", target
    assert await alice.history(room) == before


async def test_everybody_is_told_that_they_are_no_guest(alice: Client) -> None:
    assert (await alice.ok("GET", "/account/whoami"))["is_guest"] is False


async def test_closing_a_room_to_guests_puts_nobody_out(alice: Client, bob: Client, room: str) -> None:
    """Those who are in it are people with accounts; what the room says of guests is kept and shown."""
    for access in ("can_join", "forbidden"):
        told = await alice.set_state(room, "m.room.guest_access", {"guest_access": access})
        await bob.sees(room, told)
        assert await bob.get_state(room, "m.room.guest_access") == {"guest_access": access}
    assert set(await alice.joined_members(room)) == {alice.user_id, bob.user_id}
    answer = await alice.put(path("rooms", room, "state", "m.room.guest_access"), {"guest_access": "sometimes"})
    assert (answer.status, answer.errcode, "guest_access" in answer.error) == (400, "M_BAD_JSON", True)
