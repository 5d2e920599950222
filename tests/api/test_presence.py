"""Presence: said of oneself, seen by people in a common room, in memory only."""

from typing import TYPE_CHECKING, Any

from hutong.cells.key_messages import KeysChanged
from hutong.cells.messages import PresenceOf
from hutong.ids import AccountNo, CellNo
from hutong.presence.board import COARSE_MS, GONE_S, Presence, PresenceBoard, State
from tests.support.client import Answer, Client, path, refused

if TYPE_CHECKING:
    import pytest

    from hutong.node import Node


def status(person: Client) -> str:
    return path("presence", person.user_id, "status")


async def seen(reader: Client, whom: Client) -> tuple[str, str | None]:
    body = await reader.ok("GET", status(whom))
    return body["presence"], body.get("status_msg")


async def test_people_of_a_room_see_one_another(alice: Client, bob: Client, carol: Client, room: str) -> None:
    assert await seen(alice, bob) == ("offline", None)
    await bob.ok("PUT", status(bob), {"presence": "unavailable", "status_msg": "at lunch"})
    for reader in (alice, bob):
        assert await seen(reader, bob) == ("unavailable", "at lunch")
    hidden: Answer = await carol.get(status(bob))
    assert hidden == await carol.get(path("presence", "@nobody:eu.localhost", "status"))
    assert (hidden.status, hidden.errcode) == (404, "M_NOT_FOUND")
    await carol.join(room)
    await carol.until(lambda: carol.membership(room) == "join", "her own joining")
    assert await seen(carol, bob) == ("unavailable", "at lunch")


async def test_polling_shows_unless_one_would_rather_not(alice: Client) -> None:
    await alice.sync(set_presence="offline")
    assert await seen(alice, alice) == ("offline", None)
    await alice.sync()
    assert await seen(alice, alice) == ("online", None)
    await alice.sync(set_presence="unavailable")
    assert await seen(alice, alice) == ("unavailable", None)


async def test_nobody_speaks_for_another(alice: Client, bob: Client, room: str) -> None:
    with refused("M_FORBIDDEN", "userId"):
        await alice.ok("PUT", status(bob), {"presence": "online"})
    with refused("M_INVALID_PARAM", "presence"):
        await alice.ok("PUT", status(alice), {"presence": "busy"})
    with refused("M_INVALID_PARAM", "status_msg"):
        await alice.ok("PUT", status(alice), {"presence": "online", "status_msg": "x" * 513})


async def test_a_region_that_is_away_is_named(alice: Client, bob: Client, room: str, node: "Node") -> None:
    fault = node.link.faults[CellNo(alice.cell), CellNo(bob.cell)]
    fault.cut = True
    try:
        answer = await alice.get(status(bob))
    finally:
        fault.cut = False
    assert (answer.status, answer.body["hutong.region"]) == (503, "eu")


async def test_nothing_is_known_of_who_has_gone(alice: Client, bob: Client, room: str, node: "Node") -> None:
    await bob.ok("PUT", status(bob), {"presence": "online", "status_msg": "leaving"})
    home = node.slices[CellNo(bob.cell)]
    account = await home.accounts.accounts.find(bob.name)
    assert account is not None
    await bob.deactivate()
    assert home.presence.board.of(account) == Presence(State.OFFLINE)


def test_who_is_not_heard_of_is_offline() -> None:
    clock = [1_000.0]
    board = PresenceBoard(lambda: clock[0])
    anna = AccountNo(1)
    board.say(anna, State.ONLINE, "here")
    clock[0] += 119
    assert board.of(anna) == Presence(State.ONLINE, "here", COARSE_MS)
    clock[0] += GONE_S
    assert board.of(anna).state is State.OFFLINE


async def test_another_region_is_told_only_of_rooms_that_it_has_people_in(
    alice: Client, bob: Client, room: str, node: "Node", monkeypatch: "pytest.MonkeyPatch"
) -> None:
    await alice.create_room(name="of one's own")
    cell, asked = node.cells[CellNo(alice.cell)], []
    call = cell.link.call

    async def heard(dest: CellNo, request: Any, *more: Any) -> Any:
        asked.append(request)
        return await call(dest, request, *more)

    monkeypatch.setattr(cell.link, "call", heard)
    token = (await alice.sync())["next_batch"]
    await seen(alice, bob)
    await alice.ok("GET", path("keys", "changes"), query={"from": token, "to": token})
    for kind in (PresenceOf, KeysChanged):
        assert [request.rooms for request in asked if isinstance(request, kind)] == [[cell.view.room_no(room)]]
