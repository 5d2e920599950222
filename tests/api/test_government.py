"""A room governs itself by what its state says, whoever said it and wherever they are now; across regions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from hutong.ids import CellNo, event_id_bytes
from hutong.rooms.event_types import Membership
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused
from tests.support.ways import CN, Ways

if TYPE_CHECKING:
    from hutong.node import Node

ERASED_WITHIN_S = 20.0
RU = CellNo(768)
LEVELS = "m.room.power_levels"


async def until_erased(reader: Client, room: str, person: Client) -> None:
    """Wait until nothing in the room's state is said by `person` any more."""
    async with asyncio.timeout(ERASED_WITHIN_S):
        while any(event["sender"] == person.user_id for event in (await reader.all_state(room)).values()):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def cut(node: "Node", cell: CellNo) -> AsyncIterator[None]:
    """`cell` cannot be reached, nor reach anybody, and everybody knows."""
    ways = Ways(node)
    await ways.cut_and_noticed(cell)
    try:
        yield
    finally:
        await ways.healed()


@pytest.fixture(params=["cn", "ru"], ids=["at home with the room", "abroad"])
async def author(request: pytest.FixtureRequest, newcomer: Newcomer) -> Client:
    """Who writes the power levels, and is erased."""
    return await newcomer("author", request.param)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_the_author_of_the_power_levels_is_erased_and_the_room_still_governs_itself(
    alice: Client, bob: Client, author: Client, newcomer: Newcomer, version: str
) -> None:
    """Alice of cn makes the room; the author gives bob of eu 50 and asks 30 of who sets a topic; then they are gone."""
    dana = await newcomer("dana", "ru")
    room = await alice.create_room(preset="public_chat", room_version=version)
    for person in (author, bob, dana):
        await person.join(room)
    held = await alice.get_state(room, LEVELS)
    await author.sees(room, await alice.set_state(room, LEVELS, held | with_users(held, {author.user_id: 100})))
    ruled: Json = held | with_users(held, {bob.user_id: 50, dana.user_id: 10, author.user_id: 100})
    ruled["events"] = {**held["events"], "m.room.topic": 30, "org.example.own": 60}
    told = await author.set_state(room, LEVELS, ruled)
    for person in (alice, bob, dana):
        await person.sees(room, told)
    await author.deactivate(erase=True)
    for person in (alice, bob, dana):
        await until_erased(person, room, author)

    # What the rules say is shown in every region, without a word of who wrote them.
    for person in (alice, bob, dana):
        shown = (await person.all_state(room))[LEVELS, ""]
        assert shown["event_id"] == told
        users = shown["content"]["users"]
        assert (users[bob.user_id], users[dana.user_id]) == (50, 10)
        assert author.user_id not in users
        assert shown["content"]["events"]["m.room.topic"] == 30
        assert author.user_id not in (shown["sender"], *shown["content"])
        # The type that the author alone had a word for is gone with them; that it takes 60 is not.
        assert "org.example.own" not in shown["content"]["events"]

    # And what they say holds, in every region.
    with refused("M_FORBIDDEN", naming="power level 30"):
        await dana.set_state(room, "m.room.topic", {"topic": "mine"})
    with refused("M_FORBIDDEN", naming="power level 60"):
        await bob.set_state(room, "org.example.own", {})
    topic = await bob.set_state(room, "m.room.topic", {"topic": "bob's"})
    await dana.sees(room, topic)
    said = await dana.send(room, "take this back")
    await bob.sees(room, said)
    await dana.sees(room, await bob.redact(room, said))
    assert (await dana.event(room, said))["content"] == {}

    # The next levels are judged by those of the erased.
    for person, users in ((bob, {bob.user_id: 51, dana.user_id: 10}), (dana, {dana.user_id: 100})):
        with refused("M_FORBIDDEN"):
            await person.set_state(room, LEVELS, ruled | {"users": users})
    now = await alice.get_state(room, LEVELS)
    changed = await alice.set_state(room, LEVELS, {**now, "users": {**now["users"], dana.user_id: 40}})
    await dana.sees(room, changed)
    await bob.sees(room, await dana.set_state(room, "m.room.topic", {"topic": "dana's now"}))
    await bob.kick(room, dana)
    assert (await alice.members(room))[dana.user_id] == "leave"


def with_users(held: Json, more: dict[str, int]) -> Json:
    return {"users": {**held.get("users", {}), **more}}


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_moderator_abroad_redacts_somebody_whose_region_has_no_member_left(
    node: "Node", alice: Client, bob: Client, carol: Client, version: str
) -> None:
    """The room is at home in cn, bob moderates from eu, and carol's words lie in ru, which she was alone to be in."""
    room = await alice.create_room(preset="public_chat", room_version=version)
    await bob.join(room)
    held = await alice.get_state(room, LEVELS)
    await bob.sees(room, await alice.set_state(room, LEVELS, held | with_users(held, {bob.user_id: 50})))
    await carol.join(room)
    said = await carol.send(room, "a word she will not get back")
    await bob.sees(room, said)
    await carol.leave(room)
    await bob.until(lambda: bob.membership(room, carol) == "leave", "carol's leaving")
    raw = event_id_bytes(said)
    assert raw is not None
    home = node.cells[RU].reads
    assert raw in await home.contents([raw])

    redaction = await bob.redact(room, said, reason="not here")
    for person in (alice, bob):
        await person.sees(room, redaction)
        assert (await person.event(room, said))["content"] == {}
    async with asyncio.timeout(ERASED_WITHIN_S):
        while raw in await home.contents([raw]):
            await asyncio.sleep(0.05)
    assert "a word she will not get back" not in await carol.texts(room)
    await carol.join(room)
    assert (await carol.event(room, said))["content"] == {}


async def test_a_moderator_abroad_redacts_somebody_of_a_region_without_members_while_it_is_cut(
    node: "Node", alice: Client, bob: Client, carol: Client, room: str
) -> None:
    """Everybody else takes it as gone at once; the words themselves go when their home hears of it."""
    held = await alice.get_state(room, LEVELS)
    await bob.sees(room, await alice.set_state(room, LEVELS, held | with_users(held, {bob.user_id: 50})))
    await carol.join(room)
    said = await carol.send(room, "soon gone")
    await bob.sees(room, said)
    await alice.sees(room, said)
    await carol.leave(room)
    await bob.until(lambda: bob.membership(room, carol) == "leave", "carol's leaving")
    raw = event_id_bytes(said)
    assert raw is not None
    async with cut(node, RU):
        redaction = await bob.redact(room, said)
        await alice.sees(room, redaction)
        assert raw in await node.cells[RU].reads.contents([raw])
        for person in (alice, bob):
            shown = [event for event in await person.history(room, page=100) if event["event_id"] == said]
            assert [event["content"] for event in shown] in ([], [{}])
    async with asyncio.timeout(ERASED_WITHIN_S):
        while raw in await node.cells[RU].reads.contents([raw]):
            await asyncio.sleep(0.05)
    assert "soon gone" not in await carol.texts(room)


async def test_who_is_only_out_of_reach_is_not_called_erased(
    node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    """The author of the power levels is erased, and carol, whom they name, cannot be asked for her name just now."""
    held = await alice.get_state(lane, LEVELS)
    await bob.sees(lane, await alice.set_state(lane, LEVELS, held | with_users(held, {bob.user_id: 100})))
    await alice.sees(lane, await bob.set_state(lane, LEVELS, held | with_users(held, {carol.user_id: 7})))
    await bob.deactivate(erase=True)
    await until_erased(alice, lane, bob)
    assert (await alice.get_state(lane, LEVELS))["users"] == {carol.user_id: 7}
    cn = node.cells[CellNo(alice.cell)]
    room = cn.view.room_no(lane)
    assert room is not None
    for member in await cn.reads.members(room, [Membership.JOIN]):
        cn.names.drop(room, member.ref)  # as after a restart
    async with cut(node, RU):
        assert (LEVELS, "") not in await alice.all_state(lane)
        with refused("M_UNKNOWN", status=503):
            await alice.get_state(lane, LEVELS)
        assert (await alice.set_state(lane, "m.room.topic", {"topic": "on we go"})).startswith("$")
    assert (await alice.get_state(lane, LEVELS))["users"] == {carol.user_id: 7}


async def test_a_creator_of_version_12_is_erased_and_nobody_takes_their_place(
    newcomer: Newcomer, bob: Client, carol: Client
) -> None:
    """Levels above everybody die with a creator; who was given a level keeps it, and gets no more."""
    founder = await newcomer("founder", "cn")
    room = await founder.create_room(
        preset="public_chat", room_version="12", power_level_content_override={"users": {bob.user_id: 100}}
    )
    for person in (bob, carol):
        await person.join(room)
    await founder.deactivate(erase=True)
    for person in (bob, carol):
        await until_erased(person, room, founder)
    assert (await carol.get_state(room, "m.room.create"))["room_version"] == "12"
    held = await bob.get_state(room, LEVELS)
    with refused("M_FORBIDDEN"):
        await bob.set_state(room, LEVELS, held | with_users(held, {bob.user_id: 101}))
    with refused("M_FORBIDDEN"):
        await bob.set_state(room, "m.room.tombstone", {"body": "over", "replacement_room": room})  # takes 150
    await carol.sees(room, await bob.set_state(room, LEVELS, held | with_users(held, {carol.user_id: 50})))
    await bob.sees(room, await carol.set_state(room, "m.room.name", {"name": "ours"}))


async def test_order_is_kept_among_people_who_are_out_of_reach(
    node: "Node", newcomer: Newcomer, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    """Ru is cut off. Carol, whose name was heard in the room, is judged all the same; a stranger to it is not."""
    dana, stranger = await newcomer("dana", "ru"), await newcomer("stranger", "ru")
    await dana.join(lane)
    for person in (carol, dana):
        await alice.sees(lane, await person.send(lane, "here"))
    held = await alice.get_state(lane, LEVELS)
    async with cut(node, RU):
        told = await alice.set_state(lane, LEVELS, held | with_users(held, {carol.user_id: 5, dana.user_id: 5}))
        await alice.ban(lane, dana, reason="for now")
        await alice.kick(lane, carol)
        for verb, body in (("invite", {"user_id": stranger.user_id}), ("ban", {"user_id": stranger.user_id})):
            answer = await alice.post(path("rooms", lane, verb), body)
            assert (answer.status, answer.body["hutong.region"]) == (503, "ru")
        answer = await alice.put(path("rooms", lane, "state", LEVELS), held | with_users(held, {stranger.user_id: 5}))
        assert (answer.status, answer.body["hutong.region"]) == (503, "ru")
        await bob.sees(lane, told)
    await carol.until(lambda: carol.membership(lane) == "leave", "the kick")
    await dana.until(lambda: dana.membership(lane) == "ban", "the ban")
    assert (await bob.get_state(lane, LEVELS))["users"][carol.user_id] == 5


async def test_a_kick_that_crosses_a_ban_leaves_the_ban(
    newcomer: Newcomer, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    """carol abroad kicks whom alice bans just then: to the room's home her leave would be an unban."""
    held = await alice.get_state(lane, LEVELS)
    await alice.set_state(lane, LEVELS, held | with_users(held, {carol.user_id: 50}))
    await carol.until(lambda: carol.state[lane].get((LEVELS, "")), "her level")
    await carol.until(lambda: carol.membership(lane, bob) == "join", "bob")
    ways.one(CN, RU, cut=True)  # nothing tells her of the ban
    await alice.ban(lane, bob)
    with refused("M_FORBIDDEN", status=403):
        await carol.kick(lane, bob)
    assert (await alice.get_state(lane, "m.room.member", bob.user_id))["membership"] == "ban"
