"""What is told with an event of what relates to it. Client-Server API v1.19, "Aggregations of child events"."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hutong.ids import CellNo
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused

if TYPE_CHECKING:
    from hutong.node import Node


def relates(kind: str, event_id: str, **more: Any) -> Json:
    return {"m.relates_to": {"rel_type": kind, "event_id": event_id, **more}}


async def edit(person: Client, room: str, event_id: str, text: str, **more: Any) -> str:
    fresh = {"msgtype": "m.text", "body": text}
    return await person.send(room, f"* {text}", **{"m.new_content": fresh, **relates("m.replace", event_id), **more})


async def reply(person: Client, room: str, root: str, text: str = "in the thread") -> str:
    return await person.send(room, text, **relates("m.thread", root))


async def refer(person: Client, room: str, event_id: str) -> str:
    return await person.send_event(room, "org.example.note", relates("m.reference", event_id))


async def react(person: Client, room: str, event_id: str, key: str = "🍵") -> str:
    return await person.send_event(room, "m.reaction", relates("m.annotation", event_id, key=key))


async def bundle(person: Client, room: str, event_id: str) -> Json:
    """What `/event` tells of what relates to an event."""
    event = await person.event(room, event_id)
    return dict(event.get("unsigned", {}).get("m.relations", {}))


def body_of(told: Json) -> str:
    return str(told["m.replace"]["content"]["m.new_content"]["body"])


async def test_the_last_edit_is_told_beside_the_content_that_was_sent_first(
    alice: Client, bob: Client, room: str
) -> None:
    said = await bob.send(room, "teh tea")
    await edit(bob, room, said, "the tae")
    last = await edit(bob, room, said, "the tea")
    await alice.sees(room, last)
    event = await alice.event(room, said)
    assert event["content"] == {"msgtype": "m.text", "body": "teh tea"}
    told = event["unsigned"]["m.relations"]["m.replace"]
    assert (told["event_id"], told["sender"], told["type"]) == (last, bob.user_id, "m.room.message")
    assert told["content"]["m.new_content"]["body"] == "the tea"
    assert (told["room_id"], told["unsigned"]["membership"]) == (room, "join")
    assert told["origin_server_ts"] == (await alice.event(room, last))["origin_server_ts"]


async def test_a_redacted_edit_is_taken_back(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, "one")
    await edit(bob, room, said, "two")
    slip = await edit(bob, room, said, "three")
    await alice.sees(room, await bob.redact(room, slip))
    assert body_of(await bundle(alice, room, said)) == "two"


async def test_a_redacted_message_has_no_edits_but_keeps_its_thread(alice: Client, bob: Client, room: str) -> None:
    said = await bob.send(room, "one")
    await edit(bob, room, said, "two")
    await reply(alice, room, said)
    note = await refer(alice, room, said)
    await alice.sees(room, await bob.redact(room, said))
    told = await bundle(alice, room, said)
    assert set(told) == {"m.thread", "m.reference"}
    assert told["m.reference"] == {"chunk": [{"event_id": note}]}


@pytest.mark.parametrize("home", ["alice", "bob"])
async def test_what_is_no_valid_edit_is_not_told(alice: Client, bob: Client, home: str) -> None:
    owner, guest = (alice, bob) if home == "alice" else (bob, alice)
    room = await owner.create_room(preset="public_chat")
    await guest.join(room)
    said = await alice.send(room, "original")
    valid = await edit(alice, room, said, "the one")
    fresh = {"m.new_content": {"msgtype": "m.text", "body": "no"}}
    await edit(bob, room, said, "another person's")
    await alice.send(room, "* no new content", **relates("m.replace", said))
    await alice.send_event(room, "org.example.other", {**fresh, **relates("m.replace", said)})
    await edit(alice, room, valid, "an edit of an edit")
    topic = await owner.set_state(room, "m.room.topic", {"topic": "tea"})
    last = await owner.send_event(room, "m.room.topic.", {**fresh, **relates("m.replace", topic)})
    await owner.set_state(room, "m.room.topic", {"topic": "coffee", **fresh, **relates("m.replace", topic)})
    for person in (alice, bob):
        await person.sees(room, last)
        assert (await bundle(person, room, said))["m.replace"]["event_id"] == valid
        assert await bundle(person, room, valid) == {}
        assert await bundle(person, room, topic) == {}


async def test_an_edit_in_another_room_changes_nothing(bob: Client, room: str) -> None:
    elsewhere = await bob.create_room()
    said = await bob.send(room, "here")
    await edit(bob, elsewhere, said, "there")
    await reply(bob, elsewhere, said)
    assert await bundle(bob, room, said) == {}


async def test_a_thread_is_told_with_its_last_event_its_count_and_whether_one_takes_part(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    root = await alice.send(lane, "who wants tea?")
    await reply(bob, lane, root, "I do")
    last = await reply(bob, lane, root, "Pu-erh, plese")
    await edit(bob, lane, last, "Pu-erh, please")
    note = await refer(bob, lane, last)
    for person, mine in ((alice, True), (bob, True), (carol, False)):
        await person.sees(lane, note)
        told = (await bundle(person, lane, root))["m.thread"]
        assert (told["count"], told["current_user_participated"]) == (2, mine), person.name
        latest = told["latest_event"]
        assert (latest["event_id"], latest["content"]["body"]) == (last, "Pu-erh, plese")
        within = latest["unsigned"]["m.relations"]
        assert body_of(within) == "Pu-erh, please"
        assert within["m.reference"] == {"chunk": [{"event_id": note}]}
    await reply(carol, lane, root)
    assert (await bundle(carol, lane, root))["m.thread"]["current_user_participated"] is True


async def test_redacted_replies_do_not_count(alice: Client, bob: Client, room: str) -> None:
    root = await alice.send(room, "who wants tea?")
    first = await reply(bob, room, root, "I do")
    second = await reply(bob, room, root, "I dont")
    await alice.sees(room, await bob.redact(room, second))
    told = (await bundle(alice, room, root))["m.thread"]
    assert (told["count"], told["latest_event"]["event_id"]) == (1, first)
    await alice.sees(room, await bob.redact(room, first))
    assert await bundle(alice, room, root) == {}


async def test_references_are_listed_in_order_and_reactions_are_not(alice: Client, bob: Client, room: str) -> None:
    said = await alice.send(room, "verify me")
    notes = [await refer(bob, room, said) for _ in range(3)]
    await react(bob, room, said)
    await bob.send(room, "quoting", **{"m.relates_to": {"m.in_reply_to": {"event_id": said}}})
    await alice.sees(room, await bob.send(room, "last"))
    assert await bundle(alice, room, said) == {"m.reference": {"chunk": [{"event_id": note} for note in notes]}}


async def test_state_is_told_without_what_relates_to_it(alice: Client, bob: Client, room: str) -> None:
    topic = await alice.set_state(room, "m.room.topic", {"topic": "tea"})
    await bob.sees(room, topic)
    await reply(bob, room, topic)
    await refer(bob, room, topic)
    assert await bundle(bob, room, topic) == {}


async def test_every_endpoint_tells_the_same(alice: Client, bob: Client, room: str) -> None:
    root = await alice.send(room, "root")
    said = await reply(bob, room, root, "tae")
    await edit(bob, room, said, "tea")
    await refer(bob, room, said)
    last = await bob.send(room, "last")
    await alice.sees(room, last)

    def relations(event: Json) -> Json:
        return dict(_timeless(event["unsigned"]["m.relations"]))

    page = {event["event_id"]: event for event in (await alice.messages(room, limit=50))["chunk"]}
    context = await alice.ok("GET", path("rooms", room, "context", said))
    children = await alice.ok("GET", "/_matrix/client/v1" + path("rooms", room, "relations", root))
    threads = await alice.ok("GET", "/_matrix/client/v1" + path("rooms", room, "threads"))
    for event_id, others in {
        said: [context["event"], children["chunk"][0]],
        root: [event for event in context["events_before"] if event["event_id"] == root] + threads["chunk"],
    }.items():
        one = relations(await alice.event(room, event_id))
        for event in [page[event_id], *others]:
            assert event["event_id"] == event_id
            assert relations(event) == one


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key != "age"}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("how", ["anew", "from a token", "from the tail"])
async def test_a_limited_sync_tells_it_too(node: "Node", alice: Client, bob: Client, room: str, how: str) -> None:
    """Sixteen messages are more than a timeline of ten. By the tail, no statement asks for what relates to them."""
    before = (await alice.sync())["next_batch"]
    said = [await bob.send(room, f"{n}") for n in range(13)]
    replied = [await reply(bob, room, said[7]), await reply(alice, room, said[7])]
    last = await edit(bob, room, said[8], "edited")
    other = await alice.another_device()
    await alice.sees(room, last)
    person, since = (other, None) if how == "anew" else (other, before) if how == "from a token" else (alice, before)
    reads = [slices.sync.builder._surroundings._relations for slices in node.slices.values()]
    statements = sum(each.statements for each in reads)
    told = (await person.sync(since))["rooms"]["join"][room]["timeline"]
    assert sum(each.statements for each in reads) - statements == (how != "from the tail")
    assert told["limited"] is True
    events = {event["event_id"]: event["unsigned"] for event in told["events"]}
    assert list(events) == [*said[6:], *replied, last]
    assert body_of(events[said[8]]["m.relations"]) == "edited"
    assert "room_id" not in events[said[8]]["m.relations"]["m.replace"]
    thread = events[said[7]]["m.relations"]["m.thread"]
    assert (thread["count"], thread["current_user_participated"]) == (2, True)
    assert thread["latest_event"]["event_id"] == replied[-1]
    assert [id for id, unsigned in events.items() if "m.relations" in unsigned] == [said[7], said[8]]


async def test_an_unlimited_sync_leaves_that_to_the_client_who_is_told_all(alice: Client, bob: Client) -> None:
    room = await bob.create_room(preset="public_chat")
    await alice.join(room)
    since = (await alice.sync())["next_batch"]
    said = await bob.send(room, "tae")
    last = await edit(bob, room, said, "tea")
    await alice.sees(room, last)
    told = (await alice.sync(since))["rooms"]["join"][room]["timeline"]
    assert told["limited"] is False
    assert ["m.relations" in event["unsigned"] for event in told["events"]] == [False, False]


async def test_what_comes_after_the_token_is_not_counted_yet(alice: Client, bob: Client, room: str) -> None:
    """A client adds what later syncs tell to what an earlier one bundled, so that must end where the token does."""
    root = await bob.send(room, "root")
    await reply(bob, room, root)
    filter = {"room": {"timeline": {"limit": 2}}}
    anew = await bob.sync(filter=filter)
    assert await bob.sync(anew["next_batch"], filter=filter) is not None
    told = anew["rooms"]["join"][room]["timeline"]["events"][0]
    assert (told["event_id"], told["unsigned"]["m.relations"]["m.thread"]["count"]) == (root, 1)


async def test_nobody_is_told_of_what_they_may_not_see(newcomer: Newcomer, alice: Client, bob: Client) -> None:
    """bob leaves a thread and comes back; what was said meanwhile, in a room for members only, is not for him."""
    room = await alice.create_room(
        preset="public_chat",
        initial_state=[
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
        ],
    )
    carol = await newcomer("carol", "ru")
    await bob.join(room)
    await carol.join(room)
    root = await alice.send(room, "root")
    first = await reply(carol, room, root, "for all three")
    await bob.sees(room, first)
    await bob.leave(room)
    secret = await reply(carol, room, root, "behind his back")
    note = await refer(carol, room, root)
    await edit(alice, room, root, "the root, said behind his back")
    await bob.join(room)
    last = await alice.send(room, "welcome back")
    for person in (bob, carol):
        await person.sees(room, last)
    seen, hidden = (await bundle(carol, room, root)), (await bundle(bob, room, root))
    assert (seen["m.thread"]["count"], seen["m.thread"]["latest_event"]["event_id"]) == (2, secret)
    assert seen["m.reference"] == {"chunk": [{"event_id": note}]}
    assert body_of(seen) == "the root, said behind his back"
    assert set(hidden) == {"m.thread"}
    assert (hidden["m.thread"]["count"], hidden["m.thread"]["latest_event"]["event_id"]) == (1, first)


async def ignore(person: Client, *others: Client) -> None:
    content: Json = {"ignored_users": {other.user_id: {} for other in others} | {"@nobody:nowhere.example": {}}}
    await person.ok("PUT", path("user", person.user_id, "account_data", "m.ignored_user_list"), content)


async def test_what_ignored_people_say_is_in_no_aggregation(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    root = await alice.send(lane, "root")
    for person in (bob, carol):
        await person.sees(lane, root)
    first = await reply(bob, lane, root)
    await reply(carol, lane, root)
    last = await refer(carol, lane, root)
    await alice.sees(lane, last)
    assert (await bundle(alice, lane, root))["m.thread"]["count"] == 2
    await ignore(alice, carol)
    told = await bundle(alice, lane, root)
    assert set(told) == {"m.thread"}
    assert (told["m.thread"]["count"], told["m.thread"]["latest_event"]["event_id"]) == (1, first)
    synced = (await alice.sync(filter={"room": {"timeline": {"limit": 2}}}))["rooms"]["join"][lane]["timeline"]
    assert synced["events"][0]["unsigned"]["m.relations"]["m.thread"]["count"] == 1
    theirs = await carol.send(lane, "another root")
    await bob.sees(lane, theirs)
    await reply(bob, lane, theirs)
    listed = {event["event_id"]: event for event in await listed_threads(alice, lane)}
    assert listed[theirs]["content"] == {}, "as redacted"
    assert listed[root]["content"]["body"] == "root"
    assert {event["event_id"]: event for event in await listed_threads(bob, lane)}[theirs]["content"] != {}
    await ignore(alice)
    assert (await bundle(alice, lane, root))["m.thread"]["count"] == 2


async def listed_threads(person: Client, room: str) -> list[Json]:
    return list((await person.ok("GET", "/_matrix/client/v1" + path("rooms", room, "threads")))["chunk"])


async def test_who_comes_from_abroad_later_is_told_of_what_they_did_not_copy(
    newcomer: Newcomer, alice: Client, bob: Client, room: str
) -> None:
    """carol's region has a copy of the room from her joining on; what relates to older events, its home tells."""
    old = await bob.send(room, "tae")
    await reply(alice, room, old)
    await edit(bob, room, old, "tea")
    carol = await newcomer("carol", "ru")
    await carol.join(room)
    last = await reply(carol, room, old)
    for person in (alice, bob, carol):
        await person.sees(room, last)
        told = await bundle(person, room, old)
        assert body_of(told) == "tea"
        assert (told["m.thread"]["count"], told["m.thread"]["latest_event"]["event_id"]) == (2, last)


async def test_a_thread_cannot_begin_within_a_relation(alice: Client, bob: Client, room: str) -> None:
    root = await alice.send(room, "root")
    await bob.sees(room, root)
    children = [await reply(bob, room, root), await react(bob, room, root), await refer(bob, room, root)]
    foreign = await bob.send_event(room, "org.example.x", relates("org.example.kind", root))
    before = await bob.history(room)
    for child in (*children, foreign):
        with refused("M_UNKNOWN", "m.relates_to", status=400):
            await reply(bob, room, child)
    assert await bob.history(room) == before
    quoting = await bob.send(room, "quoting", **{"m.relates_to": {"m.in_reply_to": {"event_id": root}}})
    assert await reply(bob, room, quoting)


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_the_same_reaction_twice_is_refused(alice: Client, bob: Client, room: str, who: str) -> None:
    person = {"alice": alice, "bob": bob}[who]
    said = await alice.send(room, "tea?")
    await person.sees(room, said)
    first = await person.send_event(room, "m.reaction", relates("m.annotation", said, key="🍵"), txn="again")
    again = await person.send_event(room, "m.reaction", relates("m.annotation", said, key="🍵"), txn="again")
    assert first == again, "a repeated request is no second reaction"
    with refused("M_DUPLICATE_ANNOTATION", "m.relates_to", status=400):
        await react(person, room, said)
    others = [await react(person, room, said, "🫖"), await react(alice if person is bob else bob, room, said)]
    await person.send_event(room, "org.example.reaction", relates("m.annotation", said, key="🍵"))
    await person.redact(room, first)
    assert await react(person, room, said) not in (first, *others)
    results = await asyncio.gather(*(react(person, room, said, "at once") for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1


async def test_the_membership_and_what_was_before_are_the_readers(alice: Client, bob: Client, room: str) -> None:
    await alice.set_state(room, "m.room.topic", {"topic": "tea"})
    second = await alice.set_state(room, "m.room.topic", {"topic": "coffee"})
    last = await bob.send(room, "hello")
    await alice.sees(room, last)
    await bob.sees(room, second)
    for person in (alice, bob):
        page = await person.messages(room, limit=50)
        told = {event["event_id"]: event["unsigned"] for event in page["chunk"]}
        assert told[second]["prev_content"] == {"topic": "tea"}
        assert told[last]["membership"] == "join"
    early = {event["type"]: event["unsigned"]["membership"] for event in (await bob.history(room, "f"))[:2]}
    assert early["m.room.create"] == "leave"
    assert (await alice.history(room, "f"))[1]["unsigned"]["membership"] == "join"


def ignoring(node: "Node", person: Client) -> Any:
    of: Any = node.slices[CellNo(person.cell)].sync.builder._surroundings._ignored
    return of.__self__


async def test_who_is_ignored_is_looked_up_once_for_all_rooms_and_then_known_to_be_absent(
    node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    rooms = [await alice.create_room(preset="public_chat") for _ in range(3)]
    roots = {each: await alice.send(each, "root") for each in rooms}
    for each in rooms:
        await bob.join(each)
        await bob.send(each, "so that the timeline is limited")
    await ignore(alice, carol)
    few = {"room": {"timeline": {"limit": 2}}}
    asked = ignoring(node, alice)
    before = asked.look_ups
    await alice.sync(filter=few)
    assert asked.look_ups == before + 1
    await alice.sync(filter=few)
    await bundle(alice, rooms[0], roots[rooms[0]])
    assert asked.look_ups == before + 1, "carol is known not to be there"
    await carol.join(rooms[0])
    await reply(carol, rooms[0], roots[rooms[0]])
    assert "m.thread" not in await bundle(alice, rooms[0], roots[rooms[0]]), "she came"


async def test_a_region_that_is_away_hides_nobody_of_the_others(
    node: "Node", alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    root = await alice.send(lane, "root")
    for person in (bob, carol):
        await person.sees(lane, root)
        await reply(person, lane, root)
    last = await reply(alice, lane, root)
    await carol.sees(lane, last)
    await alice.sees(lane, last)
    await ignore(alice, bob, carol)
    node.cells[CellNo(alice.cell)].names._cache.clear()
    fault = node.link.faults[CellNo(alice.cell), CellNo(carol.cell)]
    fault.cut = True
    try:
        assert (await bundle(alice, lane, root))["m.thread"]["count"] == 2, "without bob's"
    finally:
        fault.cut = False
    assert (await bundle(alice, lane, root))["m.thread"]["count"] == 1, "carol can be asked for again"
