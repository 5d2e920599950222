"""What relates to an event, page by page, and a room's threads. Client-Server API v1.19, "Relationships API"."""

import asyncio
from typing import Any

import pytest

from hutong.cells.relation_reads import DEPTH_MAX
from tests.api.test_aggregations import edit, react, refer, relates, reply
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused
from tests.support.ways import CN, Ways

V1 = "/_matrix/client/v1"
MANY = 130


async def children(person: Client, room: str, event_id: str, *kind: str, **query: Any) -> Json:
    return dict(await person.ok("GET", V1 + path("rooms", room, "relations", event_id, *kind), query=query))


async def ids(person: Client, room: str, event_id: str, *kind: str, **query: Any) -> list[str]:
    return [event["event_id"] for event in (await children(person, room, event_id, *kind, **query))["chunk"]]


async def threads(person: Client, room: str, **query: Any) -> Json:
    return dict(await person.ok("GET", V1 + path("rooms", room, "threads"), query=query))


async def roots(person: Client, room: str, **query: Any) -> list[str]:
    return [event["event_id"] for event in (await threads(person, room, **query))["chunk"]]


async def test_what_relates_to_an_event_the_youngest_first(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, "tea?")
    await alice.sees(room, said)
    related = [
        await react(alice, room, said), await reply(bob, room, said), await edit(bob, room, said, "tea!"),
        await refer(alice, room, said), await bob.send_event(room, "org.example.x", relates("org.example.kind", said)),
    ]  # fmt: skip
    quoting = await bob.send(room, "quoting", **{"m.relates_to": {"m.in_reply_to": {"event_id": said}}})
    for person in (alice, bob):
        await person.sees(room, quoting)
        found = await children(person, room, said)
        assert [event["event_id"] for event in found["chunk"]] == related[::-1]
        assert set(found) == {"chunk"}
        assert found["chunk"][-1]["content"]["m.relates_to"]["key"] == "🍵"


async def test_by_kind_and_by_type(alice: Client, bob: Client, room: str) -> None:
    said = await alice.send(room, "tea?")
    await bob.sees(room, said)
    foreign = await bob.send_event(room, "org.example.x", relates("org.example.kind", said))
    other = await bob.send_event(room, "org.example.y", relates("org.example.kind", said))
    message = await bob.send(room, "also", **relates("org.example.kind", said))
    note = await refer(bob, room, said)
    named_alike = await bob.send_event(room, "org.example.x", relates("m.room.message", said))
    theirs = await edit(bob, room, said, "not mine")
    mine = await edit(alice, room, said, "mine")
    for person in (alice, bob):
        await person.sees(room, mine)
        await person.sees(room, named_alike)
        for kind, expected in {
            ("org.example.kind",): [message, other, foreign],
            ("org.example.kind", "org.example.x"): [foreign],
            ("org.example.kind", "m.room.message"): [message],
            ("m.reference",): [note],
            ("m.reference", "m.room.message"): [],
            ("m.room.message",): [named_alike],
            ("m.annotation",): [],
            ("org.example.nothing", "org.example.nothing"): [],
        }.items():
            assert await ids(person, room, said, *kind) == expected, (person.name, kind)
        assert set(await ids(person, room, said, "m.replace")) == {theirs, mine}


async def test_pages_in_either_direction_with_tokens_of_any_endpoint(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, "tea?")
    before = (await bob.sync())["next_batch"]
    related = [await refer(bob, room, said) for _ in range(7)]
    middle = (await bob.sync())["next_batch"]
    related += [await refer(bob, room, said) for _ in range(3)]
    await alice.sees(room, related[-1])
    for person in (alice, bob):
        for order, expected in (("b", related[::-1]), ("f", related)):
            for limit in (1, 3, 10):
                got: list[str] = []
                token: str | None = None
                while True:
                    page = await children(person, room, said, dir=order, limit=limit, **{"from": token})
                    assert page.get("prev_batch") == token
                    got += [event["event_id"] for event in page["chunk"]]
                    token = page.get("next_batch")
                    if token is None:
                        break
                    assert len(page["chunk"]) == limit
                assert got == expected
    assert await ids(bob, room, said, **{"from": middle}) == related[6::-1]
    assert await ids(bob, room, said, to=middle) == related[:6:-1]
    assert await ids(bob, room, said, dir="f", **{"from": middle}) == related[7:]
    assert await ids(bob, room, said, dir="f", to=middle) == related[:7]
    assert await ids(bob, room, said, **{"from": before}) == []
    assert await ids(bob, room, said, **{"from": before, "to": middle}) == []
    page = await bob.messages(room, "b", limit=3)
    assert await ids(bob, room, said, **{"from": page["end"]}) == related[6::-1]


async def test_the_order_is_the_rooms_and_not_the_kinds(bob: Client, room: str) -> None:
    said = await bob.send(room, "tea?")
    related = []
    for n in range(4):
        related += [await refer(bob, room, said), await react(bob, room, said, f"{n}"), await reply(bob, room, said)]
    assert await ids(bob, room, said, limit=5) == related[:-6:-1]
    assert await ids(bob, room, said, limit=5, dir="f") == related[:5]


async def test_recursion_follows_relations_to_its_depth_and_says_it(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, "root")
    chain = [await refer(bob, room, said)]
    for _ in range(DEPTH_MAX + 1):
        chain.append(await refer(bob, room, chain[-1]))
    await alice.sees(room, chain[-1])
    for person in (alice, bob):
        found = await children(person, room, said, recurse=True)
        assert found["recursion_depth"] == DEPTH_MAX >= 3
        assert [event["event_id"] for event in found["chunk"]] == chain[:DEPTH_MAX][::-1]
        direct = await children(person, room, said, recurse=False)
        assert [event["event_id"] for event in direct["chunk"]] == chain[:1]
        assert "recursion_depth" not in await children(person, room, said)


async def test_recursion_goes_only_through_what_passes(alice: Client, bob: Client, room: str) -> None:
    root = await alice.send(room, "root")
    await bob.sees(room, root)
    threaded = await reply(bob, room, root)
    reaction = await react(bob, room, threaded)
    note = await refer(bob, room, root)
    noted = await refer(bob, room, note)
    hidden = await refer(bob, room, threaded)
    assert await ids(bob, room, root, recurse=True) == [hidden, noted, note, reaction, threaded]
    assert await ids(bob, room, root, "m.reference", recurse=True) == [noted, note]
    assert await ids(bob, room, root, recurse=True, limit=2, dir="f") == [threaded, reaction]
    await bob.redact(room, threaded)
    assert await ids(bob, room, root, recurse=True) == [noted, note], "its relation is broken"


async def test_events_that_point_at_nothing_at_themselves_or_in_circles(bob: Client, room: str) -> None:
    """A circle needs an id from the future, which nobody has: what points there relates to nothing."""
    nowhere = "$AAAAAAAAAAAAAAAAAAAAAA"
    first = await refer(bob, room, nowhere)
    second = await refer(bob, room, first)
    values: list[Any] = [
        "$e", [], {"rel_type": 1, "event_id": second}, {"rel_type": "m.reference", "event_id": {}},
        {"event_id": second}, {"rel_type": "m.reference"}, {"rel_type": "", "event_id": second},
    ]  # fmt: skip
    odd = [await bob.send_event(room, "org.example.x", {"m.relates_to": value}) for value in values]
    assert await ids(bob, room, first, recurse=True) == [odd[-1], second]
    assert await ids(bob, room, second, recurse=True) == [odd[-1]]
    with refused("M_NOT_FOUND", status=404):
        await ids(bob, room, nowhere, recurse=True)


async def test_an_event_of_another_room_has_no_children_here(bob: Client, room: str) -> None:
    elsewhere = await bob.create_room()
    said = await bob.send(elsewhere, "there")
    await refer(bob, room, said)
    assert await ids(bob, elsewhere, said, recurse=True) == []
    with refused("M_NOT_FOUND", status=404):
        await ids(bob, room, said)


async def test_strangers_learn_nothing(alice: Client, bob: Client, carol: Client, room: str) -> None:
    said = await bob.send(room, "between us")
    await refer(bob, room, said)
    for room_id, event_id in ((room, said), (room, "$AAAAAAAAAAAAAAAAAAAAAA"), ("!AAAAAAAAAAAAAAAAAAAAAA", said)):
        with refused("M_NOT_FOUND", "no such event in your sight", status=404):
            await children(carol, room_id, event_id)
        with refused("M_FORBIDDEN", status=403):
            await threads(carol, room_id)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "nonsense"}, "from"), ({"to": "nonsense"}, "to"), ({"dir": "up"}, "dir"), ({"limit": -1}, "limit"),
        ({"recurse": "maybe"}, "recurse"), ({"limit": "ten"}, "limit"),
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_read_is_named(bob: Client, room: str, query: Json, field: str) -> None:
    said = await bob.send(room, "tea?")
    with refused("M_INVALID_PARAM", field, status=400):
        await children(bob, room, said, **query)
    if field in {"from", "limit"}:
        with refused("M_INVALID_PARAM", field, status=400):
            await threads(bob, room, **query)


async def test_a_token_of_another_room_is_refused(bob: Client, room: str) -> None:
    elsewhere = await bob.create_room()
    token = (await bob.messages(elsewhere, limit=2))["end"]
    said = await bob.send(room, "tea?")
    with refused("M_INVALID_PARAM", "another room", status=400):
        await children(bob, room, said, **{"from": token})
    with refused("M_INVALID_PARAM", "another room", status=400):
        await threads(bob, room, **{"from": token})


async def test_nobody_is_told_of_children_that_they_may_not_see(alice: Client, bob: Client) -> None:
    room = await alice.create_room(
        preset="public_chat",
        initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
        ],
    )
    await bob.join(room)
    root = await alice.send(room, "root")
    first = await reply(alice, room, root)
    await bob.sees(room, first)
    await bob.leave(room)
    hidden = await reply(alice, room, root)
    below = await refer(alice, room, hidden)
    await bob.join(room)
    last = await refer(alice, room, root)
    await bob.sees(room, last)
    assert await ids(alice, room, root, recurse=True) == [last, below, hidden, first]
    assert await ids(bob, room, root, recurse=True) == [last, first]
    with refused("M_NOT_FOUND", status=404):
        await ids(bob, room, hidden)


async def test_who_comes_from_abroad_later_finds_what_is_older(alice: Client, newcomer: Newcomer) -> None:
    room = await alice.create_room(preset="public_chat")
    said = await alice.send(room, "old")
    old = [await refer(alice, room, said), await react(alice, room, said)]
    root = await alice.send(room, "older thread")
    await reply(alice, room, root)
    carol = await newcomer("carol", "ru")
    await carol.join(room)
    new = await refer(carol, room, said)
    foreign = await carol.send_event(room, "org.example.x", relates("org.example.kind", old[0]))
    assert await ids(carol, room, said) == [new, *old[::-1]]
    assert await ids(carol, room, said, recurse=True) == [foreign, new, *old[::-1]]
    assert await ids(carol, room, old[0], "org.example.kind", "org.example.x") == [foreign]
    second = await carol.send(room, "newer thread")
    await reply(carol, room, second)
    assert await roots(carol, room) == [second, root]
    with refused("M_DUPLICATE_ANNOTATION"):
        await react(alice, room, said)


async def test_many_reactions_are_paged_and_not_told_with_the_event(alice: Client, bob: Client, room: str) -> None:
    said = await alice.send(room, "react, please")
    made = await asyncio.gather(*(react(alice, room, said, f"{n}") for n in range(MANY)))
    valid = await edit(alice, room, said, "thanks")
    first = await children(alice, room, said, "m.annotation", limit=MANY - 50)
    rest = await children(alice, room, said, "m.annotation", limit=100, **{"from": first["next_batch"]})
    assert sorted(event["event_id"] for event in first["chunk"] + rest["chunk"]) == sorted(made)
    assert len(rest["chunk"]) == 50
    event = await alice.event(room, said)
    assert event["unsigned"]["m.relations"].keys() == {"m.replace"}
    assert event["unsigned"]["m.relations"]["m.replace"]["event_id"] == valid


# Threads.


async def test_threads_are_listed_by_their_latest_event(alice: Client, bob: Client, room: str) -> None:
    said = [await alice.send(room, f"{n}") for n in range(4)]
    await bob.sees(room, said[-1])
    for n in (0, 1, 2, 1, 0):
        last = await reply(bob, room, said[n], f"in {n}")
    for person in (alice, bob):
        await person.sees(room, last)
        listed = (await threads(person, room))["chunk"]
        assert [event["event_id"] for event in listed] == [said[0], said[1], said[2]]
        told = listed[0]["unsigned"]["m.relations"]["m.thread"]
        assert (told["count"], told["latest_event"]["event_id"]) == (2, last)
        assert listed[0]["room_id"] == room
    assert (await threads(alice, room)).keys() == {"chunk"}


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
async def test_pages_of_threads_are_the_whole_list(alice: Client, bob: Client, room: str, limit: int) -> None:
    said = [await alice.send(room, f"{n}") for n in range(5)]
    await bob.sees(room, said[-1])
    for n in (3, 1, 4, 0, 2, 3):
        last = await reply(bob, room, said[n])
    await alice.sees(room, last)
    for person in (alice, bob):
        got: list[str] = []
        token: str | None = None
        while True:
            page = await threads(person, room, limit=limit, **({"from": token} if token else {}))
            got += [event["event_id"] for event in page["chunk"]]
            token = page.get("next_batch")
            if token is None:
                break
        assert got == [said[n] for n in (3, 2, 0, 4, 1)]


async def test_the_threads_that_one_takes_part_in(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    begun = await alice.send(lane, "hers")
    answered = await bob.send(lane, "his, answered by her")
    other = await bob.send(lane, "not hers")
    await carol.sees(lane, other)
    await alice.sees(lane, other)
    await reply(carol, lane, begun)
    await reply(alice, lane, answered)
    last = await reply(carol, lane, other)
    for person in (alice, bob, carol):
        await person.sees(lane, last)
    assert await roots(alice, lane, include="participated") == [answered, begun]
    assert await roots(bob, lane, include="participated") == [other, answered]
    assert await roots(carol, lane, include="participated") == [other, begun]
    assert await roots(carol, lane, include="all") == [other, answered, begun]


async def test_a_thread_without_events_is_none(alice: Client, bob: Client, room: str) -> None:
    first, second = [await alice.send(room, f"{n}") for n in range(2)]
    await bob.sees(room, second)
    await reply(bob, room, first)
    only = await reply(bob, room, second)
    assert await roots(bob, room) == [second, first]
    await bob.redact(room, only)
    assert await roots(bob, room) == [first]


# While a region is away.


async def test_while_the_rooms_home_is_away_what_is_here_is_told(
    alice: Client, bob: Client, room: str, ways: Ways
) -> None:
    said = await bob.send(room, "tea?")
    note = await refer(bob, room, said)
    answer = await reply(alice, room, said)
    await bob.sees(room, answer)
    await bob.poll()
    await ways.cut_and_noticed(CN)
    assert await ids(bob, room, said) == [answer, note]
    assert await roots(bob, room) == [said]
    with refused("M_UNKNOWN", "region cn", status=503):
        await ids(bob, room, said, "org.example.kind")
    await ways.healed()
    assert (await bob.sync(bob.since))["rooms"]["join"][room]["timeline"]["limited"], "older threads may be missing"
