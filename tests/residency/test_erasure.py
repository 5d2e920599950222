"""An erased person cannot be read again, not even out of yesterday's backup; everybody else can."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.client import Client, path, refused
from tests.support.process import NodeProcess, run

SECRET = "the third brick from the left is loose"
PLAIN = "the persimmons are ripe"
ERASED_WITHIN_S = 20.0


async def hutong(node: NodeProcess, *arguments: str | Path) -> None:
    status, output = await run(node, *arguments)
    assert status == 0, output


async def unreadable(reader: Client, room: str, event_id: str, author: Client) -> None:
    """Nothing of what `author` wrote, nor of who they were, is told to `reader`, in any way there is."""
    event = await reader.event(room, event_id)
    assert event["content"] == {}
    assert event["sender"] != author.user_id
    told = json.dumps([await reader.history(room), await reader.sync(), list((await reader.all_state(room)).values())])
    assert SECRET not in told
    assert author.user_id not in told


async def until_erased(reader: Client, room: str, event_id: str) -> None:
    async with asyncio.timeout(ERASED_WITHIN_S):
        while (await reader.event(room, event_id))["content"] != {}:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("region", ["cn", "ru"], ids=["at home with the room", "abroad"])
async def test_a_backup_from_before_does_not_bring_an_erased_person_back(
    node_process: NodeProcess, tmp_path: Path, region: str
) -> None:
    node = await node_process.start()
    anna, olga = await node.register("anna", "cn"), await node.register("olga", "ru")
    erased = await node.register("gone", region)
    neighbour = anna if region == "cn" else olga
    room = await anna.create_room(preset="public_chat")
    for person in (olga, erased):
        await person.join(room)
    alias = path("directory", "room", f"#{SECRET}:{region}.localhost")
    await erased.ok("PUT", alias, {"room_id": room})
    secret = await erased.send(room, SECRET)
    plain = await neighbour.send(room, PLAIN)
    for person in (anna, olga):
        assert (await person.sees(room, secret))["content"]["body"] == SECRET
        await person.sees(room, plain)

    backup = tmp_path / "yesterday.hutong"
    await hutong(node, "region", "backup", region, backup)
    await erased.deactivate(erase=True)
    for person in (anna, olga):
        await until_erased(person, room, secret)
        await unreadable(person, room, secret, erased)
        assert (await person.event(room, plain))["content"]["body"] == PLAIN
    assert await neighbour.ok("GET", path("rooms", room, "aliases")) == {"aliases": []}

    assert await node.terminate() == 0
    await hutong(node, "region", "restore", region, backup, "--yes")
    await node.start()
    for person in (anna, olga):
        await unreadable(person, room, secret, erased)
        assert (await person.event(room, plain))["content"]["body"] == PLAIN
        assert (await person.ok("GET", alias))["room_id"] == room, "still found, by who knows the alias"
    assert await neighbour.ok("GET", path("rooms", room, "aliases")) == {"aliases": []}
    with refused("M_FORBIDDEN"):
        await erased.another_device()
    with refused("M_UNKNOWN_TOKEN"):
        await erased.joined_rooms()
    said = await neighbour.send(room, "and life goes on")
    assert (await neighbour.sees(room, said))["content"]["body"] == "and life goes on"


async def test_regions_that_copy_a_restored_room_go_on_with_it(node_process: NodeProcess, tmp_path: Path) -> None:
    node = await node_process.start()
    anna, olga = await node.register("anna", "cn"), await node.register("olga", "ru")
    room = await anna.create_room(preset="public_chat")
    await olga.join(room)
    await hutong(node, "region", "backup", "cn", tmp_path / "yesterday.hutong")
    await olga.sees(room, await anna.send(room, "lost with the database"))
    assert await node.terminate() == 0
    await hutong(node, "region", "restore", "cn", tmp_path / "yesterday.hutong", "--yes")
    await node.start()
    said = await anna.send(room, "and life goes on")
    assert (await olga.sees(room, said))["content"]["body"] == "and life goes on"


async def test_who_only_leaves_takes_nothing_away(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, PLAIN)
    await bob.deactivate(erase=False)
    async with asyncio.timeout(ERASED_WITHIN_S):
        while (await alice.members(room))[bob.user_id] != "leave":
            await asyncio.sleep(0.1)
    assert (await alice.event(room, said))["content"]["body"] == PLAIN
