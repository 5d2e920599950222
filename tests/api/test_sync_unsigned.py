"""What `unsigned` says to each reader of the same event, wherever they read it."""

import json
from typing import Any

import pytest

from tests.api.test_sync import token, told
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path

ARCHIVED = {"room": {"include_leave": True, "timeline": {"limit": 50}}}


async def everywhere(client: Client, room: str, event_id: str, section: str = "join") -> dict[str, Json]:
    """The event as each endpoint shows it, by the endpoint's name; those that do not show it are absent."""
    context = await client.ok("GET", path("rooms", room, "context", event_id), query={"limit": 0})
    found: dict[str, Json] = {"event": await client.event(room, event_id), "context": context["event"]}
    page = await client.messages(room, "b", limit=100)
    pages = {"messages": page["chunk"], "sync": told(await client.sync(filter=ARCHIVED), room, section)}
    for name, events in pages.items():
        [found[name]] = [event for event in events if event["event_id"] == event_id]
    return found


def of(found: dict[str, Json], key: str) -> dict[str, Any]:
    return {name: event.get("unsigned", {}).get(key) for name, event in found.items()}


async def test_a_transaction_id_is_for_the_sending_device_alone(alice: Client, bob: Client, room: str) -> None:
    other = await alice.another_device()
    content = {"msgtype": "m.text", "body": "x"}
    event = await alice.send_event(room, "m.room.message", content, txn="txn-77")
    await bob.sees(room, event)
    assert set(of(await everywhere(alice, room, event), "transaction_id").values()) == {"txn-77"}
    for client in (other, bob):
        assert set(of(await everywhere(client, room, event), "transaction_id").values()) == {None}


@pytest.mark.parametrize("region", ["cn", "ru"])
async def test_the_membership_is_the_readers_own_at_the_event(alice: Client, newcomer: Newcomer, region: str) -> None:
    vera = await newcomer("vera", region)
    room = await alice.create_room(preset="private_chat")
    said = {"leave": await alice.send(room, "before her")}
    await alice.invite(room, vera)
    await vera.until(lambda: room in vera.invitations, "the invitation")
    said["invite"] = await alice.send(room, "to whom it is invited")
    await vera.join(room)
    said["join"] = await alice.send(room, "while she is in")
    await vera.sees(room, said["join"])
    for membership, event in said.items():
        # In another cell the copy begins with her; what was before is looked up.
        pages = (
            await everywhere(vera, room, event) if vera.cell == alice.cell else {"event": await vera.event(room, event)}
        )
        assert set(of(pages, "membership").values()) == {membership}
        assert set(of(await everywhere(alice, room, event), "membership").values()) == {"join"}


async def test_a_redaction_is_told_with_what_it_redacted(alice: Client, bob: Client, room: str) -> None:
    event = await bob.send(room, "regretted")
    await alice.sees(room, event)
    redaction = await alice.redact(room, event, reason="noise")
    await bob.sees(room, redaction)
    for client in (alice, bob):
        for name, because in of(await everywhere(client, room, event), "redacted_because").items():
            assert (name, because["event_id"], because["content"]["reason"]) == (name, redaction, "noise")


@pytest.mark.parametrize("region", ["cn", "ru"])
async def test_who_left_is_not_told_of_a_redaction_that_came_after(
    alice: Client, newcomer: Newcomer, region: str
) -> None:
    lena = await newcomer("lena", region)
    room = await alice.create_room(preset="public_chat")
    await lena.join(room)
    topic = await alice.set_state(room, "m.room.topic", {"topic": "regretted topic"})
    event = await alice.send(room, "regretted")
    await lena.sees(room, event)
    await lena.leave(room)
    for regretted in (event, topic):
        await alice.redact(room, regretted, reason="a secret")
    everything: list[Any] = [await lena.messages(room, "b", limit=100), await lena.sync(filter=ARCHIVED)]
    everything += [await lena.event(room, event), await lena.event(room, topic)]
    everything += [await lena.ok("GET", path("rooms", room, "state"))]
    everything += [await lena.ok("GET", path("rooms", room, "state", "m.room.topic"), query={"format": "event"})]
    assert "a secret" not in json.dumps(everything)
    if lena.cell == alice.cell:  # elsewhere a copy that nobody needs is not kept up to date
        assert "regretted" not in json.dumps(everything)


async def test_what_a_state_event_replaced_is_told_to_those_who_may_know_it(alice: Client, newcomer: Newcomer) -> None:
    vera = await newcomer("vera", "cn")
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    secret = await alice.set_state(room, "m.room.topic", {"topic": "a secret"})
    open_ = await alice.set_state(room, "m.room.topic", {"topic": "for everybody"})
    since = await token(vera)
    await vera.join(room)
    everything: list[Any] = [await vera.sync(since), await vera.sync(), await vera.messages(room, "b", limit=100)]
    everything += [await vera.sync(use_state_after="true"), await vera.ok("GET", path("rooms", room, "state"))]
    shown = await vera.ok("GET", path("rooms", room, "state", "m.room.topic"), query={"format": "event"})
    assert "a secret" not in json.dumps([*everything, shown])
    if vera.cell == alice.cell:  # elsewhere the copy begins with her
        assert shown["unsigned"]["replaces_state"] == secret
    newer = await alice.set_state(room, "m.room.topic", {"topic": "newer"})
    for client in (alice, vera):  # vera was in the room when it was replaced
        found = await everywhere(client, room, newer)
        assert list(of(found, "prev_content").values()) == [{"topic": "for everybody"}] * len(found)
        assert set(of(found, "replaces_state").values()) == {open_}


async def test_age_grows_and_nothing_else_is_added(alice: Client, room: str) -> None:
    event = await alice.send(room, "hello")
    found = await everywhere(alice, room, event)
    assert all(set(shown["unsigned"]) == {"age", "transaction_id", "membership"} for shown in found.values())
    assert all(shown["unsigned"]["age"] >= 0 for shown in found.values())
