"""A healthy region restarts while another is cut off: of what it left out it knows by its tables alone."""

import itertools

import aiohttp
import pytest

from hutong import config
from hutong.cells.link import Fault, InProcessLinks
from hutong.ids import CellNo
from tests.conftest import CHEAP_PASSWORDS, LIMITS_OFF, newcomers
from tests.support.client import Http
from tests.support.openapi import Contract
from tests.support.places import data_folder, free_ports
from tests.support.ways import CN, EU, RU, Ways


def cut_off(cell: int) -> InProcessLinks:
    """Ways on which nobody has ever reached `cell`."""
    links = InProcessLinks()
    for other in {CN, EU, RU} - {cell}:
        for src, dest in itertools.permutations((CellNo(cell), CellNo(other))):
            links.faults[src, dest] = Fault(cut=True)
    return links


@pytest.mark.parametrize("noticed", [True, False])
async def test_what_was_left_out_around_a_restart_is_told_afterwards(
    session: aiohttp.ClientSession, contract: Contract | None, noticed: bool
) -> None:
    with data_folder("restart") as folder:
        settings = folder / "hutong.toml"
        settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        await lives(config.load(settings, {}, data=folder / "data", port=free_ports()), session, contract, noticed)


async def lives(
    settings: config.Config, session: aiohttp.ClientSession, contract: Contract | None, noticed: bool
) -> None:
    from hutong.node import start

    node = await start(settings)
    try:
        http = Http(session, node.base_url, contract)
        newcomer = newcomers(node, http)
        alice, bob, carol = [
            await newcomer(name, region) for name, region in (("alice", "cn"), ("bob", "eu"), ("carol", "ru"))
        ]
        room = await alice.create_room(preset="public_chat", name="Courtyard")
        tea = await alice.create_room(name="Tea house", invite=[carol.user_id])
        house = await carol.create_room(preset="public_chat", name="House")
        for person in (bob, carol):
            await person.join(room)
        said = [await alice.send(room, "1 cn"), await bob.send(room, "2 eu"), await carol.send(room, "3 ru")]
        for person in (alice, bob, carol):
            for event_id in said:
                await person.sees(room, event_id)
        await carol.until(lambda: tea in carol.invitations, "the invitation")
        mark = await carol.send(house, "mine")
        await carol.sees(house, mark)
        ways = Ways(node)
        if noticed:
            await ways.cut_and_noticed(CN)
            before = await carol.another_device()
            await before.poll()
    finally:
        await node.stop()

    links = cut_off(CN)
    node = await start(settings, links=links)
    try:
        ways = Ways(node)
        assert ways.is_cut(CellNo(RU), CellNo(CN)) is noticed
        newly = await carol.another_device()
        body = await newly.poll()
        assert ("m.room.name", "") not in newly.state[room], "the first sync has holes"
        assert newly.invitations[tea] == []
        assert ways.is_cut(CellNo(RU), CellNo(CN))
        assert "rooms" not in await newly.sync(newly.since), "nobody is held up at what is left out"
        await carol.send(house, "meanwhile")
        ways.heal()
        await ways.healed()
        told = [newly, carol, before] if noticed else [newly, carol]
        for device in told:
            body = await device.poll()
            assert house in body["rooms"]["join"]
            assert {e["type"] for e in device.invitations[tea]} >= {"m.room.name", "m.room.member"}
            held = {key: event["event_id"] for key, event in device.state[room].items()}
            assert held == {key: event["event_id"] for key, event in (await bob.all_state(room)).items()}
            line = body["rooms"]["join"][room]["timeline"]
            assert [e["content"].get("body") for e in line["events"]][-3:] == ["1 cn", "2 eu", "3 ru"]
            assert "rooms" not in await device.sync(device.since), "once is enough"
    finally:
        await node.stop()
