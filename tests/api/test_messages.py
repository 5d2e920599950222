"""What is said in a room: sending, reading back, redacting. Client-Server API v1.19, "Sending events to a room"."""

import asyncio

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, path, refused


async def test_an_event_by_its_id_is_what_was_sent(alice: Client, bob: Client, room: str) -> None:
    content = {"msgtype": "m.text", "body": "烤鸭 🦆", "org.example.deep": {"list": [1, {"two": None}, "three"]}}
    sent = await bob.send_event(room, "m.room.message", content)
    event = await alice.event(room, sent)
    assert event["content"] == content
    assert (event["type"], event["room_id"], event["sender"]) == ("m.room.message", room, bob.user_id)
    assert "state_key" not in event
    assert abs(event["origin_server_ts"] - (await bob.event(room, sent))["origin_server_ts"]) == 0


async def test_a_type_of_ones_own_arrives_unchanged(alice: Client, bob: Client, room: str) -> None:
    sent = await bob.send_event(room, "org.example.dice/№ 1", {"eyes": 6})
    event = await alice.sees(room, sent)
    assert (event["type"], event["content"]) == ("org.example.dice/№ 1", {"eyes": 6})


async def test_the_sending_device_gets_its_transaction_id_back(bob: Client, room: str) -> None:
    sent = await bob.send_event(room, "m.room.message", {"msgtype": "m.text", "body": "hi"}, txn="my own / id")
    assert (await bob.sees(room, sent))["unsigned"]["transaction_id"] == "my own / id"
    other = await bob.another_device()
    assert "transaction_id" not in (await other.sees(room, sent)).get("unsigned", {})


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_a_repeated_transaction_is_one_event(alice: Client, bob: Client, room: str, who: str) -> None:
    person = {"alice": alice, "bob": bob}[who]
    first = await person.send_event(room, "m.room.message", {"msgtype": "m.text", "body": "once"}, txn="again")
    second = await person.send_event(room, "m.room.message", {"msgtype": "m.text", "body": "once"}, txn="again")
    assert first == second
    assert await alice.texts(room) == ["once"]


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_even_when_both_come_at_the_same_time(alice: Client, bob: Client, room: str, who: str) -> None:
    person = {"alice": alice, "bob": bob}[who]
    content = {"msgtype": "m.text", "body": "once"}
    sent = await asyncio.gather(*(person.send_event(room, "m.room.message", content, txn="x") for _ in range(5)))
    assert len(set(sent)) == 1
    assert await alice.texts(room) == ["once"]


async def test_a_transaction_belongs_to_one_device(bob: Client, room: str) -> None:
    other = await bob.another_device()
    content = {"msgtype": "m.text", "body": "from each"}
    sent = [await device.send_event(room, "m.room.message", content, txn="1") for device in (bob, other)]
    assert len(set(sent)) == 2


async def test_a_transaction_belongs_to_its_path(bob: Client, room: str) -> None:
    sent = [await bob.send_event(room, type, {"body": "x"}, txn="1") for type in ("org.example.a", "org.example.b")]
    assert len(set(sent)) == 2


async def test_many_at_once_are_all_there_once(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    people = (alice, bob, carol)
    sent = await asyncio.gather(*(person.send(lane, f"{person.region} {n}") for n in range(15) for person in people))
    assert len(set(sent)) == 45
    for person in people:
        for event_id in sent:
            await person.sees(lane, event_id)
        read = [event["event_id"] for event in await person.history(lane) if event["type"] == "m.room.message"]
        assert sorted(read) == sorted(sent)


@pytest.mark.parametrize("page", [1, 3, 100])
async def test_pages_back_and_forth_are_the_same_room(
    alice: Client, bob: Client, carol: Client, lane: str, page: int
) -> None:
    for n in range(4):
        last = [await person.send(lane, f"{n}") for person in (alice, bob, carol)][-1]
    for person in (alice, carol):
        await person.sees(lane, last)
        back = await person.history(lane, "b", page)
        forth = await person.history(lane, "f", page)
        assert back == forth[::-1]
        assert len({event["event_id"] for event in back}) == len(back) >= 12
        assert forth[0]["type"] == "m.room.create"


async def test_a_page_starts_at_the_token_it_says(bob: Client, room: str) -> None:
    for n in range(6):
        await bob.send(room, f"{n}")
    first = await bob.messages(room, limit=2)
    second = await bob.messages(room, limit=2, **{"from": first["end"]})
    assert second["start"] == first["end"]
    assert [event["content"]["body"] for event in first["chunk"] + second["chunk"]] == ["5", "4", "3", "2"]


async def test_a_page_ends_at_to(bob: Client, room: str) -> None:
    for n in range(6):
        await bob.send(room, f"{n}")
    newest = await bob.messages(room, limit=2)
    bounded = await bob.messages(room, "b", limit=100, to=newest["end"])
    assert [event["content"]["body"] for event in bounded["chunk"]] == ["5", "4"]


async def test_the_gap_of_a_sync_is_filled_by_its_prev_batch(bob: Client, room: str) -> None:
    await bob.poll()
    for n in range(30):
        await bob.send(room, f"{n}")
    told = (await bob.sync(bob.since))["rooms"]["join"][room]["timeline"]
    assert told["limited"] is True
    before = await bob.messages(room, limit=100, **{"from": told["prev_batch"]})
    bodies = [event["content"].get("body") for event in before["chunk"][::-1] + told["events"]]
    assert bodies[-30:] == [f"{n}" for n in range(30)]


async def test_pages_can_be_filtered(bob: Client, room: str) -> None:
    await bob.send(room, "a message")
    await bob.send_event(room, "org.example.other", {})
    got = await bob.messages(room, limit=10, filter={"types": ["m.room.message"]})
    assert [event["type"] for event in got["chunk"]] == ["m.room.message"]
    got = await bob.messages(room, limit=10, filter={"not_senders": [bob.user_id]})
    assert bob.user_id not in {event["sender"] for event in got["chunk"]}


async def test_lazy_members_come_with_the_page_that_needs_them(alice: Client, bob: Client, room: str) -> None:
    for _ in range(3):
        await bob.send(room, "x")
    got = await alice.messages(room, limit=2, filter={"lazy_load_members": True})
    assert [event["state_key"] for event in got["state"]] == [bob.user_id]


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_a_redacted_message_is_empty_for_everybody(alice: Client, bob: Client, version: str) -> None:
    room = await alice.create_room(preset="public_chat", room_version=version)
    await bob.join(room)
    sent = await bob.send(room, "take this back")
    redaction = await bob.redact(room, sent, reason="a slip")
    await alice.sees(room, redaction)
    for person in (alice, bob):
        event = await person.event(room, sent)
        assert event["content"] == {}
        because = event["unsigned"]["redacted_because"]
        assert (because["event_id"], because["sender"]) == (redaction, bob.user_id)
        shown = await person.event(room, redaction)
        assert shown["redacts"] == sent or shown["content"].get("redacts") == sent
        if version != "10":
            assert shown["content"]["redacts"] == sent
        assert "take this back" not in await person.texts(room)


async def test_only_ones_own_words_or_with_power(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    sent = await carol.send(lane, "mine")
    await bob.sees(lane, sent)
    with refused("M_FORBIDDEN"):
        await bob.redact(lane, sent)
    assert (await alice.event(lane, sent))["content"]["body"] == "mine"
    redaction = await alice.redact(lane, sent)
    assert (await alice.event(lane, sent))["content"] == {}
    await carol.sees(lane, redaction)  # her region hears of it a moment later
    assert (await carol.event(lane, sent))["content"] == {}


async def test_who_comes_back_does_not_read_what_was_redacted_meanwhile(alice: Client, bob: Client, room: str) -> None:
    said = await alice.send(room, "I did not mean it")
    topic = await alice.set_state(room, "m.room.topic", {"topic": "nor this"})
    await alice.set_state(room, "m.room.topic", {"topic": "lanterns"})
    await bob.sees(room, topic)
    await bob.leave(room)
    for event_id in (said, topic):
        await alice.redact(room, event_id)
    await bob.join(room)
    await bob.sees(room, await alice.send(room, "welcome back"))
    for event_id in (said, topic):
        assert (await bob.event(room, event_id))["content"] == {}
    history = {event["event_id"]: event["content"] for event in await bob.history(room)}
    assert (history[said], history[topic]) == ({}, {})


async def test_a_redacted_piece_of_ones_own_state_is_no_state(alice: Client, bob: Client, room: str) -> None:
    gate = await alice.set_state(room, "org.example.gate", {"open": True}, "east")
    await bob.sees(room, gate)
    await bob.sees(room, await alice.redact(room, gate))
    for person in (alice, bob):
        assert all("state_key" in event for event in await person.ok("GET", path("rooms", room, "state")))
        assert (await person.event(room, gate))["content"] == {}


async def test_a_redacted_name_is_no_name(alice: Client, room: str) -> None:
    named = await alice.set_state(room, "m.room.name", {"name": "Slip"})
    await alice.redact(room, named)
    assert await alice.get_state(room, "m.room.name") == {}


async def test_a_redacted_membership_keeps_the_member(alice: Client, bob: Client, room: str) -> None:
    joined = (await alice.all_state(room))["m.room.member", bob.user_id]
    await bob.redact(room, joined["event_id"])
    assert (await alice.get_state(room, "m.room.member", bob.user_id))["membership"] == "join"
    await bob.send(room, "still here")


async def test_what_is_not_there_cannot_be_read_or_redacted(alice: Client, room: str) -> None:
    nothing = "$AAAAAAAAAAAAAAAAAAAAAA"
    with refused("M_NOT_FOUND", status=404):
        await alice.event(room, nothing)
    answer = await alice.put(path("rooms", room, "redact", nothing, "1"), {})
    assert answer.status in (400, 403, 404)


async def test_an_event_of_another_room_is_not_found_here(alice: Client, bob: Client, room: str) -> None:
    elsewhere = await bob.create_room()
    sent = await bob.send(elsewhere, "elsewhere")
    with refused("M_NOT_FOUND", status=404):
        await alice.event(room, sent)
    with refused("M_NOT_FOUND", status=404):
        await alice.event(room, sent.removeprefix("$"))


async def test_history_for_members_only_from_when_they_joined(alice: Client, carol: Client) -> None:
    room = await alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
    )
    before = await alice.send(room, "before carol")
    await carol.join(room)
    after = await alice.send(room, "after carol")
    await carol.sees(room, after)
    assert await carol.texts(room) == ["after carol"]
    with refused("M_NOT_FOUND"):
        await carol.event(room, before)


async def test_shared_history_is_there_for_who_comes_later(
    newcomer: Newcomer, alice: Client, bob: Client, room: str
) -> None:
    for n in range(25):
        await (alice, bob)[n % 2].send(room, f"{n}")
    dana = await newcomer("dana", "ru")
    await dana.join(room)
    assert await dana.texts(room) == [f"{n}" for n in range(25)]
