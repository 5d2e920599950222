"""What was said around an event. Client-Server API v1.19, "Event Context"."""

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, ageless, path, refused
from tests.support.ways import CN, EU, Ways, forget_words

if TYPE_CHECKING:
    from hutong.node import Node


async def context(person: Client, room: str, event_id: str, **query: object) -> Json:
    return dict(await person.ok("GET", path("rooms", room, "context", event_id), query=query))


def bodies(events: list[Json]) -> list[str]:
    return [event["content"]["body"] for event in events]


async def ten(person: Client, room: str) -> list[str]:
    return [await person.send(room, f"{n}") for n in range(10)]


async def test_an_event_and_its_neighbours_on_both_sides(alice: Client, bob: Client, room: str) -> None:
    said = await ten(bob, room)
    for person in (alice, bob):
        await person.sees(room, said[-1])
        found = await context(person, room, said[5], limit=4)
        assert found["event"]["event_id"] == said[5]
        assert bodies(found["events_before"]) == ["4", "3"]
        assert bodies(found["events_after"]) == ["6", "7"]
        assert ageless(found["event"]) == ageless(await person.event(room, said[5]))
        odd = await context(person, room, said[5], limit=3)
        assert (bodies(odd["events_before"]), bodies(odd["events_after"])) == (["4"], ["6", "7"])
        assert {event["room_id"] for event in found["events_before"] + found["state"]} == {room}


async def test_ten_around_it_are_the_default_and_none_with_a_limit_of_zero(bob: Client, room: str) -> None:
    said = await ten(bob, room) + [await bob.send(room, "last")]
    found = await context(bob, room, said[5])
    assert bodies(found["events_before"]) == ["4", "3", "2", "1", "0"]
    assert bodies(found["events_after"]) == ["6", "7", "8", "9", "last"]
    alone = await context(bob, room, said[5], limit=0)
    assert (alone["event"]["content"]["body"], alone["events_before"], alone["events_after"]) == ("5", [], [])
    assert len((await context(bob, room, said[5], limit=10**9))["events_after"]) == 5


@pytest.mark.parametrize("limit", [0, 1, 4, 100])
async def test_its_tokens_go_on_where_it_ends(alice: Client, bob: Client, room: str, limit: int) -> None:
    said = await ten(bob, room)
    await alice.sees(room, said[-1])
    for person in (alice, bob):
        found = await context(person, room, said[5], limit=limit)
        older, newer = await on_from(person, room, "b", found["start"]), await on_from(person, room, "f", found["end"])
        whole = [*newer[::-1], *found["events_after"][::-1], found["event"], *found["events_before"], *older]
        assert [event["event_id"] for event in whole] == [e["event_id"] for e in await person.history(room, "b", 100)]


async def on_from(person: Client, room: str, dir: str, token: str | None) -> list[Json]:
    events: list[Json] = []
    while token is not None:
        page = await person.messages(room, dir, limit=100, **{"from": token})
        events += page["chunk"]
        token = page.get("end")
    return events


async def test_the_state_is_that_at_the_last_event_told(alice: Client, bob: Client, room: str) -> None:
    await alice.set_state(room, "m.room.topic", {"topic": "tea"})
    said = await alice.send(room, "which tea?")
    await alice.set_state(room, "m.room.topic", {"topic": "coffee"})
    last = await alice.set_state(room, "m.room.topic", {"topic": "water"})
    await bob.sees(room, last)

    async def topic(limit: int) -> str:
        state = (await context(bob, room, said, limit=limit))["state"]
        return next(str(event["content"]["topic"]) for event in state if event["type"] == "m.room.topic")

    assert [await topic(limit) for limit in (0, 2, 4)] == ["tea", "coffee", "water"]


async def test_lazy_members_are_those_who_speak_in_it(
    newcomer: Newcomer, alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    dave = await newcomer("dave", "cn")
    await dave.join(lane)
    said = [await person.send(lane, person.name) for person in (carol, alice, bob, dave)]
    await carol.sees(lane, said[-1])
    await alice.sees(lane, said[-1])
    lazy = {"lazy_load_members": True}

    async def members(person: Client, event_id: str, **query: object) -> set[str]:
        state = (await context(person, lane, event_id, **query))["state"]
        assert "m.room.create" in {event["type"] for event in state}
        return {event["state_key"] for event in state if event["type"] == "m.room.member"}

    for person in (alice, carol):
        assert await members(person, said[1], limit=0, filter=lazy) == {alice.user_id}
        assert await members(person, said[1], limit=2, filter=lazy) == {alice.user_id, bob.user_id, carol.user_id}
        everybody = {person.user_id for person in (alice, bob, carol, dave)}
        assert await members(person, said[1], limit=0) == everybody


async def test_a_filter_is_not_asked_about_the_event_itself(alice: Client, bob: Client, room: str) -> None:
    said = await ten(bob, room)
    await alice.sees(room, said[-1])
    other = await alice.send_event(room, "org.example.link", {"url": "mxc://example.org/tea"})
    await bob.sees(room, other)
    found = await context(bob, room, said[8], limit=6, filter={"contains_url": True})
    assert (found["event"]["event_id"], found["events_before"]) == (said[8], [])
    assert [event["event_id"] for event in found["events_after"]] == [other]
    assert found["state"] == []
    found = await context(bob, room, said[8], limit=6, filter={"types": ["m.room.n*", "org.*"]})
    assert [event["type"] for event in found["events_after"] + found["state"]] == ["org.example.link", "m.room.name"]
    nothings: tuple[Json, ...] = ({"types": []}, {"not_rooms": [room]})
    for nothing in nothings:
        found = await context(bob, room, said[8], limit=6, filter=nothing)
        assert found["events_before"] + found["events_after"] + found["state"] == []
        assert found["event"]["event_id"] == said[8]


async def test_only_what_the_reader_may_see_is_told(alice: Client, bob: Client) -> None:
    room = await alice.create_room(
        preset="public_chat",
        initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
        ],
    )
    hidden = await alice.send(room, "before bob")
    await bob.join(room)
    first = await alice.send(room, "for bob")
    await bob.sees(room, first)
    await bob.leave(room)
    after = await alice.send(room, "after bob")
    found = await context(bob, room, first, limit=100)
    assert hidden not in {event["event_id"] for event in found["events_before"]}
    assert {event["content"].get("membership") for event in found["events_after"]} == {"leave"}
    for event_id in (hidden, after):
        with refused("M_NOT_FOUND", "no such event in your sight", status=404):
            await context(bob, room, event_id)


async def test_strangers_and_strange_events_are_refused(alice: Client, bob: Client, carol: Client, room: str) -> None:
    said = await bob.send(room, "between us")
    with refused("M_FORBIDDEN", status=403):
        await context(carol, room, said)
    elsewhere = await bob.create_room()
    for event_id in ("$AAAAAAAAAAAAAAAAAAAAAA", "nonsense", await bob.send(elsewhere, "there")):
        with refused("M_NOT_FOUND", status=404):
            await context(bob, room, event_id)
    with refused("M_INVALID_PARAM", "limit", status=400):
        await context(bob, room, said, limit=-1)
    with refused("M_INVALID_PARAM", "filter", status=400):
        await context(bob, room, said, filter={"types": 5})


async def test_who_comes_from_abroad_later_sees_around_what_is_older(newcomer: Newcomer, alice: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    said = await ten(alice, room)
    carol = await newcomer("carol", "ru")
    await carol.join(room)
    last = await carol.send(room, "here I am")
    await alice.sees(room, last)
    for person in (alice, carol):
        found = await context(person, room, said[8], limit=6)
        assert bodies(found["events_before"]) == ["7", "6", "5"]
        assert [event["content"].get("body", "joined") for event in found["events_after"]] == [
            "9",
            "joined",
            "here I am",
        ]
        memberships = {event["content"].get("membership") for event in found["state"]}
        assert "join" in memberships


async def test_it_ends_before_what_cannot_be_read_now(
    node: "Node", newcomer: Newcomer, alice: Client, ways: Ways
) -> None:
    """bob's words of long ago are away with his region; a first reader gets what there is up to them."""
    room = await alice.create_room(preset="public_chat")
    bob = await newcomer("bob", "eu")
    await bob.join(room)
    await bob.send(room, "his words")
    said = [await alice.send(room, f"{n}") for n in range(3)]
    theirs = await bob.send(room, "his last words")
    await alice.sees(room, theirs)
    forget_words(node, "cn")
    await ways.cut_and_noticed(EU)
    found = await context(alice, room, said[1], limit=20)
    assert bodies(found["events_before"]) == ["0"]
    assert bodies(found["events_after"]) == ["2"]
    with refused("M_UNKNOWN", "region eu", status=503):
        await context(alice, room, theirs)
    await ways.healed()
    older = await alice.messages(room, "b", limit=1, **{"from": found["start"]})
    newer = await alice.messages(room, "f", limit=1, **{"from": found["end"]})
    assert bodies(older["chunk"] + newer["chunk"]) == ["his words", "his last words"]


@pytest.mark.parametrize("limit", [0, 1])
async def test_nothing_before_an_event_is_asked_of_no_other_region(
    bob: Client, room: str, ways: Ways, limit: int
) -> None:
    said = await ten(bob, room)
    await bob.sees(room, said[-1])
    await ways.cut_and_noticed(CN)
    found = await context(bob, room, said[5], limit=limit)
    assert (found["events_before"], bodies(found["events_after"])) == ([], ["6"][:limit])


@pytest.mark.parametrize("region", ["eu", "ru"])
async def test_its_state_is_of_a_time_that_the_reader_may_see(newcomer: Newcomer, alice: Client, region: str) -> None:
    """yan was out when the topic was secret: the page goes into that time, and its state does not tell of it."""
    hidden = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room = await alice.create_room(preset="public_chat", initial_state=[hidden])
    yan = await newcomer("yan", region)
    await yan.join(room)
    seen = await alice.send(room, "visible")
    await yan.leave(room)
    await alice.set_state(room, "m.room.topic", {"topic": "secret"})
    await alice.set_state(room, "cn.hutong.secret", {"one": 1}, "x")
    await alice.send(room, "hidden")
    await alice.set_state(room, "m.room.topic", {"topic": "for everybody"})
    await yan.join(room)
    for limit in range(12):
        told = await context(yan, room, seen, limit=limit)
        topics = [event["content"].get("topic") for event in told["state"] if event["type"] == "m.room.topic"]
        assert topics in ([], ["for everybody"]), limit
