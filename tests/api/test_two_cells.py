"""A region of two cells is one region: people of both meet like neighbours, so growing is a matter of adding cells."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiohttp
import pytest

from hutong import config
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF, Newcomer, newcomers
from tests.support.client import Client, Http, path, refused
from tests.support.openapi import Contract
from tests.support.places import data_folder, free_ports

if TYPE_CHECKING:
    from hutong.node import Node

REGIONS = """
[regions.cn]
number = 1
server_name = "cn.localhost"
[[regions.cn.cells]]
[[regions.cn.cells]]
[regions.ru]
number = 3
server_name = "ru.localhost"
"""
PEOPLE_MAX = 40


@pytest.fixture(scope="module")
async def node() -> AsyncIterator["Node"]:
    from hutong.node import start

    with data_folder("two-cells") as folder:
        settings = folder / "hutong.toml"
        settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS + REGIONS)
        running = await start(config.load(settings, {}, data=folder / "data", port=free_ports(1)))
        try:
            yield running
        finally:
            await running.stop()


@pytest.fixture(scope="module")
def http(node: "Node", session: aiohttp.ClientSession, contract: Contract | None) -> Http:
    return Http(session, node.base_url, contract)


@pytest.fixture(scope="module")
def newcomer(http: Http) -> Newcomer:
    return newcomers(http)


def cell_of(person: Client) -> str:
    """The index of the cell that a token names."""
    return person.token.split(".")[2]


@pytest.fixture
async def neighbours(newcomer: Newcomer) -> tuple[Client, Client]:
    """Two people of cn, each in another cell."""
    first = await newcomer("alice", "cn")
    for _ in range(PEOPLE_MAX):
        second = await newcomer("anna", "cn")
        if cell_of(second) != cell_of(first):
            return first, second
    raise AssertionError(f"{PEOPLE_MAX} newcomers, all in one cell")


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
        assert (again.user_id, cell_of(again)) == (person.user_id, cell_of(person))
        other = next(each for each in neighbours if each is not person)
        shown = await person.ok("GET", path("profile", other.user_id))
        assert isinstance(shown, dict)
