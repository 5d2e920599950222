"""Searching for people: those of one's rooms by a part of their name, others by the whole of it."""

from typing import TYPE_CHECKING, Any

from hutong.ids import CellNo
from tests.support.client import Client, Json, path, refused

if TYPE_CHECKING:
    from hutong.node import Node


async def search(person: Client, term: str, **more: Any) -> Json:
    return dict(await person.ok("POST", "/user_directory/search", {"search_term": term, **more}))


async def found(person: Client, term: str) -> list[str]:
    return [each["user_id"] for each in (await search(person, term))["results"]]


def shown(member: Json | None) -> str:
    return "" if member is None else str(member["content"].get("displayname"))


async def call(person: Client, name: str) -> None:
    await person.ok("PUT", path("profile", person.user_id, "displayname"), {"displayname": name})


async def test_people_of_a_room_are_found_by_a_part_of_their_name(
    alice: Client, bob: Client, carol: Client, room: str
) -> None:
    name = f"Böcklin {bob.name}"
    await call(bob, name)
    await alice.until(lambda: shown(alice.state[room].get(("m.room.member", bob.user_id))) == name, "bob's new name")
    for term in (bob.name[1:], name.upper(), f"LIN {bob.name}", bob.user_id):
        body = await search(alice, term)
        assert body == {"results": [{"user_id": bob.user_id, "display_name": name}], "limited": False}
    assert await found(carol, f"LIN {bob.name}") == []


async def test_anybody_is_found_by_the_whole_name(alice: Client, bob: Client, newcomer: Any) -> None:
    neighbour = await newcomer("neighbour", "cn")
    assert await found(alice, neighbour.name.upper()) == [neighbour.user_id]
    assert await found(alice, neighbour.name[:-1]) == []
    assert await found(alice, bob.user_id) == [bob.user_id]
    assert await found(alice, bob.name) == []


async def test_the_limit_is_kept_and_said(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    body = await search(alice, ".localhost", limit=2)
    assert (len(body["results"]), body["limited"]) == (2, True)
    assert await search(alice, " ") == {"results": [], "limited": False}
    with refused("M_INVALID_PARAM", "search_term"):
        await search(alice, "x" * 256)
    with refused("M_INVALID_PARAM", "limit"):
        await search(alice, "x", limit=-1)


async def test_a_region_that_is_away_hides_nobody_else(
    alice: Client, bob: Client, carol: Client, room: str, node: "Node"
) -> None:
    fault = node.link.faults[CellNo(alice.cell), CellNo(carol.cell)]
    fault.cut = True
    try:
        assert await found(alice, carol.user_id) == []
        assert await found(alice, bob.user_id) == [bob.user_id]
    finally:
        fault.cut = False
    assert await found(alice, carol.user_id) == [carol.user_id]
