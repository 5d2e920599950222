"""Which members a client is told of that loads them lazily. Client-Server API v1.19, "Lazy-loading room members"."""

import asyncio
from typing import Any

import pytest

from tests.api.test_sync import eventually, joined, kinds
from tests.conftest import Newcomer
from tests.support.client import Client, Json

LAZY = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 3}}}
REDUNDANT = {
    "room": {"state": {"lazy_load_members": True, "include_redundant_members": True}, "timeline": {"limit": 3}}
}


def members(body: Json, room: str, part: str = "state") -> set[str]:
    """Whose membership an answer tells beside the timeline."""
    events = body["rooms"]["join"][room].get(part, {}).get("events", [])
    return {key for type, key in kinds(events) if type == "m.room.member"}


def speakers(body: Json, room: str) -> set[str]:
    return {event["sender"] for event in body["rooms"]["join"][room]["timeline"]["events"]}


@pytest.fixture(scope="module")
async def crowd(newcomer: Newcomer) -> list[Client]:
    """Seven people, more than a summary names."""
    return [await newcomer(name, "cn") for name in ("ada", "bo", "cai", "dot", "eve", "fay", "gu")]


@pytest.fixture
async def hall(alice: Client, crowd: list[Client]) -> str:
    """A room of alice's that all of them have joined, one after the other."""
    room = await alice.create_room(preset="public_chat")
    for person in crowd:
        await person.join(room)
    for number in range(4):
        await alice.send(room, f"filler {number}")
    return room


async def test_at_first_those_who_speak_and_the_heroes_and_oneself(
    alice: Client, crowd: list[Client], hall: str
) -> None:
    await crowd[6].send(hall, "hello")
    body = await crowd[5].sync(filter=LAZY)
    heroes = joined(body, hall)["summary"]["m.heroes"]
    assert heroes == [person.user_id for person in (alice, *crowd[:4])]
    assert members(body, hall) == {*heroes, crowd[5].user_id, crowd[6].user_id}
    everybody = await crowd[5].sync(filter={"room": {"timeline": {"limit": 3}}})
    assert members(everybody, hall) == {person.user_id for person in (alice, *crowd)}


async def test_who_joins_is_told_of_themselves(newcomer: Newcomer, alice: Client, hall: str) -> None:
    dave = await newcomer("dave", "cn")
    since = (await dave.sync(filter=LAZY))["next_batch"]
    await dave.join(hall)
    for number in range(4):
        await alice.send(hall, f"welcome {number}")
    body = await dave.sync(since, filter=LAZY)
    assert dave.user_id in members(body, hall)
    again = await dave.sync(body["next_batch"], filter=LAZY, full_state="true")
    assert dave.user_id in members(again, hall)


async def test_each_member_is_told_once_unless_redundancy_is_asked_for(
    alice: Client, crowd: list[Client], hall: str
) -> None:
    since = (await alice.sync(filter=LAZY))["next_batch"]
    seen = []
    for _ in range(2):
        await crowd[6].send(hall, "hello")
        body = await alice.sync(since, filter=LAZY)
        seen.append(members(body, hall))
        redundant = await alice.sync(since, filter=REDUNDANT)
        assert members(redundant, hall) == {crowd[6].user_id}
        since = body["next_batch"]
        await alice.sync(since, filter=LAZY)
    assert seen[0] == {crowd[6].user_id}
    assert seen[1] in (set(), {crowd[6].user_id})  # the answer with redundant ones in between may have made it forget


async def test_what_another_filter_was_told_is_not_redundant(alice: Client, crowd: list[Client], hall: str) -> None:
    since = (await alice.sync(filter=LAZY))["next_batch"]
    await crowd[6].send(hall, "hello")
    await alice.send(hall, "hello yourself")
    wide = await alice.sync(since, filter=LAZY)
    assert members(wide, hall) == {crowd[6].user_id}
    one = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
    narrow = await alice.sync(since, filter=one)
    assert narrow["next_batch"] == wide["next_batch"]
    await crowd[6].send(hall, "and again")
    assert members(await alice.sync(narrow["next_batch"], filter=one), hall) == {crowd[6].user_id}


@pytest.mark.parametrize("full_state", ["false", "true"])
@pytest.mark.parametrize("anew", [False, True], ids=["session", "no session"])
async def test_a_gap_tells_of_every_membership_that_changed_in_it(
    alice: Client, crowd: list[Client], hall: str, full_state: str, anew: bool
) -> None:
    other = await alice.another_device()
    body = await alice.sync(filter=LAZY)
    await crowd[0].leave(hall)
    await crowd[1].put(f"/profile/{crowd[1].user_id}/displayname", {"displayname": "Bo"})
    for number in range(5):
        await alice.send(hall, f"filler {number}")
    reader = other if anew else alice
    gap = await reader.sync(body["next_batch"], filter=LAZY, full_state=full_state)
    there = joined(gap, hall)
    assert there["timeline"]["limited"]
    assert {crowd[0].user_id, crowd[1].user_id} <= members(gap, hall)
    assert there["summary"]["m.joined_member_count"] == 7


async def test_a_gap_over_ones_own_absence_tells_of_them_too(alice: Client, crowd: list[Client], hall: str) -> None:
    reader = crowd[5]
    since = (await reader.sync(filter=LAZY))["next_batch"]
    await crowd[0].leave(hall)
    await reader.leave(hall)
    await crowd[1].leave(hall)
    await reader.join(hall)
    for number in range(5):
        await alice.send(hall, f"filler {number}")
    body = await reader.sync(since, filter=LAZY)
    assert {crowd[0].user_id, crowd[1].user_id, reader.user_id} <= members(body, hall)


@pytest.mark.parametrize("part", ["state", "state_after"])
async def test_every_speaker_is_known_to_a_client_that_adds_up(
    alice: Client, crowd: list[Client], hall: str, part: str
) -> None:
    query: Any = {"filter": LAZY, "use_state_after": str(part == "state_after").lower()}
    body = await alice.sync(**query)
    known = members(body, hall, part)
    for step in range(12):
        person = crowd[step * 5 % 7]
        if step % 4 == 3:
            await person.put(f"/profile/{person.user_id}/displayname", {"displayname": f"{part} {step}"})
        else:
            await person.send(hall, f"step {step}")
        async with asyncio.timeout(15):
            body = await eventually(alice, body["next_batch"], lambda body: body.get("rooms"), **query)
        known |= members(body, hall, part)
        if part == "state":
            known |= {key for type, key in kinds(joined(body, hall)["timeline"]["events"]) if type == "m.room.member"}
        assert speakers(body, hall) <= known


@pytest.mark.parametrize("anew", [False, True], ids=["on", "anew"])
async def test_members_beside_a_filtered_timeline_are_as_at_its_end(
    alice: Client, crowd: list[Client], hall: str, anew: bool
) -> None:
    """The timeline leaves the change of a name out, so that the state has to tell it."""
    filter = {"room": {"state": {"lazy_load_members": True}, "timeline": {"types": ["m.room.message"]}}}
    body = await alice.sync(filter=filter)
    await crowd[6].send(hall, "hello")
    await crowd[6].set_state(hall, "m.room.member", {"membership": "join", "displayname": "Gu"}, crowd[6].user_id)
    told = await alice.sync(None if anew else body["next_batch"], filter=filter)
    names = {
        event["state_key"]: event["content"].get("displayname")
        for event in joined(told, hall)["state"]["events"]
        if event["type"] == "m.room.member"
    }
    assert names[crowd[6].user_id] == "Gu"
