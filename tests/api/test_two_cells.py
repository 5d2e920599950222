"""A region of two cells is one region: people of both meet like neighbours, so growing is a matter of adding cells."""

import asyncio

import pytest

from tests.conftest import TWO_CELLS, Newcomer
from tests.support.client import Client, path, refused

pytestmark = pytest.mark.parametrize("place", [TWO_CELLS], indirect=True)


@pytest.fixture
async def neighbours(newcomer: Newcomer) -> tuple[Client, Client]:
    """Two people of cn, each in another cell."""
    first, second = await newcomer("alice", "cn"), await newcomer("anna", "cn")
    assert second.cell != first.cell
    return first, second


async def test_neighbours_of_two_cells_and_somebody_abroad_chat(
    neighbours: tuple[Client, Client], newcomer: Newcomer
) -> None:
    alice, anna = neighbours
    carol = await newcomer("carol", "ru")
    assert alice.user_id.endswith(":cn.localhost")
    assert anna.user_id.endswith(":cn.localhost")
    room = await alice.create_room(name="Courtyard", invite=[anna.user_id, carol.user_id])
    for guest in (anna, carol):
        await guest.accept(room)
    said = [await person.send(room, person.name) for _ in range(2) for person in (anna, carol, alice)]
    for person in (alice, anna, carol):
        for event_id in said:
            await person.sees(room, event_id)
        assert await person.texts(room) == [anna.name, carol.name, alice.name] * 2
        assert set(await person.joined_members(room)) == {alice.user_id, anna.user_id, carol.user_id}
        assert await person.get_state(room, "m.room.name") == {"name": "Courtyard"}


async def test_power_reaches_the_other_cell(neighbours: tuple[Client, Client]) -> None:
    alice, anna = neighbours
    room = await alice.create_room(preset="public_chat")
    await anna.join(room)
    said = await anna.send(room, "take this back")
    await alice.redact(room, said)
    await anna.until(lambda: any(event["type"] == "m.room.redaction" for event in anna.timeline[room]), "the redaction")
    assert (await anna.event(room, said))["content"] == {}
    await alice.ban(room, anna)
    await anna.until(lambda: anna.membership(room) == "ban", "the ban")
    with refused("M_FORBIDDEN"):
        await anna.join(room)


async def test_each_signs_in_where_they_are_at_home(neighbours: tuple[Client, Client]) -> None:
    for person in neighbours:
        again = await person.another_device()
        assert (again.user_id, again.cell) == (person.user_id, person.cell)
        other = next(each for each in neighbours if each is not person)
        shown = await person.ok("GET", path("profile", other.user_id))
        assert isinstance(shown, dict)


async def test_neighbours_of_two_cells_give_take_and_find_aliases(
    neighbours: tuple[Client, Client], newcomer: Newcomer
) -> None:
    """Enough of them that either cell keeps what some of the other's stand for."""
    alice, anna = neighbours
    carol = await newcomer("carol", "ru")
    room = await alice.create_room(preset="public_chat", visibility="public", name=f"Courtyard of {alice.name}")
    await anna.join(room)
    names = {f"#{person.name}-{n}:cn.localhost": person for n in range(4) for person in neighbours}
    for alias, person in names.items():
        await person.ok("PUT", path("directory", "room", alias), {"room_id": room})
        with refused("M_UNKNOWN", status=409):
            await (anna if person is alice else alice).ok("PUT", path("directory", "room", alias), {"room_id": room})
    for person in (alice, anna, carol):
        for alias in names:
            assert (await person.ok("GET", path("directory", "room", alias)))["room_id"] == room
    for person in neighbours:
        assert (await person.ok("GET", path("rooms", room, "aliases")))["aliases"] == sorted(names)
    await anna.sees(room, await alice.set_state(room, "m.room.canonical_alias", {"alt_aliases": list(names)}))
    search = {"filter": {"generic_search_term": f"Courtyard of {alice.name}"}}
    for person in (alice, anna, carol):
        (entry,) = (await person.ok("POST", "/publicRooms", search, query={"server": "cn.localhost"}))["chunk"]
        assert (entry["room_id"], entry["num_joined_members"]) == (room, 2)
    for alias, person in names.items():  # each her own, and alice, who may name the room, some of anna's
        taker = person if alias.endswith(("0:cn.localhost", "1:cn.localhost")) else alice
        await taker.ok("DELETE", path("directory", "room", alias))
        with refused("M_NOT_FOUND"):
            await carol.ok("GET", path("directory", "room", alias))
    assert (await anna.ok("GET", path("rooms", room, "aliases"))) == {"aliases": []}


async def test_an_alias_outlives_its_creator_also_where_another_cell_knows_what_it_stands_for(
    neighbours: tuple[Client, Client],
) -> None:
    alice, anna = neighbours
    room = await alice.create_room(preset="public_chat")
    await anna.join(room)
    names = [f"#{anna.name}-left-{n}:cn.localhost" for n in range(6)]
    for alias in names:
        await anna.ok("PUT", path("directory", "room", alias), {"room_id": room})
    await anna.deactivate(erase=True)
    async with asyncio.timeout(15):
        while (await alice.ok("GET", path("rooms", room, "aliases")))["aliases"]:
            await asyncio.sleep(0.05)
    for alias in names:
        assert (await alice.ok("GET", path("directory", "room", alias)))["room_id"] == room
        await alice.ok("PUT", path("directory", "room", alias), {"room_id": room})
    assert (await alice.ok("GET", path("rooms", room, "aliases")))["aliases"] == names
